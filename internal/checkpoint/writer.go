package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/fault"
)

// maxBatch is how many writes share one transaction.
const maxBatch = 256

var errClosed = errors.New("the state file is closed")

// write is one caller's part of a transaction. do may run again only as part of another write; an error other than
// ErrFenced undoes the whole transaction.
type write struct {
	do   func(ctx context.Context, tx session) error
	done chan error // holds one
}

// transactor does writes in one transaction and waits until it is durable.
type transactor interface {
	transact(ctx context.Context, do func(ctx context.Context, tx session) error) error
	explain(doing string, err error) error
	name() string // of the state, in errors
}

// writer is the one goroutine that writes: it puts all that is waiting into one transaction, so that callers share the
// cost of its fsync.
type writer struct {
	on       transactor
	queue    chan write
	quit     chan struct{}
	finished chan struct{}
}

func startWriter(ctx context.Context, on transactor) *writer {
	w := &writer{on: on, queue: make(chan write, maxBatch), quit: make(chan struct{}), finished: make(chan struct{})}
	go w.serve(context.WithoutCancel(ctx))
	return w
}

// run waits until the write is durable. When ctx ends first, whether it was saved is not known.
func (w *writer) run(ctx context.Context, doing string, do func(context.Context, session) error) error {
	one := write{do: do, done: make(chan error, 1)}
	select {
	case w.queue <- one:
	case <-w.quit:
		return fmt.Errorf("%s: %w", doing, errClosed)
	case <-ctx.Done():
		return fault.Retry(fmt.Errorf("%s: %w", doing, ctx.Err()))
	}
	select {
	case err := <-one.done:
		return w.told(doing, err)
	case <-w.finished:
		select {
		case err := <-one.done:
			return w.told(doing, err)
		default:
			return fmt.Errorf("%s: %w", doing, errClosed)
		}
	case <-ctx.Done():
		return fault.Retry(fmt.Errorf("%s: %w", doing, ctx.Err()))
	}
}

func (w *writer) told(doing string, err error) error {
	if errors.Is(err, ErrFenced) {
		return lost(w.on.name(), doing)
	}
	return w.on.explain(doing, err)
}

// lost tells of a write that was fenced.
func lost(place, doing string) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-004", Place: place, Err: fmt.Errorf("%s: %w", doing, ErrFenced),
		Remedy: "see that only one process runs this pipeline on this state, then start again; nothing is lost",
	}
}

// stop lets the writes that are queued finish.
func (w *writer) stop() {
	close(w.quit)
	<-w.finished
}

func (w *writer) serve(ctx context.Context) {
	defer close(w.finished)
	batch := make([]write, 0, maxBatch)
	for {
		batch = batch[:0]
		select {
		case first := <-w.queue:
			batch = append(batch, first)
		case <-w.quit:
			if batch = w.gather(batch); len(batch) == 0 {
				return
			}
		}
		w.commit(ctx, w.gather(batch))
	}
}

// gather takes what is waiting.
func (w *writer) gather(batch []write) []write {
	for len(batch) < maxBatch {
		select {
		case one := <-w.queue:
			batch = append(batch, one)
		default:
			return batch
		}
	}
	return batch
}

// commit does the writes in one transaction and tells each caller how it went. A fenced write has changed nothing, so
// the others stand.
func (w *writer) commit(ctx context.Context, batch []write) {
	results := make([]error, len(batch))
	err := w.on.transact(ctx, func(ctx context.Context, tx session) error {
		for i, one := range batch {
			if results[i] = one.do(ctx, tx); results[i] != nil && !errors.Is(results[i], ErrFenced) {
				return results[i]
			}
		}
		return nil
	})
	for i, one := range batch {
		if err != nil {
			results[i] = err
		}
		one.done <- results[i]
	}
}

// transact runs do between begin and commit, and rolls back when either fails. SQLite may have rolled back by itself
// (a full disk, an I/O error): that the rollback then fails means nothing.
func transact(ctx context.Context, conn *sql.Conn, do func() error) error {
	if _, err := conn.ExecContext(ctx, "begin immediate"); err != nil {
		return err
	}
	err := do()
	if err == nil {
		_, err = conn.ExecContext(ctx, "commit")
	}
	if err != nil {
		_, _ = conn.ExecContext(ctx, "rollback")
	}
	return err
}
