package postgres_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// TestLogGoesOnInTheMiddleOfATransaction kills the run at every chunk of a transaction that takes several: what was settled does not
// come again, and nothing is left out.
func TestLogGoesOnInTheMiddleOfATransaction(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`)
	p := newPipeline(dsn).name()
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

// TestLogAfterAReset ends the server's side of the stream in the middle of a transaction, by force and by a restart of the server: the lane
// fails so that it is tried again, and goes on where it was.
func TestLogAfterAReset(t *testing.T) {
	t.Parallel()
	s := another(t)
	dsn := s.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, "CREATE PUBLICATION acequia_reset FOR TABLE orders")
	p := newPipeline(dsn)
	p.config.Capture.Slot = "acequia_reset"
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	for i, end := range []func() error{
		func() error {
			s.Exec(t, dsn, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'acequia_reset'")
			return nil
		},
		func() error { return errors.Join(s.Stop(syscall.SIGINT), s.Run()) }, // it ends when all is sent and durable
		func() error { return errors.Join(s.Stop(syscall.SIGQUIT), s.Run()) },
	} {
		s.Exec(t, dsn, fmt.Sprintf(`INSERT INTO orders SELECT n, repeat('long ', 200) || n FROM generate_series(%d, %d) n`, i*100000, i*100000+12000))
		ended := make(chan error, 1)
		chunks := 0
		err := p.run(t, func(string, record.Chunk) error {
			if chunks++; chunks == 2 {
				go func() { ended <- end() }()
			}
			return nil
		})
		if fault.Of(err) != fault.Retryable && err != nil {
			t.Errorf("end %d: the run says %v", i, err)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		p.equal(t, dsn, "orders", orders)
	}
	p.image.once(t)
	if note := string(p.state.kept["table orders"]); !strings.Contains(note, `"epoch":1`) {
		t.Errorf("the table was read anew: %s", note)
	}
}

// TestLogWhileATableIsNotRead takes a table out of the configuration while its changes go by, and in again.
func TestLogWhileATableIsNotRead(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `CREATE TABLE lines (id int8 PRIMARY KEY, name text)`,
		`INSERT INTO orders VALUES (1, 'a'), (2, 'b')`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders, lines")
	for _, tables := range [][]string{nil, {"public.lines"}, nil} {
		p.config.Tables = tables
		if err := p.run(t, nil); err != nil {
			t.Fatal(err)
		}
		server.Exec(t, dsn, `DELETE FROM orders WHERE id = 1`, `UPDATE orders SET name = name || 'x' WHERE id = 2`)
	}
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
}
