package postgres_test

import "testing"

// scanned is a table in the middle of a scan: a third of its changes was given, and the process has died.
func scanned(t *testing.T) *world {
	t.Helper()
	w := newWorld(t, "xmin", "CREATE TABLE orders (id int8 PRIMARY KEY, v int8 NOT NULL, filler text) WITH (autovacuum_enabled = off)",
		"INSERT INTO orders SELECT i, 0, repeat('x', 100) FROM generate_series(1, 30000) i")
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
	w.exec("DELETE FROM orders WHERE id < 100", "VACUUM FULL orders") // the rows of before the update are gone, and all move down
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
	w.exec("UPDATE orders SET v = 2 WHERE id > 29000")
	low := w.session().texts("SELECT (max((ctid::text::point)[0]))::text FROM orders WHERE id > 29000")[0]
	w.calm()
	w.equal("orders", true)
	t.Log("the rows went to blocks up to", low)
}
