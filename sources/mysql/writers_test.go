package mysql_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"github.com/acequia-io/acequia/sources"
)

const ordersTable = `CREATE TABLE orders (id int PRIMARY KEY, v int NOT NULL, note varchar(40),
	updated_at timestamp(6) NOT NULL DEFAULT current_timestamp(6) ON UPDATE current_timestamp(6), KEY (updated_at, id))`

// write makes transactions until ctx ends: some begin early, some commit late, with savepoints, rollbacks, deletes and changes of keys.
func write(ctx context.Context, conn *client.Conn, r *rand.Rand) error {
	wait := func(most int) {
		timer := time.NewTimer(time.Duration(r.IntN(most)) * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	for n := 0; ctx.Err() == nil; n++ {
		sql := []string{"BEGIN"}
		if r.IntN(4) == 0 {
			sql = append(sql, "SELECT COUNT(*) FROM orders WHERE id < 10")
		}
		ids := make([]int, 1+r.IntN(5))
		for i := range ids {
			ids[i] = 1 + r.IntN(300)
		}
		slices.Sort(ids)
		for _, id := range ids {
			switch r.IntN(12) {
			case 0:
				sql = append(sql, fmt.Sprintf("DELETE FROM orders WHERE id = %d", id))
			case 1:
				sql = append(sql, fmt.Sprintf("UPDATE IGNORE orders SET id = id + 100000 + %d WHERE id = %d", n, id))
			case 2:
				sql = append(sql, "SAVEPOINT a", fmt.Sprintf("UPDATE orders SET v = v + 1 WHERE id = %d", id), []string{"RELEASE SAVEPOINT a", "ROLLBACK TO a"}[r.IntN(2)])
			case 3:
				sql = append(sql, fmt.Sprintf("INSERT INTO orders (id, v) SELECT seq, 1 FROM seq_%d_to_%d ON DUPLICATE KEY UPDATE v = v + 1", id, id+r.IntN(60)))
			case 4:
				sql = append(sql, fmt.Sprintf("REPLACE INTO orders (id, v) VALUES (%d, %d)", id, n))
			default:
				sql = append(sql, fmt.Sprintf("INSERT INTO orders (id, v) VALUES (%d, 1) ON DUPLICATE KEY UPDATE v = v + 1, note = md5(rand())", id))
			}
		}
		end := "COMMIT"
		if r.IntN(10) == 0 {
			end = "ROLLBACK"
		}
		for i, q := range sql {
			if _, err := conn.Execute(q); err != nil {
				if !strings.Contains(err.Error(), "1213") && !strings.Contains(err.Error(), "1205") && !strings.Contains(err.Error(), "1305") { // waits for others, and what that undid
					return fmt.Errorf("%s: %w", q, err)
				}
				end = "ROLLBACK"
				break
			}
			if i == 1 && r.IntN(4) == 0 {
				wait(200)
			}
		}
		if r.IntN(3) == 0 {
			wait(250)
		}
		if r.IntN(10) == 0 { // longer than the watermark stays behind the clock anyway
			wait(3000)
		}
		if _, err := conn.Execute(end); err != nil {
			return err
		}
		wait(8)
	}
	return nil
}

// Writers who commit late, roll back, delete and change keys meet a pipeline that dies again and again, with a chunk applied and its position not
// saved. In the end the sink has what the table has.
func TestWriters(t *testing.T) {
	t.Parallel()
	const writers, span = 6, 6 * time.Second
	for strategy, deletes := range map[string]bool{"queue": true, "time": false} {
		t.Run(strategy, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, strategy, ordersTable, "INSERT INTO orders (id, v) SELECT seq, 0 FROM seq_1_to_200")
			w.chunk, w.page = 40, 100
			w.config.Capture.Margin = time.Second
			if strategy == "queue" {
				w.install(sources.InstallRequest{Strategy: strategy})
			}
			ctx, cancel := context.WithTimeout(t.Context(), span)
			defer cancel()
			var group sync.WaitGroup
			failed := make([]error, writers)
			for i := range writers {
				conn, err := server.Connect(w.database)
				if err != nil {
					t.Fatal(err)
				}
				group.Go(func() {
					failed[i] = errors.Join(write(ctx, conn, rand.New(rand.NewPCG(uint64(i), 1))), conn.Quit())
				})
			}
			rnd := rand.New(rand.NewPCG(7, 7))
			w.crash = func() bool { return rnd.IntN(12) == 0 }
			runs := 0
			for ; ctx.Err() == nil; runs++ {
				if err := w.run(); err != nil && !errors.Is(err, errCrashed) {
					t.Fatal(err)
				}
			}
			group.Wait()
			if err := errors.Join(failed...); err != nil {
				t.Fatal(err)
			}
			w.crash = func() bool { return false }
			w.equal("orders", deletes)
			if w.given < 100 || w.epoch("orders") != 1 {
				t.Errorf("%d records of changes in %d runs, epoch %d: %s", w.given, runs, w.epoch("orders"), w.log.String())
			}
			if strategy == "queue" {
				left := w.number("SELECT COUNT(*) FROM acequia.queue_" + w.queueID("orders"))
				if err := w.run(); err != nil {
					t.Fatal(err)
				}
				if now := w.number("SELECT COUNT(*) FROM acequia.queue_" + w.queueID("orders")); now > 0 {
					t.Errorf("%d entries are left in the queue; there were %d", now, left)
				}
			}
		})
	}
}

// number asks for one.
func (w *world) number(q string) int64 {
	w.Helper()
	c, err := server.Connect(w.database)
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = c.Quit() }()
	result, err := c.Execute(q)
	if err != nil {
		w.Fatal(err)
	}
	n, err := result.GetInt(0, 0)
	if err != nil {
		w.Fatal(err)
	}
	return n
}

// queueID gives the name of a table among those of the queue.
func (w *world) queueID(table string) string {
	w.Helper()
	c, err := server.Connect("acequia")
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = c.Quit() }()
	result, err := c.Execute("SELECT id FROM queued WHERE tab = '" + w.database + "." + table + "'")
	if err != nil {
		w.Fatal(err)
	}
	id, err := result.GetString(0, 0)
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// A transaction that has waited for a table began long after its statement, whose time its rows have; while it stays open, no list of the
// server's has that time.
func TestAWriterThatHasWaited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "time", ordersTable, "INSERT INTO orders (id, v) VALUES (1, 0), (2, 0)", "CREATE TABLE altered (id int PRIMARY KEY)", "INSERT INTO altered VALUES (1)")
	w.config.Tables = []string{w.database + ".orders"}
	w.config.Capture.Margin = time.Second
	w.run1()
	holder, waiter := w.session(), w.session()
	holder.exec("LOCK TABLES altered WRITE")
	began := make(chan error, 1)
	go func() {
		_, err := waiter.conn.Execute("BEGIN")
		if err == nil {
			_, err = waiter.conn.Execute("UPDATE orders, altered SET v = 7 WHERE orders.id = altered.id")
		}
		began <- err
	}()
	w.until("SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table metadata lock' AND info LIKE 'UPDATE orders, altered SET v = 7%'")
	follow := w.following() // it looks at the server while the statement waits, and goes on to
	other := w.session()
	other.exec("INSERT INTO orders (id, v) VALUES (9, 1)") // later than the row that is written when the wait is over
	follow.wait(3 * time.Second)
	holder.exec("UNLOCK TABLES")
	if err := <-began; err != nil {
		t.Fatal(err)
	}
	for i := range 6 { // rows that are committed, later than the one that is not
		other.exec(fmt.Sprintf("INSERT INTO orders (id, v) VALUES (%d, 1)", 10+i))
		follow.wait(700 * time.Millisecond)
	}
	waiter.exec("COMMIT")
	follow.stop()
	w.equal("orders", true)
}
