package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

func timed(t *testing.T, sql ...string) *world {
	t.Helper()
	w := newWorld(t, "time", append([]string{ordersSQL, touchedSQL}, sql...)...)
	w.config.Capture.Margin = 200 * time.Millisecond
	return w
}

// Rows of one statement have one time: what is left of them after a crash is found by their keys.
func TestEqualTimesAcrossChunks(t *testing.T) {
	t.Parallel()
	w := timed(t, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 3500) i")
	w.chunk, w.page = 1000, 2000
	w.equal("orders", true)
	w.exec("UPDATE orders SET v = 1")
	chunks := 0
	w.crash = func() bool {
		chunks++
		return chunks%2 == 0
	}
	for w.run() != nil {
		if chunks > 50 {
			t.Fatal("the rows never end")
		}
	}
	w.crash = func() bool { return false }
	w.equal("orders", true)
	if w.given < 3500 {
		t.Error("only", w.given, "records of changes")
	}
}

// A transaction that has begun writes the time of its beginning, however late it first writes.
func TestBeginThenWaitThenWrite(t *testing.T) {
	t.Parallel()
	w := timed(t, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	w.equal("orders", true)
	s := w.session()
	s.exec("BEGIN", "SELECT 1")
	w.exec("UPDATE orders SET v = 1 WHERE id = 1")
	w.meanwhile(func() { s.exec("UPDATE orders SET v = 1 WHERE id = 2", "COMMIT") })
	w.equal("orders", true)
}

// A prepared transaction is not among those that the server shows with a beginning. It is waited for by the strategies that go by what
// has ended, and not missed by the others.
func TestPreparedTransaction(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		t := w.T
		w.exec("INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
		w.equal("orders", deletes)
		name := strings.ReplaceAll(t.Name(), "/", "_")
		w.exec("BEGIN; UPDATE orders SET v = 1 WHERE id = 1; PREPARE TRANSACTION '" + name + "'")
		w.exec("UPDATE orders SET v = 1 WHERE id = 2")
		w.meanwhile(func() { w.exec("COMMIT PREPARED '" + name + "'") })
		w.equal("orders", deletes)
		// One that is pending when the table is first read.
		w.exec("BEGIN; UPDATE orders SET v = 2 WHERE id = 3; PREPARE TRANSACTION '" + name + "'")
		w.notes, w.at, w.ended = newNotes(), map[string]record.Position{}, map[string]record.Position{}
		w.sink = map[string]map[string]newest{}
		if w.config.Capture.Strategy == "queue" {
			w.exec("UPDATE acequia.queued SET consumer = NULL")
		}
		w.meanwhile(func() { w.exec("COMMIT PREPARED '" + name + "'") })
		w.equal("orders", deletes)
	})
}

// A time with a zone is a moment whatever the zone of the writer's session. One without is refused, unless its zone is said.
func TestSessionsOfOtherZones(t *testing.T) {
	t.Parallel()
	w := timed(t, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	w.equal("orders", true)
	w.exec("SET timezone = 'Asia/Karachi'; UPDATE orders SET v = 1 WHERE id = 1")
	w.equal("orders", true)
	w.exec("SET timezone = 'America/Los_Angeles'; UPDATE orders SET v = 1 WHERE id = 2")
	w.equal("orders", true)

	local := newWorld(t, "time", `CREATE TABLE local (id int PRIMARY KEY, v int, updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC-05:00'))`,
		`CREATE INDEX ON local (updated_at, id)`, `INSERT INTO local VALUES (1, 1, '2020-01-01')`)
	if err := local.run(); fault.Code(err) != "ACQ-PG-040" || !strings.Contains(err.Error(), "capture.zone") {
		t.Error("a time without a zone:", err)
	}
	local.config.Capture.Zone = "+05:00"
	local.equal("local", true)
	for range 3 {
		local.exec(`SET timezone = 'America/Los_Angeles'; UPDATE local SET v = v + 1, updated_at = now() AT TIME ZONE 'UTC-05:00'`)
		local.equal("local", true)
	}
	if local.given != 3 {
		t.Errorf("%d records of three changes", local.given)
	}
}

// Without the right to see the transactions of others there is no watermark: it is refused, and the right is named.
func TestRoleThatSeesNoTransactions(t *testing.T) {
	t.Parallel()
	w := timed(t, "INSERT INTO orders (id, v) VALUES (1, 0)", "CREATE ROLE blind LOGIN", "GRANT SELECT ON orders TO blind")
	w.config.DSN = config.Secret(strings.Replace(w.dsn(), "postgres@", "blind@", 1))
	if err := w.run(); fault.Code(err) != "ACQ-PG-040" || !strings.Contains(err.Error(), "GRANT pg_read_all_stats") {
		t.Error("a role that sees no transactions:", err)
	}
	w.config.Capture.Strategy = "xmin" // which needs no right
	w.equal("orders", true)
}

// Rows without a time are counted.
func TestRowsWithoutATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time", `CREATE TABLE loose (id int PRIMARY KEY, updated_at timestamptz)`, `INSERT INTO loose SELECT i, CASE WHEN i > 3 THEN now() END FROM generate_series(1, 10) i`)
	w.config.Capture.Margin = 200 * time.Millisecond
	w.equal("loose", true)
	if !strings.Contains(w.log.String(), "rows=3") {
		t.Error("the rows without a time are not counted:", &w.log)
	}
}
