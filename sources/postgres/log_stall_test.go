package postgres_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// stalled is a transaction whose commit is in the log and which nobody sees: it waits for a synchronous standby that does not exist.
type stalled struct {
	on   *postgrestest.Server
	dsn  string
	pid  uint32
	done chan error
}

// stall runs a transaction on a server that was started with such a standby, and returns when its commit waits.
func stall(t *testing.T, on *postgrestest.Server, dsn, sql string) *stalled {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	s := &stalled{on: on, dsn: dsn, pid: c.PgConn().PID(), done: make(chan error, 1)}
	go func() {
		_, err := c.PgConn().Exec(context.WithoutCancel(t.Context()), "SET synchronous_commit = on; BEGIN; "+sql+"; COMMIT").ReadAll()
		_ = c.Close(context.WithoutCancel(t.Context()))
		s.done <- err
	}()
	until(t, dsn, "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = "+strconv.Itoa(int(s.pid))+" AND wait_event = 'SyncRep'")
	return s
}

// release lets others see it.
func (s *stalled) release(t *testing.T) {
	t.Helper()
	s.on.Exec(t, s.dsn, "SELECT pg_cancel_backend("+strconv.Itoa(int(s.pid))+")")
	if err := <-s.done; err != nil {
		t.Error(err)
	}
}

// until waits until a query gives true.
func until(t *testing.T, dsn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		if err := c.QueryRow(ctx, sql).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if yes {
			return
		}
		<-tick.C
	}
}

// another starts a server with settings of its own, for one test.
func another(t *testing.T, settings ...string) *postgrestest.Server {
	t.Helper()
	s, err := postgrestest.Start(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestLogAndCommitsThatNobodySeesYet are the cases in which the log is ahead of what reads show: a commit is in the log when it is on
// disk, and is seen by others later, which a synchronous standby may delay for long.
func TestLogAndCommitsThatNobodySeesYet(t *testing.T) {
	t.Parallel()
	g := another(t, "synchronous_standby_names=ghost", "synchronous_commit=local") // only sessions that ask for it wait
	readBehindTheLog(t, g)
	tableThatJoins(t, g)
	valueThatIsReadLater(t, g)
}

// readBehindTheLog reads a table while the log has a change of it that reads do not show yet.
func readBehindTheLog(t *testing.T, g *postgrestest.Server) {
	t.Helper()
	dsn := g.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'old'), (2, 'old')`,
		"CREATE PUBLICATION acequia_behind FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_behind"
	s, lanes := p.start(t)
	commit := stall(t, g, dsn, "UPDATE orders SET name = 'new' WHERE id = 1")
	log := p.open(t, s, lanes[len(lanes)-1])
	c, err := log.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.image.take(t, c)
	if got := p.image.latest("orders")["1"]; !strings.Contains(got, "new") {
		t.Fatalf("the log gives %q", got)
	}
	if err := p.lane(t.Context(), t, s, lanes[0], nil); err != nil { // reads what is old
		t.Fatal(err)
	}
	commit.release(t)
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
}

// tableThatJoins publishes a table while a change of it, from before, is not seen yet.
func tableThatJoins(t *testing.T, g *postgrestest.Server) {
	t.Helper()
	dsn := g.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE first (id int8 PRIMARY KEY)`,
		`INSERT INTO orders VALUES (1, 'old'), (2, 'old')`, "CREATE PUBLICATION acequia_joins FOR TABLE first")
	p := newPipeline(dsn)
	p.config.Capture.Slot, p.config.Tables = "acequia_joins", []string{"public.first"}
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.config.Tables = nil
	g.Exec(t, dsn, "ALTER PUBLICATION acequia_joins ADD TABLE orders")
	commit := stall(t, g, dsn, "UPDATE orders SET name = 'new' WHERE id = 1") // none that is younger has ended
	_, lanes := p.start(t)
	for _, l := range lanes {
		if strings.HasPrefix(l.ID, "orders@") {
			t.Errorf("lane %s is there before the transaction has ended", l.ID)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- p.run(t, nil) }()
	select {
	case err := <-ended:
		t.Errorf("the run did not wait: %v", err)
		commit.release(t)
	case <-time.After(500 * time.Millisecond):
		commit.release(t)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	p.equal(t, dsn, "orders", orders)
}

// valueThatIsReadLater gives a change of which a value was not sent, and that is not seen yet.
func valueThatIsReadLater(t *testing.T, g *postgrestest.Server) {
	t.Helper()
	dsn := g.Database(t, `CREATE TABLE documents (id int8 PRIMARY KEY, n int4, body text, other text, twice int4 DEFAULT 2)`,
		"CREATE PUBLICATION acequia_later FOR TABLE documents")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_later"
	s, lanes := p.start(t)
	log := p.open(t, s, lanes[len(lanes)-1])
	commit := stall(t, g, dsn, `INSERT INTO documents VALUES (1, 1, `+big+`); UPDATE documents SET n = 2`)
	chunks := make(chan record.Chunk, 1)
	go func() {
		c, err := log.Read(t.Context())
		if err != nil {
			t.Error(err)
		}
		chunks <- c
	}()
	select {
	case c := <-chunks:
		t.Error("the value was read before it could be seen")
		p.image.take(t, c)
		commit.release(t)
	case <-time.After(700 * time.Millisecond):
		commit.release(t)
		p.image.take(t, <-chunks)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "documents", documents)
}

// start makes the source and asks for its lanes; the one of the log is the last.
func (p *pipeline) start(t *testing.T) (*postgres.Source, []sources.Lane) {
	t.Helper()
	s, err := postgres.New(p.config, sources.Host{Pipeline: "test", State: p.state})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for late := time.Now().Add(time.Minute); ; postgres.Stale(s) { // transactions of other tests may keep the slot, or a table, back for a while
		lanes, err := p.lanes(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if len(lanes) > 0 && lanes[len(lanes)-1].Endless || !p.shares {
			return s, lanes
		}
		if time.Now().After(late) {
			t.Fatalf("the lanes are %v", lanes)
		}
	}
}

func (p *pipeline) open(t *testing.T, s *postgres.Source, l sources.Lane) sources.Reader {
	t.Helper()
	r, err := s.Open(t.Context(), l, p.positions[l.ID])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestLogBeginsBehindACommitThatNobodySeesYet makes the slot while the commit of a transaction is in the log that no read shows: it is
// before the point at which the slot begins, so the log does not give it, and only the slot's own snapshot shows it. Who has no use of that,
// such as who lets others read, or reads for another, waits.
func TestLogBeginsBehindACommitThatNobodySeesYet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		role, reads sources.Role
		kept        bool
	}{
		"in its snapshot": {kept: true}, "its snapshot is gone": {},
		"others read too": {role: sources.Leader, reads: sources.Leader}, "another reads": {role: sources.Leader, reads: sources.Assistant},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			beginBehindACommit(t, c.role, c.reads, c.kept)
		})
	}
}

func beginBehindACommit(t *testing.T, role, reads sources.Role, kept bool) {
	t.Helper()
	g := another(t, "synchronous_standby_names=ghost", "synchronous_commit=local")
	dsn := g.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'old'), (2, 'old')`,
		"CREATE PUBLICATION acequia_point FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_point"
	session := func() (*pgx.Conn, string) {
		c, err := pgx.Connect(t.Context(), dsn)
		if err == nil {
			_, err = c.PgConn().Exec(t.Context(), "BEGIN; SELECT pg_current_xact_id()").ReadAll()
		}
		if err != nil {
			t.Fatal(err)
		}
		return c, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walsender' AND " + strconv.Itoa(int(c.PgConn().PID())) + " = ANY (pg_blocking_pids(pid))"
	}
	end := func(c *pgx.Conn) {
		if _, err := c.Exec(t.Context(), "COMMIT"); err != nil {
			t.Error(err)
		}
		_ = c.Close(t.Context())
	}
	s := as(t, role, p.config, p.state)
	first, waitsForFirst := session()
	made := make(chan []sources.Lane, 1)
	go func() {
		lanes, err := s.Lanes(t.Context())
		if err != nil {
			t.Error(err)
		}
		made <- lanes
	}()
	until(t, dsn, waitsForFirst)
	second, waitsForSecond := session()
	end(first)
	until(t, dsn, waitsForSecond) // from here on what begins is given, or is in the snapshot
	commit := stall(t, g, dsn, "UPDATE orders SET name = 'new' WHERE id = 1")
	end(second)
	lanes := <-made
	if len(lanes) != 2 {
		t.Fatalf("the lanes are %v", lanes)
	}
	if role == sources.Alone && !kept {
		g.Exec(t, dsn, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'walsender'")
	}
	if !kept {
		until(t, dsn, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'walsender'")
	}
	if reads == sources.Assistant {
		s = as(t, reads, p.config, &sourcetest.Lent{State: p.state})
	}
	read := make(chan error, 1)
	go func() { read <- p.lane(context.WithoutCancel(t.Context()), t, s, lanes[0], nil) }()
	select {
	case err := <-read:
		if !kept {
			t.Errorf("the read did not wait: %v", err)
		}
		read <- err
	case <-time.After(500 * time.Millisecond):
		if kept {
			t.Error("the read waits")
		}
	}
	commit.release(t)
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	p.ended[lanes[0].ID] = true
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
}
