package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// scanned is a table in the middle of a scan: a third of its changes was given, and the process has died.
func scanned(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "xmin", "CREATE TABLE orders (id int8 PRIMARY KEY, v int8 NOT NULL, filler text) WITH (autovacuum_enabled = off)",
		"INSERT INTO orders SELECT i, 0, repeat('x', 100) FROM generate_series(1, 3000) i")
	w.chunk, w.page = 1000, 10_000
	w.calm()
	w.equal("orders", true)
	w.exec("UPDATE orders SET v = 1")
	w.calm()
	chunks := 0
	w.crash = func() bool {
		chunks++
		return chunks == 2
	}
	if err := w.run(); err == nil {
		t.Fatal("the run did not die")
	}
	w.crash = func() bool { return false }
	return w
}

// VACUUM FULL in the middle of a scan puts rows elsewhere in another file, such as rows that were not read to where was read.
func TestRowsThatAreMovedDuringAScan(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.exec("DELETE FROM orders WHERE id < 10", "VACUUM FULL orders") // the rows of before the update are gone, and all move down
	w.calm()
	w.equal("orders", false)
	if w.epoch("orders") != 1 {
		t.Error("the table was read anew")
	}
}

// An update in the middle of a scan can put a row that was not read to a page that was.
func TestRowThatIsUpdatedDuringAScan(t *testing.T) {
	t.Parallel()
	w := scanned(t)
	w.exec("VACUUM orders") // the pages of the rows before the update are free
	w.exec("UPDATE orders SET v = 2 WHERE id > 2900")
	low := w.texts("SELECT (max((ctid::text::point)[0]))::text FROM orders WHERE id > 2900")[0]
	w.calm()
	w.equal("orders", true)
	t.Log("the rows went to blocks up to", low)
}

// What holds changes back is named, in the log and among the risks, and forgotten when it is over.
func TestWhatHoldsChangesBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		strategy string
		prepared bool
	}{{"xmin", false}, {"xmin", true}, {"time", false}, {"time", true}} {
		strategy := c.strategy
		t.Run(fmt.Sprint(strategy, " ", c.prepared), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strategy, ordersSQL, touchedSQL, "INSERT INTO orders (id, v) VALUES (1, 0)")
			w.config.Capture.Margin = 200 * time.Millisecond
			s := w.session()
			s.exec("SET application_name = 'a batch'", "BEGIN", "UPDATE orders SET v = 1")
			by, commit := "process "+s.texts("SELECT pg_backend_pid()::text")[0], "COMMIT"
			if c.prepared {
				by = "held_" + strategy
				s.exec("PREPARE TRANSACTION '" + by + "'")
				commit = "COMMIT PREPARED '" + by + "'"
			}
			source, err := postgres.New(w.config, sources.Host{Pipeline: "test", State: w.notes, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = source.Close() }()
			postgres.HoldAfter(source, 100*time.Millisecond)
			lanes, err := source.Lanes(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w.exec("INSERT INTO orders (id, v) VALUES (2, 0)")
			r, err := source.Open(t.Context(), lanes[len(lanes)-1], "")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			seen := make(chan int)
			go func() { // how many rows have come of the transaction that holds changes back
				defer close(seen)
				for {
					chunk, err := r.Read(ctx)
					if err != nil {
						return
					}
					for _, b := range chunk.Batches {
						for row := range b.Rows {
							if b.Columns[0].Int(row) == 1 && b.Columns[1].Int(row) == 1 {
								seen <- row
								return
							}
						}
					}
					chunk.Release()
				}
			}()
			held := func() bool { // another test's transaction can be older
				return slices.ContainsFunc(postgres.Risks(source, "orders"), func(risk string) bool {
					return strings.Contains(risk, "changes are held back") && (strings.Contains(risk, by) || strategy == "xmin")
				})
			}
			await(t, "what holds changes back is said", held)
			s.exec(commit)
			await(t, "nothing holds changes back", func() bool { return !held() })
			if _, ok := <-seen; !ok {
				t.Error("the rows of the transaction did not come")
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if n := strings.Count(w.log.String(), "changes of the table are held back"); n == 0 || n > 5 {
				t.Errorf("it is logged %d times: %s", n, &w.log)
			}
		})
	}
}

// await asks until something is so.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("not yet: " + what)
		}
	}
}
