package postgres_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// as makes a source in a role, whose parts and chunks are small.
func as(t *testing.T, role sources.Role, c postgres.Config, state sources.State) *postgres.Source {
	t.Helper()
	s, err := postgres.New(c, sources.Host{Pipeline: "test", Role: role, State: state})
	if err != nil {
		t.Fatal(err)
	}
	postgres.PartRows(s, 1000)
	postgres.Sizes(s, 100, 1000)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// parted are tables of parts: of keys, and of blocks; and tables that are none.
var parted = []string{
	`create table ordered (id bigint primary key, v numeric(9,2))`, `insert into ordered select i * 3, i from generate_series(1, 3000) i`,
	`create table scattered (id uuid primary key, v int)`, `insert into scattered select md5(i::text)::uuid, i from generate_series(1, 3000) i`,
	`create table keyless (v int)`, `insert into keyless select i from generate_series(1, 3000) i`, `analyze`,
}

// partedPipeline is one over tables of parts, with a publication where the strategy is the log.
func partedPipeline(t *testing.T, strategy string) (p *pipeline, dsn string) {
	t.Helper()
	dsn = server.Database(t, parted...)
	p = newPipeline(dsn).name()
	if p.config.Capture.Strategy = strategy; strategy == "log" {
		p.publish(t, dsn, "ordered, scattered")
	}
	return p, dsn
}

// led gives a Leader that has noted its tables, with its lanes.
func (p *pipeline) led(t *testing.T, streams ...string) (*postgres.Source, []sources.Lane) {
	t.Helper()
	s := as(t, sources.Leader, p.config, p.state)
	return s, p.awaited(t, s, streams...)
}

// awaited gives lanes once streams have some. Transactions of other tests may keep a table from joining the log for a while.
func (p *pipeline) awaited(t *testing.T, s *postgres.Source, streams ...string) []sources.Lane {
	t.Helper()
	for late := time.Now().Add(time.Minute); ; postgres.Stale(s) {
		lanes, err := p.lanes(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(streams, func(stream string) bool {
			return !slices.ContainsFunc(lanes, func(l sources.Lane) bool { return strings.HasPrefix(l.ID, stream+"@") })
		}) {
			return lanes
		}
		if time.Now().After(late) {
			t.Fatalf("the lanes are %v", lanes)
		}
	}
}

// TestPartsForOthers marks the numbered parts of tables for others to read, and nothing else: not what completes, follows, has no key or is
// stopped. Alone nothing is.
func TestPartsForOthers(t *testing.T) {
	t.Parallel()
	parts := []string{"ordered/N", "scattered/N"}
	for strategy, rest := range map[string][]string{
		"xmin": {"keyless/complete", "keyless/snapshot", "ordered/complete", "ordered/follow", "scattered/follow"},
		"log":  {"keyless/complete", "keyless/snapshot", "log", "ordered/complete", "outside/stopped"},
	} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			p, dsn := partedPipeline(t, strategy)
			if strategy == "log" {
				server.Exec(t, dsn, "create table outside (id int primary key)")
			}
			s, _ := p.led(t, "ordered", "scattered")
			postgres.ReadAnew(s, "ordered", 1, "the test wants it")
			sourcetest.Apart(t, p.awaited(t, s, "ordered", "scattered"), parts, rest)
			all := slices.Sorted(slices.Values(slices.Concat(parts, rest)))
			sourcetest.Apart(t, p.awaited(t, as(t, sources.Alone, p.config, p.state), "ordered", "scattered"), nil, all)
		})
	}
}

// TestAnAssistantReadsWhatItsLeaderWould reads each part twice: parts of keys and of blocks, whole and from the middle.
func TestAnAssistantReadsWhatItsLeaderWould(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"xmin", "log"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			p, _ := partedPipeline(t, strategy)
			leader, _ := p.led(t, "ordered", "scattered")
			if kept := p.state.kept; !strings.Contains(string(kept["table scattered"]), `"blocks"`) || strings.Contains(string(kept["table ordered"]), `"blocks"`) {
				t.Fatalf("the parts are of others than the test wants: %s", kept)
			}
			lent := &sourcetest.Lent{State: p.state}
			rows := sourcetest.Assist(t, leader, as(t, sources.Assistant, p.config, lent), strategy == "log")
			if slices.Sort(rows); len(rows) != 6000 || len(slices.Compact(rows)) != 6000 || !strings.HasPrefix(rows[0], "R 1 {") {
				t.Errorf("%d rows, %d different, such as %s", len(rows), len(slices.Compact(rows)), rows[0])
			}
			if n := lent.Refused.Load(); n > 0 {
				t.Errorf("%d times something was to be kept of what was noted", n)
			}
		})
	}
}

// TestWhatOnlyTheLeaderCanGoOnWith has tables that are not as they were noted, and lanes that are not for others.
func TestWhatOnlyTheLeaderCanGoOnWith(t *testing.T) {
	t.Parallel()
	kept := func(do func(note map[string]any)) func(t *testing.T, p *pipeline) {
		return func(t *testing.T, p *pipeline) {
			t.Helper()
			sourcetest.Edit(t, p.state, "table ordered", do)
		}
	}
	join := func(name string, value any) func(t *testing.T, p *pipeline) {
		return kept(func(note map[string]any) {
			if log, ok := note["log"].(map[string]any); ok {
				log[name] = value
			}
		})
	}
	origin := func(name string, value any) func(t *testing.T, p *pipeline) {
		return kept(func(note map[string]any) {
			if server, ok := note["server"].(map[string]any); ok {
				server[name] = value
			}
		})
	}
	for name, c := range map[string]struct {
		strategy, lane, sql string
		do                  func(t *testing.T, p *pipeline)
	}{
		"dropped":           {sql: "drop table ordered"},
		"called otherwise":  {sql: "alter table ordered rename to other"},
		"made again":        {sql: "alter table ordered rename to other; create table ordered (id bigint primary key, v numeric(9,2)); insert into ordered select id, v from other"},
		"another column":    {sql: "alter table ordered add more int"},
		"another type":      {sql: "alter table ordered alter v type numeric(9,4)", lane: "ordered@1/1"},
		"a value":           {sql: "update ordered set v = 'NaN' where id = 3"},
		"not noted":         {lane: "unknown@1/0"},
		"another epoch":     {lane: "ordered@2/0"},
		"read anew":         {do: kept(func(note map[string]any) { note["epoch"] = 2 })},
		"to be read anew":   {do: kept(func(note map[string]any) { note["anew"] = "it was asked for" })},
		"another server":    {do: origin("system", "7")},
		"another timeline":  {do: origin("timeline", 7)},
		"no part":           {lane: "ordered@1/3"},
		"no number":         {lane: "ordered@1/-1"},
		"a snapshot":        {lane: "keyless@1/snapshot"},
		"a completion":      {lane: "ordered@1/complete"},
		"what follows":      {lane: "ordered@1/follow"},
		"the log":           {lane: "log@1"},
		"not yet joined":    {strategy: "log", do: join("wait", 7)},
		"left out":          {strategy: "log", do: join("broken", "a sink did not take it")},
		"never joined":      {strategy: "log", do: kept(func(note map[string]any) { delete(note, "log") })},
		"blocks that moved": {lane: "scattered@1/1", sql: "vacuum full scattered"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.strategy == "" {
				c.strategy = "xmin"
			}
			if c.lane == "" {
				c.lane = "ordered@1/0"
			}
			p, dsn := partedPipeline(t, c.strategy)
			p.led(t, "ordered", "scattered")
			assistant := as(t, sources.Assistant, p.config, &sourcetest.Lent{State: p.state})
			stream, _, _ := strings.Cut(c.lane, "@")
			var from record.Position
			if c.sql != "" || c.do != nil { // else no reader would give anything
				part, err := sourcetest.ReadPart(t.Context(), assistant, sources.Lane{ID: c.lane, Streams: []string{stream}}, "", 2)
				if err != nil || len(part.To) < 2 {
					t.Fatalf("%d chunks of %s: %v", len(part.To), c.lane, err)
				}
				from = part.To[0]
			}
			for sql := range strings.SplitSeq(c.sql, "; ") {
				server.Exec(t, dsn, sql)
			}
			if c.do != nil {
				c.do(t, p)
			}
			if name != "a value" { // which is before the position
				sourcetest.Elsewhere(t, assistant, c.lane, from)
			}
			sourcetest.Elsewhere(t, assistant, c.lane, "")
		})
	}
}

// TestATableChangesAsAnAssistantBegins changes a table behind the look at it, and before it is read.
func TestATableChangesAsAnAssistantBegins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		sql   string
		again bool // the first read only finds that it has to look again
	}{
		"dropped":        {sql: "drop table ordered"},
		"made again":     {sql: "drop table ordered; create table ordered (id bigint primary key, v numeric(9,2))", again: true},
		"another column": {sql: "alter table ordered add more int", again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, dsn := partedPipeline(t, "xmin")
			p.led(t, "ordered")
			state := &sourcetest.Hooked{State: p.state, Key: "table ordered", Do: func() {
				for sql := range strings.SplitSeq(c.sql, "; ") {
					server.Exec(t, dsn, sql)
				}
			}}
			lent := &sourcetest.Lent{State: state}
			assistant := as(t, sources.Assistant, p.config, lent)
			if c.again {
				got, err := sourcetest.ReadPart(t.Context(), assistant, sources.Lane{ID: "ordered@1/1", Streams: []string{"ordered"}}, "", 0)
				if fault.Of(err) != fault.Retryable || len(got.Rows) > 0 {
					t.Errorf("%d rows, and %v", len(got.Rows), err)
				}
				if n := lent.Refused.Load(); n > 0 {
					t.Errorf("%d times something was to be kept by who only has to look again", n)
				}
			}
			sourcetest.Elsewhere(t, assistant, "ordered@1/1", "")
		})
	}
}

// TestLanesThatAreOpenedAcrossAnEpoch opens a lane of an incarnation that ends meanwhile: what is known of the next one stays, so that a
// column that only a value far behind makes is still for the Leader to note.
func TestLanesThatAreOpenedAcrossAnEpoch(t *testing.T) {
	t.Parallel()
	p, dsn := partedPipeline(t, "xmin")
	leader, _ := p.led(t, "ordered")
	sourcetest.AcrossAnEpoch(t, p.state, "table ordered", "ordered", func(state sources.State) sources.Source {
		return as(t, sources.Assistant, p.config, state)
	}, func() {
		postgres.ReadAnew(leader, "ordered", 1, "the test wants it")
		p.awaited(t, leader, "ordered")
		server.Exec(t, dsn, "update ordered set v = 'NaN' where id = 2400")
	})
}

// TestLogWinsOverWhatAnAssistantRead changes rows after the slot has begun, before and after an Assistant reads their part. No lane waits for
// the snapshot of the slot, so it is let go at once.
func TestLogWinsOverWhatAnAssistantRead(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 3000) n`,
		`CREATE TABLE keyless (v int)`, `ANALYZE`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	leader, lanes := p.led(t, "orders")
	until(t, dsn, "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'walsender'")
	leader.Drain()
	assistant, log := as(t, sources.Assistant, p.config, &sourcetest.Lent{State: p.state}), lanes[len(lanes)-1]
	parts := slices.DeleteFunc(slices.Clone(lanes), func(l sources.Lane) bool { return !l.Apart })
	if len(parts) != 3 || !log.Endless {
		t.Fatalf("the lanes are %v", lanes)
	}
	read := func(s *postgres.Source, l sources.Lane) {
		if err := p.lane(t.Context(), t, s, l, nil); err != nil {
			t.Fatal(err)
		}
	}
	change := func(name string) {
		server.Exec(t, dsn, `UPDATE orders SET name = '`+name+`' WHERE id % 7 = 0`, `DELETE FROM orders WHERE id % 50 = 1 AND id % 1000 > 500`,
			`INSERT INTO orders VALUES (-1, '`+name+`'), (1001, '`+name+`') ON CONFLICT (id) DO UPDATE SET name = excluded.name || ' again'`)
	}
	change("before all")
	read(assistant, parts[0])
	change("before the log")
	read(leader, log)
	read(assistant, parts[1])
	change("after the log")
	read(assistant, parts[2])
	read(leader, log)
	p.equal(t, dsn, "orders", orders)
}
