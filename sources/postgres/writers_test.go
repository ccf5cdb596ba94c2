package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// session is a connection that the test writes by, statement by statement.
type session struct {
	*testing.T
	conn *pgx.Conn
}

func (w *world) session() *session {
	w.Helper()
	conn, err := pgx.Connect(w.Context(), w.dsn())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = conn.Close(context.WithoutCancel(w.Context())) })
	return &session{w.T, conn}
}

// texts asks on a connection of its own, which is closed at once: a server has not many.
func (w *world) texts(q string) []string {
	w.Helper()
	conn, err := pgx.Connect(w.Context(), w.dsn())
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = conn.Close(w.Context()) }()
	return (&session{w.T, conn}).texts(q)
}

func (s *session) exec(sql ...string) {
	s.Helper()
	for _, q := range sql {
		if _, err := s.conn.PgConn().Exec(s.Context(), q).ReadAll(); err != nil {
			s.Fatalf("%s: %v", q, err)
		}
	}
}

func (s *session) texts(q string) []string {
	s.Helper()
	rows, err := s.conn.Query(s.Context(), q)
	if err != nil {
		s.Fatal(err)
	}
	texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		s.Fatal(err)
	}
	return texts
}

// write makes transactions until ctx ends: some begin early, some commit late, with savepoints, rollbacks, deletes and changes of keys.
func write(ctx context.Context, conn *pgx.Conn, r *rand.Rand) error {
	wait := func(most int) {
		timer := time.NewTimer(time.Duration(r.IntN(most)) * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	background := context.WithoutCancel(ctx)
	for n := 0; ctx.Err() == nil; n++ {
		sql := []string{"BEGIN"}
		run := func(q string) error {
			_, err := conn.PgConn().Exec(background, q).ReadAll()
			return err
		}
		if r.IntN(4) == 0 {
			sql = append(sql, "SELECT 1")
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
				sql = append(sql, fmt.Sprintf("UPDATE orders SET id = id + 100000 + %d WHERE id = %d AND NOT EXISTS (SELECT FROM orders WHERE id = %[2]d + 100000 + %[1]d)", n, id))
			case 2:
				sql = append(sql, "SAVEPOINT a", fmt.Sprintf("UPDATE orders SET v = v + 1 WHERE id = %d", id), []string{"RELEASE a", "ROLLBACK TO a"}[r.IntN(2)])
			case 3:
				sql = append(sql, fmt.Sprintf("INSERT INTO orders (id, v) SELECT i, 1 FROM generate_series(%d, %d) i ON CONFLICT (id) DO UPDATE SET v = orders.v + 1", id, id+r.IntN(60)))
			default:
				sql = append(sql, fmt.Sprintf("INSERT INTO orders (id, v) VALUES (%d, 1) ON CONFLICT (id) DO UPDATE SET v = orders.v + 1, note = md5(random()::text)", id))
			}
		}
		end := "COMMIT"
		if r.IntN(10) == 0 {
			end = "ROLLBACK"
		}
		var failed error
		for i, q := range sql {
			if failed = run(q); failed != nil {
				end = "ROLLBACK" // two writers that wait for each other
				break
			}
			if i == 1 && r.IntN(4) == 0 {
				wait(200)
			}
		}
		if r.IntN(3) == 0 {
			wait(250)
		}
		if err := run(end); err != nil && !strings.Contains(err.Error(), "duplicate key") {
			return err
		}
		wait(8)
	}
	return nil
}
