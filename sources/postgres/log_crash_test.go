package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/record"
)

// TestLogGoesOnInTheMiddleOfATransaction kills the run at every chunk of a transaction that takes several: what was settled does not
// come again, and nothing is left out.
func TestLogGoesOnInTheMiddleOfATransaction(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name(dsn)
	p.publish(t, dsn, "orders, lines")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, dsn, `INSERT INTO orders VALUES (0, 'before')`, `BEGIN;
		INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 30000) n;
		INSERT INTO lines SELECT n, 'l' || n FROM generate_series(1, 10000) n;
		UPDATE orders SET name = 'changed' WHERE id % 2 = 0;
		UPDATE orders SET id = -id WHERE id % 1000 = 1;
		DELETE FROM orders WHERE id % 7 = 0; COMMIT`, `INSERT INTO orders VALUES (-7, 'after')`)
	middle := 0
	for kill := 1; ; kill++ {
		seen := 0
		err := p.run(t, func(_ string, c record.Chunk) error {
			if seen++; seen == 2 { // one chunk each life: the second dies
				return errKilled
			}
			if strings.Contains(string(c.To), " ") {
				middle++
			}
			return nil
		})
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if kill > 100 {
			t.Fatal("it does not come to an end")
		}
	}
	if middle < 4 {
		t.Fatalf("%d chunks ended in the middle of the transaction", middle)
	}
	p.equal(t, dsn, "orders", orders)
	p.equal(t, dsn, "lines", strings.ReplaceAll(orders, "orders", "lines"))
	p.image.once(t)
	if got, want := fmt.Sprint(p.image.ops["orders I"], p.image.ops["orders U"], p.image.ops["orders D"]), "30032 15001"; !strings.HasPrefix(got, want) {
		t.Errorf("inserts, updates and deletes: %s, want %s", got, want)
	}
}
