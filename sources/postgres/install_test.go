package postgres_test

import (
	"context"
	"maps"
	"os/exec"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// schemaOf is the definition of a database.
func schemaOf(t *testing.T, dsn string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), server.Bin+"/pg_dump", "--schema-only", "--no-comments", dsn).CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, `\`) { // a key of the dump
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

const oddSQL = `CREATE TABLE "Odd ""Table" ("The Key" text, "select" date, v int, PRIMARY KEY ("The Key", "select"));
INSERT INTO "Odd ""Table" VALUES ('a', '2026-01-01', 1), ('{"b",\c}', '2026-01-02', 1), ('', '2026-01-03', 1)`

// What was installed works for odd names and keys, and to uninstall it leaves nothing behind.
func TestInstallAndUninstall(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"xid", "queue", "log", ""} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strategy, ordersSQL, oddSQL, partsSQL, "CREATE TABLE keyless (v int)")
			w.config.Tables = []string{"public.*", "!public.parts_*"}
			before := schemaOf(t, w.dsn())
			all := []string{"xid", "queue", "log"}
			if strategy != "" {
				all = []string{strategy}
			}
			for _, s := range all {
				w.install(sources.InstallRequest{Strategy: s})
			}
			if strategy == "xid" || strategy == "queue" {
				w.equal(`Odd "Table`, true)
				w.exec(`SET datestyle = 'German, DMY'; UPDATE "Odd ""Table" SET v = 2`, `UPDATE "Odd ""Table" SET "The Key" = 'c,"' WHERE "The Key" = ''`)
				w.equal(`Odd "Table`, strategy == "queue")
			}
			s := open(t, w.config, w.notes)
			for range 2 {
				statements, err := s.Uninstall(t.Context(), sources.InstallRequest{Strategy: strategy})
				if err == nil {
					err = s.Apply(t.Context(), statements, nil)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if after := schemaOf(t, w.dsn()); after != before {
				t.Errorf("before: %s\nafter: %s", before, after)
			}
		})
	}
}

// auto takes what is installed, and a table that was followed otherwise is read anew.
func TestAutoTakesWhatIsInstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "auto", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 100) i")
	before := schemaOf(t, w.dsn())
	follows := func(strategy string) {
		t.Helper()
		w.exec("UPDATE orders SET v = v + 1 WHERE id < 5", "DELETE FROM orders WHERE id = (SELECT max(id) FROM orders)")
		w.equal("orders", true)
		s := open(t, w.config, w.notes)
		all, err := s.Installed(t.Context())
		if err != nil || len(all) != 1 || all[0].Strategy != strategy {
			t.Fatalf("the table is followed by %+v, not by %s: %v", all, strategy, err)
		}
	}
	follows("xmin")
	if schemaOf(t, w.dsn()) != before {
		t.Error("auto has changed the database")
	}
	w.config.Capture.MaxScan = 1
	w.exec("UPDATE orders SET v = 50 WHERE id = 50")
	w.equal("orders", false)
	if n := w.epoch("orders"); n != 1 {
		t.Error("a table that grew above the limit is not followed as before, but read for time", n)
	}
	for i, strategy := range []string{"xid", "queue"} {
		w.install(sources.InstallRequest{Strategy: strategy})
		follows(strategy)
		if w.epoch("orders") != i+2 {
			t.Error(strategy, "was installed, and the table was read", w.epoch("orders"), "times")
		}
	}
	w.exec("DROP TRIGGER zzz_acequia_queue_insert ON orders")
	follows("xid")
	w.config.Capture.Strategy = "xmin"
	w.config.Capture.MaxScan = config.Size(1 << 30)
	follows("xmin")
}

// What a strategy needs and a table has not is said, with what to do, and the other tables go on.
func TestStrategyThatATableCannotHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "xid", ordersSQL, "CREATE TABLE other (id int PRIMARY KEY)", "INSERT INTO other VALUES (1)")
	w.config.Tables = []string{"public.other"}
	w.install(sources.InstallRequest{Strategy: "xid"})
	w.config.Tables = nil
	err := w.run()
	if fault.Code(err) != "ACQ-PG-040" || !strings.Contains(err.Error(), "capture install --strategy xid --tables public.orders --apply") {
		t.Error(err)
	}
	w.config.Capture.Strategy, w.config.Capture.MaxScan = "auto", 1
	w.equal("orders", true)
	if log := w.log.String(); !strings.Contains(log, "nothing follows the changes") || !strings.Contains(log, "capture.max_scan") {
		t.Error("nothing says that the table is not followed:", log)
	}
}

// One pipeline reads a queue. A run with another state takes it over, and the one before stops.
func TestQueueHasOneReader(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.equal("orders", true)
	other := newWorld(t, "queue")
	other.config = w.config
	w.exec("UPDATE orders SET v = 1 WHERE id = 1")
	other.equal("orders", true)
	w.exec("UPDATE orders SET v = 1 WHERE id = 2")
	other.equal("orders", true)
	if err := w.run(); fault.Code(err) != "ACQ-PG-040" || !strings.Contains(err.Error(), "UPDATE acequia.queued SET consumer = NULL") {
		t.Error("the queue was taken over, and the run says:", err)
	}
	other.equal("orders", true)
}

// A queue that has reached its limit stops taking keys, says so, and is begun again by an install; the table is then read anew.
func TestQueueThatIsFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 100) i")
	full := sources.InstallRequest{Strategy: "queue", Overflow: "stop_trigger", MaxRows: 1000}
	w.install(full)
	w.equal("orders", true)
	writer := w.session()
	writer.exec("DO $$ BEGIN FOR i IN 1..20000 LOOP UPDATE orders SET v = v + 1 WHERE id = i % 100; EXIT WHEN i % 100 = 0 AND pg_sequence_last_value((SELECT oid FROM pg_class WHERE relname LIKE 'stop\\_%')) = 1; END LOOP; END $$")
	if n := writer.texts("SELECT (count(*) BETWEEN 1001 AND 19999)::text FROM acequia.queue")[0]; n != "true" {
		t.Fatal("the queue has", writer.texts("SELECT count(*)::text FROM acequia.queue"))
	}
	w.exec("UPDATE orders SET v = -1 WHERE id = 7")
	if err := w.run(); !strings.Contains(err.Error(), "capture install --strategy queue") {
		t.Error("the triggers have stopped, and the run says:", err)
	}
	w.install(full)
	w.equal("orders", true)
	if w.epoch("orders") != 2 {
		t.Error("the table was not read anew")
	}
	w.exec("UPDATE orders SET v = -2 WHERE id = 8")
	w.equal("orders", true)
	if w.epoch("orders") != 2 {
		t.Error("the table was read anew again")
	}
}

// What was read and is durable goes from the queue, and nothing else.
func TestQueueIsEmptiedOfWhatIsDurable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 3000) i")
	w.chunk, w.page = 1000, 1000
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.equal("orders", true)
	left := func() string { return w.texts("SELECT count(*)::text FROM acequia.queue")[0] }
	w.exec("UPDATE orders SET v = 1")
	chunks := 0
	w.crash = func() bool {
		if chunks++; chunks == 1 { // its note is made, and the answer is lost: with the context of a reader that is closed, say
			w.exec("UPDATE acequia.queued SET removed = '" + string(w.reached) + "'")
		}
		return chunks == 2 // the first is durable
	}
	if err := w.run(); err == nil || left() != "2000" {
		t.Error("after one chunk of three the queue has", left(), err)
	}
	w.crash = func() bool { return false }
	w.equal("orders", true)
	if left() != "0" {
		t.Error("after all was read the queue has", left())
	}
}

// hooked lets something happen just before or after a number of a version is drawn.
type hooked struct {
	*notes
	before, after func()
}

func (h *hooked) Next(ctx context.Context, stream string) (uint64, error) {
	if do := h.before; do != nil {
		h.before = nil
		do()
	}
	n, err := h.notes.Next(ctx, stream)
	if do := h.after; do != nil {
		h.after = nil
		do()
	}
	return n, err
}

// A read that shows a table as it stands takes the number of its version before its snapshot, and a poll takes it after: whatever
// comes between, and in whatever order they reach the sink, the newest wins. (With the wrong order, of 40,000 simulated schedules
// 35 to 2,526 diverged.)
func TestNumbersOfVersions(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		t := w.T
		w.exec("INSERT INTO orders (id, v) VALUES (1, 0)")
		w.equal("orders", deletes)
		state := &hooked{notes: w.notes}
		read := func() (batches []*record.Batch) { // a part of the table as it stands
			s := open(t, w.config, state)
			if err := s.Scan(t.Context(), "orders", sources.KeyRange{}, func(b *record.Batch) error {
				batches = append(batches, b.Retain())
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return batches
		}
		put := func(batches []*record.Batch) {
			for _, b := range batches {
				w.apply(b)
			}
		}
		// Between the number of a read and its rows the row changes and is polled.
		state.before = func() {
			w.exec("UPDATE orders SET v = 1")
			w.equal("orders", deletes)
		}
		put(read())
		w.equal("orders", deletes)
		state.after = func() {
			w.exec("UPDATE orders SET v = 3")
			w.equal("orders", deletes)
		}
		put(read())
		w.equal("orders", deletes)
		// Between the rows of a poll and its number the table is read, and the row changes.
		w.exec("UPDATE orders SET v = 4")
		var between []*record.Batch
		w.state = &hooked{notes: w.notes, before: func() {
			w.exec("UPDATE orders SET v = 5")
			between = read()
		}}
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		put(between)
		w.state = nil
		w.equal("orders", deletes)
		w.exec("UPDATE orders SET v = 6")
		w.state = &hooked{notes: w.notes, after: func() {
			between = read()
			w.exec("UPDATE orders SET v = 7")
		}}
		if err := w.run(); err != nil {
			t.Fatal(err)
		}
		put(between)
		w.state = nil
		w.equal("orders", deletes)
	})
}

// A transaction that has begun before a TRUNCATE can write after it: what it wrote stays.
func TestTruncateInTheQueue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.equal("orders", true)
	old := w.session()
	old.exec("BEGIN", "SELECT pg_current_xact_id()")
	w.exec("UPDATE orders SET v = 1", "TRUNCATE orders")
	old.exec("INSERT INTO orders (id, v) VALUES (1, 2), (20, 2)", "COMMIT")
	w.equal("orders", true)
	w.exec("TRUNCATE orders", "INSERT INTO orders (id, v) VALUES (1, 3)")
	w.crash = func() bool { return true } // with the TRUNCATE applied, and again
	_, _ = w.run(), w.run()
	chunks := 0
	w.crash = func() bool {
		chunks++
		return chunks == 2 // between the TRUNCATE and the rows
	}
	_ = w.run()
	w.crash = func() bool { return false }
	w.equal("orders", true)
	if w.epoch("orders") != 1 {
		t.Error("the table was read anew")
	}
}

// A state that is an older copy has not had what was removed from the queue since: the table is read anew.
func TestQueueOfAnOlderState(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 3000) i")
	w.chunk, w.page = 1000, 1000
	w.install(sources.InstallRequest{Strategy: "queue"})
	w.equal("orders", true)
	w.exec("UPDATE orders SET v = 1 WHERE id = 1")
	w.equal("orders", true)
	at, ended, sink := maps.Clone(w.at), maps.Clone(w.ended), maps.Clone(w.sink["orders"])
	w.exec("UPDATE orders SET v = 2 WHERE id = 2")
	w.equal("orders", true)
	w.at, w.ended, w.sink["orders"] = at, ended, sink
	w.equal("orders", true)
	if w.epoch("orders") != 2 {
		t.Error("the table was not read anew")
	}
	w.exec("UPDATE orders SET v = v + 1")
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
	if w.epoch("orders") != 2 {
		t.Error("a crash made the table be read anew")
	}
}

// The kind of triggers can be changed; the table is read anew then.
func TestQueueByRowsOrByStatements(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "queue", ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
	before := schemaOf(t, w.dsn())
	for i, perRow := range []bool{false, true, false} {
		w.install(sources.InstallRequest{Strategy: "queue", PerRow: perRow})
		w.equal("orders", true)
		w.exec("UPDATE orders SET v = v + 1, id = id + 100 WHERE id < 5", "DELETE FROM orders WHERE id = 7", "INSERT INTO orders (id, v) VALUES (1, 1), (7, 1)")
		w.equal("orders", true)
		w.exec("TRUNCATE orders", "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 10) i")
		w.equal("orders", true)
		if w.epoch("orders") != i+1 {
			t.Errorf("per row %v: the table was read %d times", perRow, w.epoch("orders"))
		}
	}
	s := open(t, w.config, w.notes)
	statements, err := s.Uninstall(t.Context(), sources.InstallRequest{})
	if err == nil {
		err = s.Apply(t.Context(), statements, nil)
	}
	if after := schemaOf(t, w.dsn()); err != nil || after != before {
		t.Errorf("after %s: %v", after, err)
	}
}
