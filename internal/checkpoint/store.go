package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Store is the embedded state of one process, in one SQLite file. A method that writes is durable when it returns; its
// callers share transactions.
type Store struct {
	path    string
	db      *sql.DB
	readers *sql.DB
	writer  *writer
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
	return &Store{path: path, db: db, readers: readers, writer: startWriter(ctx, conn, path)}, nil
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
	return &Store{path: path, readers: readers}, nil
}

// Close lets the writes under way finish, then closes the file.
func (s *Store) Close() error {
	if s.writer == nil {
		return explain(s.path, "close", s.readers.Close())
	}
	s.writer.stop()
	return explain(s.path, "close", errors.Join(s.readers.Close(), s.writer.conn.Close(), s.db.Close()))
}

// Acquire takes a new epoch and reads what is pending, in one transaction: an intent of the old owner is either seen
// here or refused afterwards.
func (s *Store) Acquire(ctx context.Context, lane Lane) (State, error) {
	var row laneRow
	err := s.writer.run(ctx, "acquire lane "+lane.ID, func(ctx context.Context, tx *sql.Conn) error {
		return row.scan(tx.QueryRowContext(ctx, `insert into lane(pipeline, id, epoch) values(?, ?, 1)
			on conflict do update set epoch = epoch + 1
			returning id, epoch, grp, position, ended, rows, saved_at, intent`, lane.Pipeline, lane.ID))
	})
	if err != nil {
		return State{}, err
	}
	state, err := row.state()
	if err != nil {
		return State{}, damaged(s.path, err)
	}
	return state, nil
}

// SaveIntent saves the intent of the lane's next group if the epoch is still ours and none is pending: ErrFenced
// otherwise.
func (s *Store) SaveIntent(ctx context.Context, lane Lane, epoch int64, in Intent) error {
	text, err := encodeIntent(in)
	if err != nil {
		return err
	}
	return s.writer.run(ctx, "save intent", func(ctx context.Context, tx *sql.Conn) error {
		err := fenced(tx.ExecContext(ctx, `update lane set intent = ?
			where pipeline = ? and id = ? and epoch = ? and grp = ? and intent is null`,
			text, lane.Pipeline, lane.ID, epoch, in.Group-1))
		if err != nil {
			return err
		}
		return remember(ctx, tx, lane, in)
	})
}

// SaveCheckpoint moves the lane to the group's end, clears its intent and makes its dead letters visible, if the epoch
// is still ours and the group is the lane's next: ErrFenced otherwise.
func (s *Store) SaveCheckpoint(ctx context.Context, lane Lane, epoch int64, in Intent) error {
	now := time.Now().UnixMicro()
	return s.writer.run(ctx, "save checkpoint", func(ctx context.Context, tx *sql.Conn) error {
		err := fenced(tx.ExecContext(ctx, `update lane
			set grp = ?, position = ?, ended = ?, rows = rows + ?, saved_at = ?, intent = null
			where pipeline = ? and id = ? and epoch = ? and grp = ?`,
			in.Group, []byte(in.To), in.Ended, in.Rows, now, lane.Pipeline, lane.ID, epoch, in.Group-1))
		if err != nil {
			return err
		}
		for i := range in.DeadLetters {
			if err := saveLetter(ctx, tx, lane, &in.DeadLetters[i]); err != nil {
				return err
			}
		}
		if err := remember(ctx, tx, lane, in); err != nil {
			return err
		}
		return forget(ctx, tx, lane, in)
	})
}

// fenced wants exactly one row changed.
func fenced(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return ErrFenced
}

// Next gives the next number of a stream, from 1: durable, and never given again.
func (s *Store) Next(ctx context.Context, stream string) (uint64, error) {
	var n int64
	err := s.writer.run(ctx, "number stream "+stream, func(ctx context.Context, tx *sql.Conn) error {
		return tx.QueryRowContext(ctx, `insert into counter(stream, n) values(?, 1)
			on conflict do update set n = n + 1 returning n`, stream).Scan(&n)
	})
	if err != nil { // n may still be written: whoever gave up waiting must not read it
		return 0, err
	}
	return uint64(n), nil //nolint:gosec // counted up from 1
}

// Ended gives the lanes of a pipeline that have durably ended, on any replica.
func (s *Store) Ended(ctx context.Context, pipeline string) (ended map[string]record.Position, err error) {
	rows, err := s.readers.QueryContext(ctx, `select id, position from lane where pipeline = ? and ended`, pipeline)
	if err != nil {
		return nil, explain(s.path, "read lanes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	ended = map[string]record.Position{}
	for rows.Next() {
		var id string
		var at record.Position
		if err := rows.Scan(&id, &at); err != nil {
			return nil, explain(s.path, "read lanes", err)
		}
		ended[id] = at
	}
	return ended, explain(s.path, "read lanes", rows.Err())
}

// Lanes gives the state of every lane of a pipeline, by ID.
func (s *Store) Lanes(ctx context.Context, pipeline string) (lanes []LaneState, err error) {
	rows, err := s.readers.QueryContext(ctx, `select id, epoch, grp, position, ended, rows, saved_at, intent
		from lane where pipeline = ? order by id`, pipeline)
	if err != nil {
		return nil, explain(s.path, "read lanes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row laneRow
		if err := row.scan(rows); err != nil {
			return nil, explain(s.path, "read lanes", err)
		}
		state, err := row.state()
		if err != nil {
			return nil, damaged(s.path, err)
		}
		lane := LaneState{Lane: Lane{Pipeline: pipeline, ID: row.id}, State: state}
		if row.savedAt > 0 {
			lane.SavedAt = time.UnixMicro(row.savedAt).UTC()
		}
		lanes = append(lanes, lane)
	}
	return lanes, explain(s.path, "read lanes", rows.Err())
}

// laneRow is a row of the table lane.
type laneRow struct {
	id               string
	epoch, grp, rows int64
	position, intent []byte
	ended            bool
	savedAt          int64
}

func (r *laneRow) scan(row interface{ Scan(dest ...any) error }) error {
	return row.Scan(&r.id, &r.epoch, &r.grp, &r.position, &r.ended, &r.rows, &r.savedAt, &r.intent)
}

func (r *laneRow) state() (State, error) {
	st := State{Epoch: r.epoch, Group: r.grp, Position: record.Position(r.position), Ended: r.ended, Rows: r.rows}
	if r.intent == nil {
		return st, nil
	}
	var err error
	st.Pending, err = decodeIntent(r.intent)
	return st, err
}
