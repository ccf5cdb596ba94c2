package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// A standby's snapshots do not list the transactions that are under way at the primary: below the oldest of them is what is over.
func TestPollsOfAStandby(t *testing.T) {
	t.Parallel()
	primary, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = primary.Close() }()
	dsn := primary.DSN("postgres")
	primary.Exec(t, dsn, ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = standby.Close() }()
	replayed := func(w *world) {
		lsn := w.texts("SELECT pg_current_wal_lsn()::text")[0]
		at := *w
		at.config.DSN = config.Secret(standby.DSN("postgres"))
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if at.texts("SELECT (pg_last_wal_replay_lsn() >= '" + lsn + "')::text")[0] == "true" {
				return
			}
		}
	}
	for _, strategy := range []string{"xid", "xmin"} {
		w := newWorld(t, strategy)
		w.config.DSN = config.Secret(dsn)
		if strategy == "xid" {
			w.install(sources.InstallRequest{Strategy: strategy})
		}
		w.exec("UPDATE orders SET v = 0, note = '" + strategy + "'")
		late := w.session()
		replayed(w)
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		w.equal("orders", true)
		late.exec("BEGIN", "UPDATE orders SET v = 1 WHERE id = 1")
		primary.Exec(t, dsn, "UPDATE orders SET v = 2 WHERE id = 2")
		w.config.DSN = config.Secret(dsn)
		replayed(w)
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		w.meanwhile(func() { late.exec("COMMIT") })
		w.config.DSN = config.Secret(dsn)
		replayed(w)
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		w.equal("orders", true)
	}
	// Strategies that a standby cannot serve are refused.
	for _, strategy := range []string{"queue", "time"} {
		w := newWorld(t, strategy)
		w.config.DSN = config.Secret(dsn)
		if strategy == "queue" {
			w.install(sources.InstallRequest{Strategy: strategy})
			replayed(w)
		}
		w.config.DSN = config.Secret(standby.DSN("postgres"))
		if err := w.run(); err == nil {
			t.Error(strategy, "is not refused at a standby")
		}
	}
	for _, strategy := range []string{"xid", "xmin"} {
		roundOnAnotherServer(t, primary, standby, strategy)
	}
	watermarkOfAnotherServer(t, primary, standby)
}

// roundOnAnotherServer begins to read changes at the primary, and goes on at a standby that has not got them yet.
func roundOnAnotherServer(t *testing.T, primary, standby *postgrestest.Server, strategy string) {
	t.Helper()
	w := newWorld(t, strategy)
	w.config.DSN, w.chunk, w.page = config.Secret(primary.DSN("postgres")), 3, 4
	w.equal("orders", true)
	standby.Exec(t, standby.DSN("postgres"), "SELECT pg_wal_replay_pause()")
	w.exec("UPDATE orders SET v = v + 1")
	w.calm()
	chunks := 0
	w.crash = func() bool {
		chunks++
		return chunks == 2
	}
	if err := w.run(); !errors.Is(err, errCrashed) {
		t.Fatal(err)
	}
	w.crash = func() bool { return false }
	w.config.DSN = config.Secret(standby.DSN("postgres"))
	w.meanwhile(func() { standby.Exec(t, standby.DSN("postgres"), "SELECT pg_wal_replay_resume()") })
	w.config.DSN = config.Secret(primary.DSN("postgres"))
	if missing, _ := w.differences("orders"); len(missing) > 0 || w.epoch("orders") != 1 {
		t.Errorf("%s: %d rows are missing, in incarnation %d", strategy, len(missing), w.epoch("orders"))
	}
}

// watermarkOfAnotherServer ends the primary, which a table is followed at by strategy time: the standby knows no watermark.
func watermarkOfAnotherServer(t *testing.T, primary, standby *postgrestest.Server) {
	t.Helper()
	w := newWorld(t, "time")
	w.config.DSN, w.config.Capture.Margin = config.Secret(primary.DSN("postgres")), 200*time.Millisecond
	w.equal("orders", true)
	w.exec("UPDATE orders SET v = v + 1, updated_at = now()")
	w.config.DSN = config.Secret(fmt.Sprintf("postgres://postgres@127.0.0.1:%d,127.0.0.1:%d/postgres?sslmode=disable", primary.Port, standby.Port))
	await(t, "the change is at the standby", func() bool {
		at := *w
		at.config.DSN = config.Secret(standby.DSN("postgres"))
		return slices.Equal(at.texts("SELECT sum(v)::text FROM orders"), w.texts("SELECT sum(v)::text FROM orders"))
	})
	s := open(t, w.config, w.notes)
	postgres.HoldAfter(s, time.Millisecond)
	lanes, err := s.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := primary.Stop(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	follow := lanes[slices.IndexFunc(lanes, func(l sources.Lane) bool { return l.Endless })]
	for range 2 { // the first time the connections are lost
		r, err := s.Open(t.Context(), follow, w.at[follow.ID])
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if chunk, err := r.Read(ctx); err == nil {
			t.Errorf("rows below a watermark that a standby has given, to %s", chunk.To)
			chunk.Release()
		}
		cancel()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if risks := strings.Join(postgres.Risks(s, "orders"), "\n"); !strings.Contains(risks, "by a standby") {
		t.Error("what holds changes back is not among the risks:", risks)
	}
}

// With synchronous_commit off a commit is visible before it is on the disk, and a crash of the server takes it back. It is not given
// before it lasts.
func TestServerThatCrashes(t *testing.T) {
	t.Parallel()
	s, err := postgrestest.Start("wal_writer_delay=10s", "checkpoint_timeout=1d")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, strategy := range []string{"xid", "queue", "xmin", "time"} {
		w := newWorld(t, strategy)
		w.config.Capture.Margin = 200 * time.Millisecond
		w.config.DSN = config.Secret(s.Database(t, ordersSQL, touchedSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i"))
		if strategy == "xid" || strategy == "queue" {
			w.install(sources.InstallRequest{Strategy: strategy})
		}
		w.equal("orders", true)
		w.exec("SET synchronous_commit = off; UPDATE orders SET v = 1 WHERE id = 1")
		done := make(chan error, 1)
		go func() { done <- w.run() }()
		late := time.NewTimer(700 * time.Millisecond)
		select {
		case err := <-done: // all was on the disk by chance
			t.Log("the run has ended before the crash:", err)
			done <- err
		case <-late.C:
		}
		if err := errors.Join(s.Stop(syscall.SIGQUIT), s.Run("wal_writer_delay=10s", "checkpoint_timeout=1d")); err != nil {
			t.Fatal(err)
		}
		<-done
		for range 30 { // numbers that were given again
			w.exec("UPDATE orders SET v = v + 1 WHERE id = 2")
		}
		w.equal("orders", true)
	}
}

// The writers of rows are known by 32 bits: a table that was not asked for its changes for too many transactions is read anew by xmin.
// The other strategies know all 64.
func TestTooManyTransactions(t *testing.T) {
	t.Parallel()
	s, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	worlds := map[string]*world{}
	for _, strategy := range []string{"xid", "queue", "xmin"} {
		w := newWorld(t, strategy)
		w.config.DSN = config.Secret(s.Database(t, ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i"))
		if strategy != "xmin" {
			w.install(sources.InstallRequest{Strategy: strategy})
		}
		w.equal("orders", true)
		worlds[strategy] = w
	}
	info, err := os.Stat(s.Data)
	if err != nil {
		t.Fatal(err)
	}
	reset := exec.CommandContext(t.Context(), s.Bin+"/pg_resetwal", "-f", "-e", "1", s.Data) // the next 2^32 transactions
	if owner := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
		reset.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	err = s.Stop(syscall.SIGINT)
	if err == nil {
		var out []byte
		if out, err = reset.CombinedOutput(); err != nil {
			t.Error(string(out))
		}
	}
	if err := errors.Join(err, s.Run()); err != nil {
		t.Fatal(err)
	}
	for strategy, w := range worlds {
		w.exec("UPDATE orders SET v = 1 WHERE id = 1")
		w.equal("orders", true)
		w.exec("UPDATE orders SET v = 2 WHERE id = 2")
		w.equal("orders", true)
		want := 1
		if strategy == "xmin" {
			want = 2
		}
		if n := w.epoch("orders"); n != want {
			t.Errorf("%s: the table was read %d times: %s", strategy, n, &w.log)
		}
	}
	truncatedLongAgo(worlds["xid"])
}

// truncatedLongAgo empties a table that was last looked at so many transactions ago that the writers of its rows do not tell.
func truncatedLongAgo(w *world) {
	w.Helper()
	now, err := strconv.ParseUint(w.texts("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")[0], 10, 64)
	if err != nil {
		w.Fatal(err)
	}
	long := now - 1<<31 - 1000
	seen := fmt.Sprintf("%d:%[1]d:", long)
	var guard map[string]any
	if err := json.Unmarshal(w.notes.kept["guard orders@1"], &guard); err != nil {
		w.Fatal(err)
	}
	guard["seen"] = seen
	if w.notes.kept["guard orders@1"], err = json.Marshal(guard); err != nil {
		w.Fatal(err)
	}
	w.at["orders@1/follow"] = record.Position(`{"c":"` + seen + `"}`)
	w.exec("TRUNCATE orders", "INSERT INTO orders (id, v) VALUES (100, 1)")
	w.equal("orders", true)
}

// A standby that was promoted is another server from its first moment, though its first checkpoint may take minutes: its tables are
// read anew once, and not again after that checkpoint.
func TestLogOfAStandbyThatIsPromoted(t *testing.T) {
	t.Parallel()
	primary := another(t, "checkpoint_timeout=1h")
	dsn := primary.DSN("postgres")
	primary.Exec(t, dsn, "CREATE TABLE orders (id int8 PRIMARY KEY, name text)", "INSERT INTO orders VALUES (1, 'a')", "CREATE PUBLICATION acequia_promoted FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_promoted"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	standby, err := primary.Standby()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = standby.Close() }()
	primary.Exec(t, dsn, "CREATE TABLE much AS SELECT n, repeat('x', 1000) AS x FROM generate_series(1, 20000) n", "UPDATE orders SET name = 'b'")
	lsn := scalar(t, dsn, "SELECT pg_current_wal_lsn()::text")
	until(t, standby.DSN("postgres"), "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'")
	p.config.DSN = config.Secret(standby.DSN("postgres"))
	standby.Exec(t, standby.DSN("postgres"), "SELECT pg_promote()")
	for range 2 {
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		p.equal(t, standby.DSN("postgres"), "orders", orders)
		if note := string(p.state.kept["table orders"]); !strings.Contains(note, `"epoch":2`) {
			t.Errorf("the note of the table is %s", note)
		}
		standby.Exec(t, standby.DSN("postgres"), "CHECKPOINT")
	}
}
