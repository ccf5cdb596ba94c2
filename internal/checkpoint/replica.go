package checkpoint

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/dynamolog"
)

// Log is an ordered log that several processes share: *dynamolog.Log.
type Log interface {
	Append(ctx context.Context, after dynamolog.Mark, entry []byte) (dynamolog.Mark, error)
	Read(ctx context.Context, after dynamolog.Mark) (dynamolog.Tail, error)
	SaveSnapshot(ctx context.Context, at dynamolog.Mark, data []byte) error
	Close() error
}

var _ Log = (*dynamolog.Log)(nil)

// SharedOptions say where a state is that processes share by a log.
type SharedOptions struct {
	Log   Log    // closed with the state
	Place string // for errors
	Dir   string // in which this process has its copy; it may be lost
	Tell  *slog.Logger

	every int64 // entries from one snapshot to the next; default snapshotEntries
}

// replica is the state in an ordered log: an entry has the statements of one transaction, and each process a copy, made by doing those of
// all entries in their order. A write is done on the copy, appended if the copy had all entries before it, and only then committed; else
// it is done anew on what the others have made of the state. So every write is decided on the state that precedes it, as if there were
// one process; one that stood still for any time can append nothing before it has read what came meanwhile.
type replica struct {
	SharedOptions
	copyDir string
	lock    *os.File
	db      *sql.DB
	conn    *sql.Conn // the writer's
	readers *sql.DB
	at      dynamolog.Mark // of the copy; the writer's
	grown   int            // bytes of entries since the last snapshot that this process knows of; the writer's
	saving  atomic.Bool
	ending  context.CancelFunc // of a snapshot that is being saved
	ended   context.Context    //nolint:containedctx // the life of the state
	saves   sync.WaitGroup
	*writer
}

// OpenShared opens a state that processes share by a log, and begins it if need be.
func OpenShared(ctx context.Context, o SharedOptions) (*Store, error) {
	r, err := openReplica(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := r.upgrade(ctx); err != nil {
		return nil, errors.Join(r.explain("open the state", err), r.release())
	}
	return r.store(ctx), nil
}

// OpenSharedToRead opens a state that is there, to look at it alone: methods that write may not be called. ErrNoState: nothing has run yet.
func OpenSharedToRead(ctx context.Context, o SharedOptions) (*Store, error) {
	r, err := openReplica(ctx, o)
	if err != nil {
		return nil, err
	}
	version, err := r.version(ctx)
	switch {
	case err == nil && version == 0:
		err = ErrNoState
	case err == nil && version < len(replicaMigrations):
		err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-008", Place: o.Place, Err: fmt.Errorf("the state has version %d, this program reads %d", version, len(replicaMigrations)),
			Remedy: "start acequia on it once: that upgrades it",
		}
	}
	if err != nil {
		return nil, errors.Join(err, r.release())
	}
	return r.store(ctx), nil
}

func (r *replica) store(ctx context.Context) *Store {
	r.writer = startWriter(ctx, r)
	return &Store{place: r.Place, readers: r, leased: true, engine: r}
}

// openReplica makes a copy in a folder of its own.
func openReplica(ctx context.Context, o SharedOptions) (_ *replica, err error) {
	o.every = cmp.Or(o.every, snapshotEntries)
	r := &replica{SharedOptions: o}
	r.ended, r.ending = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(r.explain("open the state", err), r.release())
		}
	}()
	if r.copyDir, r.lock, err = copyFolder(o.Dir); err != nil {
		return nil, unusable(o.Dir, err)
	}
	path := filepath.Join(r.copyDir, "state.db")
	if r.db, err = sql.Open("sqlite", dsn(path, "_pragma=journal_mode(wal)&_pragma=synchronous(off)")); err != nil {
		return nil, err
	}
	r.db.SetMaxOpenConns(1)
	if r.conn, err = r.db.Conn(ctx); err != nil {
		return nil, err
	}
	if r.readers, err = sql.Open("sqlite", dsn(path, "_pragma=query_only(1)")); err != nil {
		return nil, err
	}
	r.readers.SetMaxOpenConns(2)
	return r, r.catchUp(ctx)
}

// upgrade brings the state to the newest version.
func (r *replica) upgrade(ctx context.Context) error {
	version, err := r.version(ctx)
	if err != nil || version == len(replicaMigrations) {
		return err
	}
	return r.transact(ctx, func(ctx context.Context, tx session) error {
		version, err := r.version(ctx) // another process may have been faster
		if err != nil {
			return err
		}
		for _, step := range replicaMigrations[version:] {
			if _, err := tx.ExecContext(ctx, step); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("pragma user_version = %d", len(replicaMigrations)))
		return err
	})
}

// version is that of the copy's tables; 0: there are none.
func (r *replica) version(ctx context.Context) (n int, err error) {
	if err = r.conn.QueryRowContext(ctx, "pragma user_version").Scan(&n); err == nil && n > len(replicaMigrations) {
		err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-002", Place: r.Place, Err: fmt.Errorf("the state has version %d, this program knows up to %d", n, len(replicaMigrations)),
			Remedy: "run the newer acequia that wrote it, or name another table; the state was not touched",
		}
	}
	return n, err
}

// collisions is how often a write is done anew because others were faster.
const collisions = 100

func (r *replica) transact(ctx context.Context, do func(context.Context, session) error) error {
	for range collisions {
		if err := r.catchUp(ctx); err != nil {
			return err
		}
		tx := &recorder{conn: r.conn}
		after := r.at
		err := transact(ctx, r.conn, func() error {
			if err := do(ctx, tx); err != nil || len(tx.done) == 0 {
				return err
			}
			entry, err := encodeEntry(tx.done)
			if err != nil {
				return err
			}
			after, err = r.Log.Append(ctx, r.at, entry)
			r.grown += len(entry)
			return err
		})
		switch {
		case err == nil:
			r.at = after
			r.snapshot(ctx)
			return nil
		case after != r.at && after.Seq > r.at.Seq:
			return nil // it is in the log, and the copy, which could not be written, is made up for by the next read
		case !errors.Is(err, dynamolog.ErrBehind):
			return err
		}
		if err := pauseFor(ctx, rand.N(10*time.Millisecond)); err != nil { //nolint:gosec // so that two do not meet again
			return err
		}
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-STATE-005", Place: r.Place, Err: fmt.Errorf("other processes were faster %d times", collisions),
		Remedy: "it is tried again; fewer processes, or larger groups, write less often",
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUp brings the copy to the end of the log.
func (r *replica) catchUp(ctx context.Context) error {
	tail, err := r.Log.Read(ctx, r.at)
	if err != nil {
		return err
	}
	if tail.Snapshot != nil {
		if err := r.restore(ctx, tail.Snapshot); err != nil {
			return err
		}
		r.at, r.grown = tail.From, 0
	}
	if tail.From != r.at {
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-012", Place: r.Place, Err: fmt.Errorf("entry %d of the log, which this process knew, is not there any more: the table was made anew or restored", r.at.Seq),
			Remedy: "start again; a state that is older than its lake is then refused",
		}
	}
	if len(tail.Entries) == 0 {
		return nil
	}
	err = transact(ctx, r.conn, func() error {
		for i, entry := range tail.Entries {
			if err := replay(ctx, r.conn, entry); err != nil {
				return r.diverged(tail.From.Seq+int64(i)+1, err)
			}
			r.grown += len(entry)
		}
		_, err := r.version(ctx)
		return err
	})
	if err == nil {
		r.at = tail.To
	}
	return err
}

// diverged tells of an entry that cannot be done on this copy.
func (r *replica) diverged(seq int64, err error) error {
	if e, ok := errors.AsType[*sqlite.Error](err); ok && e.Code()&0xff != sqlite3.SQLITE_ERROR {
		return err // of the copy's disk
	}
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-012", Place: r.Place, Err: fmt.Errorf("entry %d of the log: %w", seq, err),
		Remedy: "start again, with the newest acequia that runs on this state: the copy is made anew; nothing was changed",
	}
}

// QueryContext reads what is durable in the log when it is called.
func (r *replica) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	err := r.run(ctx, "read the state", func(context.Context, session) error { return nil })
	if err != nil {
		return nil, err
	}
	return r.readers.QueryContext(ctx, query, storable(args)...)
}

func (r *replica) name() string { return r.Place }

func (r *replica) explain(doing string, err error) error {
	if _, told := errors.AsType[*fault.Error](err); told || errors.Is(err, ErrNoState) {
		return err
	}
	return explain(r.copyDir, doing, err)
}

func (r *replica) close() error {
	r.stop()
	return r.explain("close the state", r.release())
}

// release lets go what is open.
func (r *replica) release() error {
	r.ending()
	r.saves.Wait()
	var errs []error
	if r.readers != nil {
		errs = append(errs, r.readers.Close())
	}
	if r.conn != nil {
		errs = append(errs, r.conn.Close())
	}
	if r.db != nil {
		errs = append(errs, r.db.Close())
	}
	if r.lock != nil {
		errs = append(errs, os.RemoveAll(r.copyDir), r.lock.Close())
	}
	return errors.Join(append(errs, r.Log.Close())...)
}

// When a snapshot is made: by the process that appends every so many entries, or after so many bytes.
const (
	snapshotEntries = 1000
	snapshotBytes   = 32 << 20
)

// snapshot saves one if it is time, while the writer goes on.
func (r *replica) snapshot(ctx context.Context) {
	if r.at.Seq%r.every != 0 && r.grown < snapshotBytes || r.saving.Swap(true) {
		return
	}
	r.grown = 0
	at, path := r.at, filepath.Join(r.copyDir, fmt.Sprintf("snapshot-%d.db", r.at.Seq))
	if _, err := r.conn.ExecContext(ctx, "vacuum into ?", path); err != nil {
		r.saving.Store(false)
		r.complain(ctx, err)
		return
	}
	r.saves.Go(func() {
		defer r.saving.Store(false)
		data, err := os.ReadFile(path) //nolint:gosec // the copy of a moment ago
		if err == nil {
			err = os.Remove(path)
		}
		if err == nil {
			err = r.Log.SaveSnapshot(r.ended, at, compress(data))
		}
		r.complain(r.ended, err)
	})
}

func (r *replica) complain(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		r.Tell.WarnContext(ctx, "no snapshot of the state could be saved; the log grows until one can be", slog.Any("error", err))
	}
}
