package postgres_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// Rows that a subscription brings call the triggers that are enabled always, and of those only the ones for rows.
func TestTableThatASubscriptionFills(t *testing.T) {
	t.Parallel()
	for _, strategy := range []string{"xid", "queue"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			from := newWorld(t, strategy, ordersSQL, "CREATE PUBLICATION told FOR TABLE orders")
			w := newWorld(t, strategy, ordersSQL)
			name := "fill_" + strategy
			w.install(sources.InstallRequest{Strategy: strategy})
			from.exec("SELECT pg_create_logical_replication_slot('" + name + "', 'pgoutput')")
			w.exec("CREATE SUBSCRIPTION " + name + " CONNECTION '" + strings.ReplaceAll(from.dsn(), "'", "''") + "' PUBLICATION told WITH (create_slot = false, slot_name = '" + name + "', copy_data = false)")
			defer func() {
				w.exec("ALTER SUBSCRIPTION "+name+" DISABLE", "ALTER SUBSCRIPTION "+name+" SET (slot_name = NONE)", "DROP SUBSCRIPTION "+name)
				await(t, "the slot is let go", func() bool {
					return from.texts("SELECT (active_pid IS NULL)::text FROM pg_replication_slots WHERE slot_name = '" + name + "'")[0] == "true"
				})
				from.exec("SELECT pg_drop_replication_slot('" + name + "')")
			}()
			if strategy == "queue" { // it was installed before the subscription
				if err := w.run(); fault.Code(err) != "ACQ-PG-040" || !strings.Contains(err.Error(), "--per-row") {
					t.Error("triggers for statements are not called by a subscription, and the run says:", err)
				}
				w.install(sources.InstallRequest{Strategy: strategy})
			}
			arrived := func(rows string) {
				t.Helper()
				await(t, "the rows have come", func() bool { return w.texts("SELECT coalesce(sum(v), 0)::text FROM orders")[0] == rows })
			}
			from.exec("INSERT INTO orders (id, v) SELECT i, 1 FROM generate_series(1, 10) i")
			arrived("10")
			w.equal("orders", true)
			from.exec("UPDATE orders SET v = 2 WHERE id < 6")
			arrived("15")
			w.equal("orders", true)
			from.exec("UPDATE orders SET v = 3 WHERE id = 6", "DELETE FROM orders WHERE id = 10")
			arrived("16")
			w.equal("orders", strategy == "queue")
			if strategy == "xid" {
				timesOfAnotherServer(w)
			}
			if w.epoch("orders") != 1 || w.given < 6 {
				t.Errorf("read %d times, %d changes", w.epoch("orders"), w.given)
			}
		})
	}
}

// timesOfAnotherServer looks whether strategy time, which a subscription brings the times of another server, is not taken by itself.
func timesOfAnotherServer(w *world) {
	w.Helper()
	w.exec("CREATE INDEX ON orders (updated_at)", "DROP TRIGGER zzz_acequia_stamp ON orders")
	c := w.config
	c.Capture.Strategy, c.Capture.MaxScan = "auto", 1
	s := open(w.T, c, newNotes())
	if _, err := s.Lanes(w.Context()); err != nil {
		w.Fatal(err)
	}
	if risks := strings.Join(postgres.Risks(s, "orders"), "; "); !strings.Contains(risks, "changes are not followed") {
		w.Error("it is followed by the times of another server:", risks)
	}
}
