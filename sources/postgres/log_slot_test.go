package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// written is SQL that writes about so many megabytes of WAL.
func written(megabytes int) string {
	return "SELECT count(pg_logical_emit_message(false, 'noise', repeat('x', 1000000))) FROM generate_series(1, " + strconv.Itoa(megabytes) + ")"
}

// TestLogOfALostSlot takes away what the slot needs, in each way there is. Every time the tables are read anew at a new epoch, so that
// what was deleted meanwhile is gone too, and the reason is told.
func TestLogOfALostSlot(t *testing.T) {
	t.Parallel()
	s := another(t, "max_slot_wal_keep_size=32MB", "max_wal_size=64MB", "min_wal_size=32MB")
	for _, c := range []struct{ name, sql, why string }{ //nolint:paralleltest // they take the same slot away
		{"removed WAL", written(100) + "; CHECKPOINT", "has removed WAL"},
		{"dropped", "SELECT pg_drop_replication_slot('acequia_lost')", "is gone"},
		{"read by another", "SELECT pg_replication_slot_advance('acequia_lost', pg_current_wal_lsn())", "was read on to"},
		{"publication for a while", "DROP PUBLICATION acequia_lost; INSERT INTO orders VALUES (4, 'unseen'); CREATE PUBLICATION acequia_lost FOR TABLE orders", "publication"},
		{"member for a while", "ALTER PUBLICATION acequia_lost DROP TABLE orders; INSERT INTO orders VALUES (5, 'unseen'); ALTER PUBLICATION acequia_lost ADD TABLE orders", "publication"},
		{"another server", "", "another one"},
		{"older copy", "", "older copy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dsn := s.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders VALUES (1, 'a'), (2, 'b'), (3, 'c')`,
				"CREATE PUBLICATION acequia_lost FOR TABLE orders")
			defer func() {
				until(t, dsn, "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'acequia_lost'")
				s.Exec(t, dsn, "SELECT pg_drop_replication_slot('acequia_lost')")
			}()
			p := newPipeline(dsn)
			p.config.Capture.Slot = "acequia_lost"
			if err := p.run(t, nil); err != nil {
				t.Fatal(err)
			}
			s.Exec(t, dsn, "DELETE FROM orders WHERE id = 2", "UPDATE orders SET name = 'new' WHERE id = 3")
			for sql := range strings.SplitSeq(c.sql, "; ") {
				s.Exec(t, dsn, sql)
			}
			switch c.name {
			case "another server": // than the one of the positions
				p.state.kept["log"] = []byte(strings.Replace(string(p.state.kept["log"]), `"system":"`, `"system":"9`, 1))
			case "older copy":
				p.positions["log@1"] = record.Position("FFFF/0")
			}
			if err := p.run(t, nil); err != nil {
				t.Fatal(err)
			}
			p.equal(t, dsn, "orders", orders)
			if note := string(p.state.kept["table orders"]); !strings.Contains(note, `"epoch":2`) || !strings.Contains(note, c.why) {
				t.Errorf("the note of the table is %s", note)
			}
			s.Exec(t, dsn, "INSERT INTO orders VALUES (9, 'later')")
			if err := p.run(t, nil); err != nil {
				t.Fatal(err)
			}
			p.equal(t, dsn, "orders", orders)
		})
	}
}

// TestLogSlotIsRead holds the slot in another session.
func TestLogSlotIsRead(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	s, lanes := p.start(t)
	holder := p.open(t, s, lanes[len(lanes)-1])
	err := p.run(t, nil)
	pid := scalar(t, dsn, "SELECT active_pid::text FROM pg_replication_slots WHERE slot_name = '"+p.config.Capture.Slot+"'")
	if fault.Of(err) != fault.Retryable || !strings.Contains(fmt.Sprint(err), "PID "+pid) {
		t.Errorf("while process %s reads the slot: %v", pid, err)
	}
	status, err := s.LogStatus(t.Context())
	if err != nil || strconv.Itoa(status.Reader) != pid || status.Loss != 0 ||
		!slices.ContainsFunc(status.Warnings, func(w string) bool { return strings.Contains(w, "disk is full") }) {
		t.Errorf("the status of a slot that is read, on a server that keeps WAL without limit: %+v, %v", status, err)
	}
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t, nil); err != nil {
		t.Error(err)
	}
}

func scalar(t *testing.T, dsn, sql string) (text string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	if err := c.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// TestLogSlotWaitsForATransaction makes a slot while a transaction has written and is open: the server waits for it.
func TestLogSlotWaitsForATransaction(t *testing.T) {
	t.Parallel()
	s := another(t)
	dsn := s.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_waits FOR TABLE orders")
	open, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.PgConn().Exec(t.Context(), "BEGIN; INSERT INTO orders VALUES (1, 'open')").ReadAll(); err != nil {
		t.Fatal(err)
	}
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_waits"
	began := time.Now()
	err = p.run(t, nil)
	if fault.Code(err) != "ACQ-PG-062" || fault.Of(err) != fault.Retryable || !strings.Contains(fmt.Sprint(err), "process "+strconv.Itoa(int(open.PgConn().PID()))) {
		t.Errorf("the run: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if _, err := open.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	_ = open.Close(t.Context())
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
}

// TestLogSlotAmongTransactions makes a slot while transactions of four seconds follow each other without a gap: the server waits for them
// three times, so that no fixed patience below that would ever do.
func TestLogSlotAmongTransactions(t *testing.T) {
	t.Parallel()
	server := another(t)
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_among FOR TABLE orders")
	ctx, cancel := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	defer writers.Wait()
	defer cancel()
	for n := range 2 {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		writers.Go(func() {
			defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
			_, _ = conn.Exec(ctx, "SELECT pg_sleep($1)", 2*n)
			for ctx.Err() == nil {
				_, _ = conn.PgConn().Exec(ctx, fmt.Sprintf("BEGIN; INSERT INTO orders VALUES (%d, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y'; SELECT pg_sleep(4); COMMIT", n)).ReadAll()
			}
		})
	}
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_among"
	source, err := postgres.New(p.config, sources.Host{Pipeline: "test", State: p.state})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = source.Close() }()
	source.Drain()
	deadline, end := context.WithTimeout(t.Context(), time.Minute)
	defer end()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for scalar(t, dsn, "SELECT count(*)::text FROM pg_stat_activity WHERE backend_xid IS NOT NULL") != "2" {
		select {
		case <-tick.C:
		case <-deadline.Done():
			t.Fatal("no two transactions run")
		}
	}
	for waited := 0; ; waited++ {
		_, err := source.Lanes(deadline)
		if err == nil {
			return
		}
		if fault.Code(err) != "ACQ-PG-062" || waited > 2 {
			t.Fatalf("after it had waited %d times: %v", waited, err)
		}
	}
}

// TestLogStatusOfAStoppedPipeline shows the WAL that a slot holds while nobody reads it, and when data is lost.
func TestLogStatusOfAStoppedPipeline(t *testing.T) {
	t.Parallel()
	s := another(t, "max_slot_wal_keep_size=500MB")
	dsn := s.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_stopped FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_stopped"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, dsn, written(100))
	source, _ := p.start(t)
	status, err := source.LogStatus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if status.Held < 95e6 || status.Room <= 0 || status.Room > 430e6 || status.Rate <= 0 || status.Loss <= 0 || status.Reader != 0 {
		t.Errorf("100 MB were written since: %+v", status)
	}
	// The server writes a little WAL by itself between the questions.
	near := func(a, b int64) bool { return max(a, b)-min(a, b) <= max(a, b)/20 }
	lag, err := source.Lag(t.Context())
	if err != nil || !near(int64(lag.Loss), int64(status.Loss)) {
		t.Errorf("the lag is %+v, and the status %+v: %v", lag, status, err)
	}
	report, err := source.Report(t.Context())
	if err != nil || !near(report.Held, status.Held) || !near(int64(report.Loss), int64(status.Loss)) || len(report.Streams) != 1 || report.Streams[0].Strategy != "log" {
		t.Errorf("the report is %+v, and the status %+v: %v", report, status, err)
	}
}

// TestLogSlotOfAnotherDatabase has two databases of one server whose pipelines have the same name: names of slots are the server's.
func TestLogSlotOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	s := another(t)
	setup := []string{`CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_same FOR TABLE orders"}
	first, second := newPipeline(s.Database(t, setup...)), newPipeline(s.Database(t, setup...))
	first.config.Capture.Slot, second.config.Capture.Slot = "acequia_same", "acequia_same"
	if err := first.run(t, nil); err != nil {
		t.Fatal(err)
	}
	if err := second.run(t, nil); fault.Code(err) != "ACQ-PG-066" {
		t.Errorf("the slot of another database is taken: %v", err)
	}
	source := second.source(t)
	for range 2 { // with the publication, and without
		statements, err := source.Uninstall(t.Context(), sources.InstallRequest{Strategy: "log"})
		if err == nil {
			err = source.Apply(t.Context(), statements, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if statements, err := source.Uninstall(t.Context(), sources.InstallRequest{}); err != nil || len(statements) > 0 {
		t.Errorf("there is nothing more of it to take away: %v, %v", statements, err)
	}
	status, err := source.LogStatus(t.Context())
	if err != nil || status != nil && status.Held > 0 {
		t.Errorf("the slot of another database is shown as its own: %+v, %v", status, err)
	}
	if status, err = first.source(t).LogStatus(t.Context()); err != nil || status == nil || status.State == "missing" {
		t.Errorf("the slot of the first: %+v, %v", status, err)
	}
}

// source makes the source of the pipeline, which has read nothing yet.
func (p *pipeline) source(t *testing.T) *postgres.Source {
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
	return s
}

// TestLogOfAnIdleDatabase follows a database in which nothing happens, while another of the server writes 200 MB of WAL: the slot lets
// go of it.
func TestLogOfAnIdleDatabase(t *testing.T) {
	t.Parallel()
	s := another(t)
	dsn := s.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_idle FOR TABLE orders")
	busy := s.Database(t)
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_idle"
	source, lanes := p.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.lane(ctx, t, source, lanes[len(lanes)-1], nil) }()
	before := scalar(t, dsn, "SELECT pg_current_wal_lsn()::text")
	for range 4 {
		s.Exec(t, busy, written(50), "CHECKPOINT")
	}
	held := "SELECT pg_current_wal_lsn() - restart_lsn < 30000000 AND restart_lsn > '" + before + "' FROM pg_replication_slots WHERE slot_name = 'acequia_idle'"
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	late := time.After(40 * time.Second)
	for scalar(t, dsn, "SELECT ("+held+")::text") != "true" {
		select {
		case <-tick.C:
			s.Exec(t, busy, "CHECKPOINT")
		case <-late:
			t.Error(scalar(t, dsn, "SELECT format('the slot is at %s (confirmed %s), the server at %s', restart_lsn, confirmed_flush_lsn, pg_current_wal_lsn()) FROM pg_replication_slots WHERE slot_name = 'acequia_idle'"))
			cancel()
			<-ended
			return
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
