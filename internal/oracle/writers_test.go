//go:build cgo

package oracle

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Writers is how many write at the same time.
const writerCount = 12

// load is the work of all writers: the same seed gives the same transactions of each writer; how they meet is the machine's to say.
type load struct {
	database database
	seed     uint64
	hold     time.Duration // the longest a transaction stays open

	value    atomic.Int64 // of each write, and never the same: equal values are the same write
	fresh    atomic.Int64 // keys that nobody has had
	commits  atomic.Int64
	aborts   atomic.Int64 // rolled back on purpose, or by a conflict
	prepared atomic.Int64 // ended by two-phase commit
}

// firstFresh is above all keys that are chosen at random.
const firstFresh = 1_000_000

func newLoad(d database, seed uint64, hold time.Duration) *load {
	l := &load{database: d, seed: seed, hold: hold}
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

// writer makes one transaction after the other in a session of its own.
type writer struct {
	*load
	number int
	rand   *rand.Rand
}

// session is what a writer has of its database.
type session interface {
	turn(ctx context.Context, n int) error // makes the writer's n-th transaction
	close(ctx context.Context) error
}

func (w *writer) run(ctx context.Context, transactions int, until time.Time) (err error) {
	s, err := w.database.session(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	for n := range transactions {
		if time.Now().After(until) || ctx.Err() != nil {
			break
		}
		if err := s.turn(ctx, n); err != nil {
			return fmt.Errorf("writer %d, transaction %d: %w", w.number, n, err)
		}
		w.pause(ctx, time.Duration(w.rand.IntN(8))*time.Millisecond)
	}
	return nil
}

// statements is a session of a database that speaks SQL.
type statements interface {
	exec(ctx context.Context, sql string, args ...any) error
	write(ctx context.Context) error         // one change, of one of the kinds that captures get wrong
	commit(ctx context.Context, n int) error // ends the n-th transaction
	conflict(err error) bool                 // what writers do to each other: deadlocks, timeouts of locks, keys that are taken, columns that are gone
}

// transaction begins, now and then long before it writes, writes, and ends, now and then late or in a rollback.
func (w *writer) transaction(ctx context.Context, s statements, n int) error {
	if err := s.exec(ctx, "begin"); err != nil {
		return err
	}
	if w.chance(25) { // its now() is old when it writes
		if err := s.exec(ctx, "select 1"); err != nil {
			return err
		}
		w.pause(ctx, w.some(200*time.Millisecond))
	}
	for range 1 + w.rand.IntN(5) {
		if err := w.step(ctx, s); err != nil {
			w.aborts.Add(1)
			return errors.Join(unless(s, err), s.exec(ctx, "rollback"))
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
		return s.exec(ctx, "rollback")
	}
	return s.commit(ctx, n)
}

// step is one statement, or some in a savepoint that is given up half of the time.
func (w *writer) step(ctx context.Context, s statements) error {
	if !w.chance(12) {
		return s.write(ctx)
	}
	if err := s.exec(ctx, "savepoint one"); err != nil {
		return err
	}
	for range 1 + w.rand.IntN(3) {
		if err := s.write(ctx); err != nil {
			return err
		}
	}
	if w.chance(50) {
		return s.exec(ctx, "rollback to savepoint one")
	}
	return s.exec(ctx, "release savepoint one")
}

// ended counts a transaction that was to be committed.
func (w *writer) ended(s statements, err error) error {
	if err == nil {
		w.commits.Add(1)
		return nil
	}
	w.aborts.Add(1)
	return unless(s, err)
}

// unless lets conflicts pass.
func unless(s statements, err error) error {
	if s.conflict(err) {
		return nil
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

// What writers of all databases write.

func (w *writer) region() string { return []string{"east", "north", "Süd", "west"}[w.rand.IntN(4)] }

func (w *writer) word() string {
	return []string{"", "plain", "quote \" and ' and \\", "tab\tand\nline", "ñandú 鳥", "null"}[w.rand.IntN(6)]
}

// body is null, short, or long enough to be stored out of line.
func (w *writer) body() any {
	switch w.rand.IntN(4) {
	case 0:
		return nil
	case 1:
		return w.word()
	}
	return strings.Repeat(fmt.Sprint(w.rand.Uint64()), 130+w.rand.IntN(300))
}

func (w *writer) maybe() any { return []any{nil, true, false}[w.rand.IntN(3)] }
