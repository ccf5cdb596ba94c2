package mysql_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// as makes a source in a role, whose parts and chunks are small.
func as(t *testing.T, role sources.Role, c mysql.Config, state sources.State) *mysql.Source {
	t.Helper()
	s, err := mysql.New(c, sources.Host{Pipeline: "test", Role: role, State: state})
	if err != nil {
		t.Fatal(err)
	}
	mysql.PartRows(s, 700)
	mysql.Sizes(s, 100, 1000)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// parted are tables of parts, one that has none, and one that only the log can follow.
var parted = []string{
	"CREATE TABLE ordered (id int PRIMARY KEY, v varchar(60), day date, updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, INDEX (updated_at))",
	"INSERT INTO ordered (id, v, day) SELECT seq * 3, concat('v', seq), '2024-01-01' FROM seq_1_to_2000",
	"CREATE TABLE pair (a int, b varchar(20), v int, updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, PRIMARY KEY (a, b), INDEX (updated_at))",
	"INSERT INTO pair (a, b, v) SELECT seq % 7, concat('k', seq), seq FROM seq_1_to_2000",
	"CREATE TABLE keyless (v int)", "INSERT INTO keyless SELECT seq FROM seq_1_to_10", "ANALYZE TABLE ordered, pair, keyless",
}

// partedPipeline is one over tables of parts. led gives its Leader, which has noted them, and its lanes.
func partedPipeline(t *testing.T, strategy string) (p *logged, database string) {
	t.Helper()
	database = server.Database(t, parted...)
	p = follow(database)
	p.config.Capture.Strategy = strategy
	return p, database
}

func (p *logged) led(t *testing.T) (*mysql.Source, []sources.Lane) {
	t.Helper()
	s := as(t, sources.Leader, p.config, p.state)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, lanes
}

// TestPartsForOthers marks the numbered parts of tables for others to read, and nothing else: not what completes, follows, has no key or is
// stopped. Alone nothing is.
func TestPartsForOthers(t *testing.T) {
	t.Parallel()
	for strategy, rest := range map[string][]string{
		"time": {"keyless/complete", "keyless/snapshot", "ordered/complete", "ordered/follow", "pair/follow", "untimed/stopped"},
		"log":  {"keyless/complete", "keyless/snapshot", "log", "ordered/complete"},
	} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			p, database := partedPipeline(t, strategy)
			parts := []string{"ordered/N", "pair/N"}
			if strategy == "time" {
				server.Exec(t, database, "CREATE TABLE untimed (id int PRIMARY KEY)")
			}
			p.led(t)
			sourcetest.Edit(t, p.state, "table ordered", func(note map[string]any) { note["anew"] = "the test wants it" })
			_, lanes := p.led(t)
			sourcetest.Apart(t, lanes, parts, rest)
			lanes, err := as(t, sources.Alone, p.config, p.state).Lanes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sourcetest.Apart(t, lanes, nil, slices.Sorted(slices.Values(slices.Concat(parts, rest))))
		})
	}
}

// TestAnAssistantReadsWhatItsLeaderWould reads each part twice, whole and from the middle.
func TestAnAssistantReadsWhatItsLeaderWould(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"time", "log"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			p, _ := partedPipeline(t, strategy)
			leader, _ := p.led(t)
			lent := &sourcetest.Lent{State: p.state}
			rows := sourcetest.Assist(t, leader, as(t, sources.Assistant, p.config, lent), strategy == "log")
			if slices.Sort(rows); len(rows) != 4000 || len(slices.Compact(rows)) != 4000 || !strings.HasPrefix(rows[0], "R 1 {") {
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
	note := func(name string, value any) func(t *testing.T, p *logged) {
		return func(t *testing.T, p *logged) {
			t.Helper()
			sourcetest.Edit(t, p.state, "table ordered", func(note map[string]any) { note[name] = value })
		}
	}
	for name, c := range map[string]struct {
		strategy, lane, sql string
		do                  func(t *testing.T, p *logged)
	}{
		"dropped":          {sql: "DROP TABLE ordered"},
		"called otherwise": {sql: "RENAME TABLE ordered TO other"},
		"made again":       {sql: "RENAME TABLE ordered TO other; CREATE TABLE ordered LIKE other; INSERT INTO ordered SELECT * FROM other"},
		"truncated":        {sql: "TRUNCATE ordered"},
		"written anew":     {sql: "ALTER TABLE ordered FORCE"},
		"another column":   {sql: "ALTER TABLE ordered ADD more int, ALGORITHM = INSTANT"},
		"a value":          {sql: "SET sql_mode = ''; UPDATE ordered SET day = '0000-00-00' WHERE id = 3"},
		"not noted":        {lane: "unknown@1/0"},
		"another epoch":    {lane: "ordered@2/0"},
		"read anew":        {do: note("epoch", 2)},
		"to be read anew":  {do: note("anew", "it was asked for")},
		"another server":   {do: note("server", "7")},
		"no part":          {lane: "ordered@1/3"},
		"no number":        {lane: "ordered@1/-1"},
		"a snapshot":       {lane: "keyless@1/snapshot"},
		"a completion":     {lane: "ordered@1/complete"},
		"what follows":     {lane: "ordered@1/follow"},
		"the log":          {strategy: "log", lane: "log@1"},
		"left out":         {strategy: "log", do: note("log", map[string]any{"feed": 1, "broken": "a sink did not take it"})},
		"of a lost log": {strategy: "log", do: func(t *testing.T, p *logged) {
			t.Helper()
			sourcetest.Edit(t, p.state, "log", func(note map[string]any) { note["epoch"] = 2 })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.strategy == "" {
				c.strategy = "time"
			}
			if c.lane == "" {
				c.lane = "ordered@1/0"
			}
			p, database := partedPipeline(t, c.strategy)
			p.led(t)
			assistant := as(t, sources.Assistant, p.config, &sourcetest.Lent{State: p.state})
			var from record.Position
			if c.sql != "" || c.do != nil { // else no reader would give anything
				part, err := sourcetest.ReadPart(t.Context(), assistant, sources.Lane{ID: c.lane, Streams: []string{"ordered"}}, "", 2)
				if err != nil || len(part.To) < 2 {
					t.Fatalf("%d chunks of %s: %v", len(part.To), c.lane, err)
				}
				from = part.To[0]
			}
			if c.sql != "" {
				server.Exec(t, database, strings.Split(c.sql, "; ")...)
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
		"dropped":        {sql: "DROP TABLE ordered"},
		"truncated":      {sql: "TRUNCATE ordered"},
		"made again":     {sql: "CREATE OR REPLACE TABLE ordered LIKE pattern"},
		"another column": {sql: "ALTER TABLE ordered ADD more int, ALGORITHM = INSTANT", again: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, database := partedPipeline(t, "time")
			p.led(t)
			server.Exec(t, database, "CREATE TABLE pattern LIKE ordered")
			state := &sourcetest.Hooked{State: p.state, Key: "table ordered", Do: func() { server.Exec(t, database, c.sql) }}
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
	p, database := partedPipeline(t, "time")
	p.led(t)
	sourcetest.AcrossAnEpoch(t, p.state, "table ordered", "ordered", func(state sources.State) sources.Source {
		return as(t, sources.Assistant, p.config, state)
	}, func() {
		sourcetest.Edit(t, p.state, "table ordered", func(note map[string]any) { note["anew"] = "the test wants it" })
		p.led(t)
		server.Exec(t, database, "SET sql_mode = ''", "UPDATE ordered SET day = '0000-00-00' WHERE id = 1500")
	})
}

// TestLogWinsOverWhatAnAssistantRead changes rows after the table has joined the log, before and after an Assistant reads their part.
func TestLogWinsOverWhatAnAssistantRead(t *testing.T) {
	t.Parallel()
	p, database := partedPipeline(t, "log")
	leader, lanes := p.led(t)
	leader.Drain()
	assistant, log := as(t, sources.Assistant, p.config, &sourcetest.Lent{State: p.state}), lanes[len(lanes)-1]
	parts := slices.DeleteFunc(slices.Clone(lanes), func(l sources.Lane) bool { return !l.Apart || l.Streams[0] != "ordered" })
	if len(parts) != 3 || !log.Endless {
		t.Fatalf("the lanes are %v", lanes)
	}
	change := func(name string) {
		server.Exec(t, database, "UPDATE ordered SET v = '"+name+"' WHERE id % 7 = 0", "DELETE FROM ordered WHERE id % 50 = 1 AND id % 1000 > 500",
			"INSERT INTO ordered (id, v) VALUES (-1, '"+name+"'), (3001, '"+name+"') ON DUPLICATE KEY UPDATE v = concat(v, ' again')")
	}
	change("before all")
	p.lane(t, assistant, parts[0], 0)
	change("before the log")
	p.lane(t, leader, log, 0)
	p.lane(t, assistant, parts[1], 0)
	change("after the log")
	p.lane(t, assistant, parts[2], 0)
	p.lane(t, leader, log, 0)
	p.equal(t, "ordered")
}
