package postgres_test

import (
	"fmt"
	"strings"
	"testing"
)

// unfit is a table with a column that can hold what no record can, where the settings refuse that.
func unfit(w *world) {
	w.config.Unfit, w.chunk, w.page = "error", 3, 4
	w.exec("ALTER TABLE orders ADD odd numeric(5,2)", "INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 60) i")
	if err := w.run(); err != nil {
		w.Fatal(err)
	}
}

// has says which rows the sink has not with a value.
func (w *world) has(v, from, to int) (missing []int) {
	for id := from; id <= to; id++ {
		found := false
		for _, row := range w.sink["orders"] {
			found = found || strings.Contains(row.row, fmt.Sprintf(`"id":%d,"v":%d,`, id, v))
		}
		if !found {
			missing = append(missing, id)
		}
	}
	return missing
}

// A row that can be no record stands at the end of a page, behind the last that can: what follows it is not skipped.
func TestRefusedRowAtTheEndOfAPage(t *testing.T) {
	t.Parallel()
	for _, chunk := range []int{3, 8} { // it is alone in its chunk, or behind others
		each(t, func(w *world, _ bool) { refusedAtTheEnd(w, chunk) })
	}
}

func refusedAtTheEnd(w *world, chunk int) {
	w.Helper()
	unfit(w)
	w.chunk = chunk
	w.exec("UPDATE orders SET v = 1 WHERE id BETWEEN 51 AND 53")
	w.exec("UPDATE orders SET v = 1, odd = CASE WHEN id = 1 THEN numeric 'NaN' END WHERE id BETWEEN 1 AND 20")
	w.calm()
	if err := w.run(); err != nil {
		w.Fatal(err)
	}
	if missing := append(w.has(1, 2, 20), w.has(1, 51, 53)...); len(missing) > 0 {
		w.Errorf("rows %v are missing", missing)
	}
	if n := len(w.refused); n == 0 {
		w.Error("the row that was refused is no dead letter")
	}
}

// A change of nothing but a row that can be no record does not stop the table.
func TestNothingButARefusedRow(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, _ bool) {
		unfit(w)
		late := w.session()
		late.exec("BEGIN", "UPDATE orders SET v = 1, odd = 'NaN' WHERE id = 1")
		if strategy := w.config.Capture.Strategy; strategy == "xid" || strategy == "queue" {
			w.exec("SELECT pg_current_xact_id()") // one that has ended, so that the other is late
			if err := w.run(); err != nil {
				w.Fatal(err)
			}
		}
		w.exec("UPDATE orders SET v = 1 WHERE id = 2")
		late.exec("COMMIT")
		w.calm()
		if err := w.run(); err != nil {
			w.Error(err)
		}
		w.exec("UPDATE orders SET v = 2, odd = 'NaN' WHERE id = 1")
		w.calm()
		if err := w.run(); err != nil {
			w.Error(err)
		}
		if n := len(w.refused); n != 2 || len(w.has(1, 2, 2)) > 0 {
			w.Errorf("%d rows were refused, of two", n)
		}
	})
}
