//go:build cgo

package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Writers is how many write at the same time.
const writerCount = 12

// load is the work of all writers: the same seed gives the same transactions of each writer; how they meet is the machine's to say.
type load struct {
	dsn  string
	seed uint64
	hold time.Duration // the longest a transaction stays open

	value    atomic.Int64 // of each write, and never the same: equal values are the same write
	fresh    atomic.Int64 // keys that nobody has had
	commits  atomic.Int64
	aborts   atomic.Int64 // rolled back on purpose, or by a conflict
	prepared atomic.Int64 // ended by two-phase commit
}

// firstFresh is above all keys that are chosen at random.
const firstFresh = 1_000_000

func newLoad(dsn string, seed uint64, hold time.Duration) *load {
	l := &load{dsn: dsn, seed: seed, hold: hold}
	l.fresh.Store(firstFresh)
	return l
}

// run lets the writers work until each has made so many transactions or the time is over. No transaction is left, also no prepared one.
func (l *load) run(ctx context.Context, transactions int, atMost time.Duration) error {
	until := time.Now().Add(atMost)
	errs := make([]error, writerCount)
	var writers sync.WaitGroup
	for i := range writerCount {
		writers.Go(func() {
			w := &writer{load: l, number: i, rand: rand.New(rand.NewPCG(l.seed, uint64(i)))}
			errs[i] = w.run(ctx, transactions, until)
		})
	}
	writers.Wait()
	return errors.Join(errs...)
}

// writer makes one transaction after the other on a connection of its own.
type writer struct {
	*load
	number int
	rand   *rand.Rand
	conn   *pgx.Conn
}

func (w *writer) run(ctx context.Context, transactions int, until time.Time) (err error) {
	if w.conn, err = pgx.Connect(ctx, w.dsn); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.conn.Close(context.WithoutCancel(ctx))) }()
	if _, err := w.conn.Exec(ctx, "set lock_timeout = '3s'; set deadlock_timeout = '100ms'"); err != nil {
		return err
	}
	for n := range transactions {
		if time.Now().After(until) || ctx.Err() != nil {
			break
		}
		if w.number == 0 && n%15 == 10 {
			if err := w.reshape(ctx, n/15); err != nil {
				return err
			}
		}
		if err := w.transaction(ctx, n); err != nil {
			return fmt.Errorf("writer %d, transaction %d: %w", w.number, n, err)
		}
		w.pause(ctx, time.Duration(w.rand.IntN(8))*time.Millisecond)
	}
	return nil
}

// transaction begins, now and then long before it writes, writes, and ends, now and then late, in a rollback or by two phases.
func (w *writer) transaction(ctx context.Context, n int) error {
	tx, err := w.conn.Begin(ctx)
	if err != nil {
		return err
	}
	if w.chance(25) { // its now() is old when it writes
		if _, err := tx.Exec(ctx, "select 1"); err != nil {
			return err
		}
		w.pause(ctx, w.some(200*time.Millisecond))
	}
	for range 1 + w.rand.IntN(5) {
		if err := w.step(ctx, tx); err != nil {
			w.aborts.Add(1)
			return errors.Join(unlessConflict(err), tx.Rollback(ctx))
		}
	}
	switch k := w.rand.IntN(100); {
	case k < 6:
		w.pause(ctx, w.hold/2+w.some(w.hold/2))
	case k < 30:
		w.pause(ctx, w.some(250*time.Millisecond))
	}
	if w.chance(10) {
		w.aborts.Add(1)
		return tx.Rollback(ctx)
	}
	if w.chance(4) {
		return w.twoPhases(ctx, tx, n)
	}
	return w.ended(tx.Commit(ctx))
}

// step is one statement, or some in a savepoint that is given up half of the time.
func (w *writer) step(ctx context.Context, tx pgx.Tx) error {
	if !w.chance(12) {
		return w.write(ctx, tx)
	}
	save, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	for range 1 + w.rand.IntN(3) {
		if err := w.write(ctx, save); err != nil {
			return err
		}
	}
	if w.chance(50) {
		return save.Rollback(ctx)
	}
	return save.Commit(ctx)
}

// twoPhases prepares the transaction, leaves it for a while, and then ends it.
func (w *writer) twoPhases(ctx context.Context, tx pgx.Tx, n int) error {
	name := fmt.Sprintf("oracle_%s_%d_%d_%d", w.conn.Config().Database, w.seed, w.number, n)
	if _, err := tx.Exec(ctx, "prepare transaction '"+name+"'"); err != nil {
		w.aborts.Add(1)
		return errors.Join(unlessConflict(err), tx.Rollback(ctx))
	}
	if err := tx.Rollback(ctx); err != nil && !errors.Is(err, pgx.ErrTxClosed) { // the session has none any more
		return err
	}
	w.pause(ctx, w.some(w.hold/2))
	if w.chance(30) {
		w.aborts.Add(1)
		_, err := w.conn.Exec(ctx, "rollback prepared '"+name+"'")
		return err
	}
	w.prepared.Add(1)
	_, err := w.conn.Exec(ctx, "commit prepared '"+name+"'")
	return w.ended(err)
}

func (w *writer) ended(err error) error {
	switch {
	case err == nil:
		w.commits.Add(1)
		return nil
	case unlessConflict(err) == nil:
		w.aborts.Add(1)
		return nil
	}
	return err
}

// unlessConflict lets pass what writers do to each other: deadlocks, timeouts of locks, keys that are taken, columns that are gone.
func unlessConflict(err error) error {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return nil
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "40P01", "40001", "55P03", "23505", "42703", "25P02", "0A000":
			return nil
		}
	}
	return err
}

func (w *writer) chance(percent int) bool { return w.rand.IntN(100) < percent }

func (w *writer) some(most time.Duration) time.Duration {
	return time.Duration(w.rand.Int64N(int64(most)))
}

func (w *writer) pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
