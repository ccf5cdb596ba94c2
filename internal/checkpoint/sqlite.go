package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/acequia-io/acequia/fault"
)

// file is the state in a SQLite file. Callers that write share transactions.
type file struct {
	path    string
	db      *sql.DB   // nil: it is only read
	conn    *sql.Conn // the writer's
	readers *sql.DB
	*writer
}

// Open opens or makes the state file. An older file is copied, then upgraded; one that is newer, damaged or another
// program's is refused and left as it is.
func Open(ctx context.Context, path string) (*Store, error) { return open(ctx, path, migrations) }

func open(ctx context.Context, path string, steps []string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, explain(path, "find", err)
	}
	found, err := check(ctx, path, len(steps))
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dsn(path, "_pragma=journal_mode(wal)&_pragma=synchronous(full)"))
	if err != nil {
		return nil, explain(path, "open", err)
	}
	db.SetMaxOpenConns(1)
	conn, err := connect(ctx, db)
	if err == nil && (found.version < len(steps) || found.blank()) {
		err = upgrade(ctx, conn, path, found, steps)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, explain(path, "open", errors.Join(err, db.Close()))
	}
	readers, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		return nil, explain(path, "open", errors.Join(err, db.Close()))
	}
	readers.SetMaxOpenConns(2)
	readers.SetMaxIdleConns(1)
	f := &file{path: path, db: db, conn: conn, readers: readers}
	f.writer = startWriter(ctx, f)
	return &Store{place: path, readers: readers, engine: f}, nil
}

// connect waits for processes that open the file at the same time. SQLite's own waiting does not cover the step into the
// write-ahead log: whoever comes second is told at once that the file is busy.
func connect(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	const longest, pause = 10 * time.Second, 5 * time.Millisecond
	for began := time.Now(); ; {
		conn, err := db.Conn(ctx)
		if !isBusy(err) || time.Since(began) > longest {
			return conn, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// OpenToRead opens a state file that is there, to look at it alone, also while another process writes it: methods that
// write may not be called. An older file is refused: what owns it upgrades it.
func OpenToRead(ctx context.Context, path string) (*Store, error) {
	found, err := check(ctx, path, len(migrations))
	if err == nil && found.version < len(migrations) {
		err = &fault.Error{
			Class: fault.Fatal, Code: "ACQ-STATE-008", Place: path,
			Err:    fmt.Errorf("the state file has version %d, this program reads %d", found.version, len(migrations)),
			Remedy: "start acequia on it once: that upgrades it, and keeps a copy",
		}
	}
	if err != nil {
		return nil, err
	}
	readers, err := sql.Open("sqlite", dsn(path, "mode=ro&_pragma=query_only(1)"))
	if err != nil {
		return nil, explain(path, "open", err)
	}
	return &Store{place: path, readers: readers, engine: &file{path: path, readers: readers}}, nil
}

func (f *file) transact(ctx context.Context, do func(context.Context, session) error) error {
	return transact(ctx, f.conn, func() error { return do(ctx, f.conn) })
}

func (f *file) name() string { return f.path }

func (f *file) explain(doing string, err error) error { return explain(f.path, doing, err) }

func (f *file) close() error {
	if f.writer == nil {
		return f.explain("close", f.readers.Close())
	}
	f.stop()
	return f.explain("close", errors.Join(f.readers.Close(), f.conn.Close(), f.db.Close()))
}
