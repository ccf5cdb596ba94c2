package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/sources"
)

// What happens to a table without its rows' writers or triggers telling is seen all the same, and the table is read anew where that is
// needed, and only there.
func TestWhatNoTriggerTells(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		t := w.T
		w.exec("INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 500) i")
		w.calm()
		w.equal("orders", deletes)
		epoch := 1
		for _, step := range []struct {
			sql   string
			anew  bool // for the strategies that do not see deletes
			queue bool // for queue
		}{
			{"VACUUM FULL orders", false, false},
			{"UPDATE orders SET v = 1 WHERE id < 10", false, false},
			{"CLUSTER orders USING orders_pkey", false, false},
			{"BEGIN; TRUNCATE orders; INSERT INTO orders (id, v) SELECT i, 2 FROM generate_series(400, 410) i; COMMIT", true, false},
			{"TRUNCATE orders", true, false},
			{"INSERT INTO orders (id, v) SELECT i, 3 FROM generate_series(1, 300) i", false, false},
			{"ALTER TABLE orders ALTER v TYPE int8 USING v * 2 + id", true, true},
			{"ALTER TABLE orders ADD extra int", false, false},
			{"UPDATE orders SET extra = id WHERE id > 290", false, false},
			{"ALTER TABLE orders ADD filled int DEFAULT 7", true, true},
			{"ALTER TABLE orders RENAME note TO remark", true, true},
			{"ALTER TABLE orders DROP extra; UPDATE orders SET v = 9 WHERE id = 5", false, false},
		} {
			w.exec(step.sql)
			w.calm()
			w.equal("orders", deletes || strings.Contains(step.sql, "TRUNCATE"))
			again := step.anew && !deletes || step.queue && deletes
			if again {
				epoch++
			}
			if got := w.epoch("orders"); got != epoch {
				t.Errorf("after %s the stream is in incarnation %d, and should be in %d", step.sql, got, epoch)
				epoch = got
			}
		}
		if n := strings.Count(w.log.String(), "the table is read anew"); n != epoch-1 {
			t.Errorf("%d announcements of %d incarnations: %s", n, epoch, &w.log)
		}
	})
}

// Changes that were made while a trigger did not fire are found by reading the table anew; without a trigger the table stops.
func TestTriggerThatDidNotFire(t *testing.T) {
	t.Parallel()
	for strategy, trigger := range map[string]string{"xid": "zzz_acequia_stamp", "queue": "zzz_acequia_queue_update"} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strategy, ordersSQL, "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 50) i")
			w.install(sources.InstallRequest{Strategy: strategy})
			w.equal("orders", true)
			w.exec("ALTER TABLE orders DISABLE TRIGGER "+trigger, "UPDATE orders SET v = 1 WHERE id = 1", "ALTER TABLE orders ENABLE ALWAYS TRIGGER "+trigger)
			w.equal("orders", true)
			w.exec("SET session_replication_role = replica; UPDATE orders SET v = 1 WHERE id = 2")
			w.equal("orders", true)
			if w.epoch("orders") != 2 {
				t.Error("it was read", w.epoch("orders"), "times")
			}
			w.exec("DROP TRIGGER "+trigger+" ON orders", "UPDATE orders SET v = 1 WHERE id = 3")
			if err := w.run(); fault.Code(err) != "ACQ-PG-040" || !strings.Contains(err.Error(), "capture install --strategy "+strategy) {
				t.Error("what is said of the trigger that is gone is:", err)
			}
			w.install(sources.InstallRequest{Strategy: strategy})
			w.equal("orders", true)
		})
	}
}

const partsSQL = `CREATE TABLE parts (id int8, day date, v int NOT NULL DEFAULT 0, updated_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE INDEX ON parts (updated_at, id, day);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := now(); RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO parts SELECT i, date '2026-01-01' + i % 50 FROM generate_series(1, 400) i`

func TestPartitions(t *testing.T) {
	t.Parallel()
	for _, s := range strategies {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s.name, partsSQL)
			w.config.Tables, w.config.Capture.Margin = []string{"public.parts"}, 200*time.Millisecond
			if s.install {
				w.install(sources.InstallRequest{Strategy: s.name})
			}
			w.calm()
			w.equal("parts", s.deletes)
			epoch := 1
			for _, step := range []struct {
				sql  string
				anew bool
			}{
				{"UPDATE parts SET v = 1 WHERE id % 7 = 0", false},
				{"UPDATE parts_1 SET v = 2 WHERE id % 11 = 0", false},
				{"CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')", false},
				{"INSERT INTO parts SELECT i, '2026-03-05' FROM generate_series(500, 600) i", false},
				{"UPDATE parts SET day = '2026-03-06' WHERE id < 20", false},
				{"VACUUM FULL parts_1", false},
				{`CREATE TABLE parts_4 (LIKE parts INCLUDING ALL); INSERT INTO parts_4 SELECT i, '2026-04-05' FROM generate_series(700, 800) i;
					ALTER TABLE parts ATTACH PARTITION parts_4 FOR VALUES FROM ('2026-04-01') TO ('2026-05-01')`, true},
				{"UPDATE parts SET v = 5 WHERE id > 690", false},
				{"TRUNCATE parts_2", true},
				{"ALTER TABLE parts DETACH PARTITION parts_1", s.deletes},
			} {
				w.exec(step.sql)
				w.calm()
				w.equal("parts", s.deletes || strings.Contains(step.sql, "TRUNCATE"))
				if step.anew {
					epoch++
				}
				if got := w.epoch("parts"); got != epoch {
					t.Errorf("after %s the stream is in incarnation %d, and should be in %d", step.sql, got, epoch)
					epoch = got
				}
			}
		})
	}
}
