package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/acequia-io/acequia/record"
)

// Store is the state of pipelines: in one SQLite file, which one process has, or in a database of PostgreSQL or a table of DynamoDB, which
// several share. A method that writes is durable when it returns.
type Store struct {
	place   string // for errors: the file, the database or the table
	readers reader // of what is durable
	owner   string // of the leases that this process takes; "": it takes none
	leased  bool   // several processes share the state, by leases
	engine
}

// reader runs statements that change nothing.
type reader interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// session runs the statements of one write, in its transaction. They are written so that all engines take them: with SQLite's numbered
// parameters, and blob for bytes; and what they change follows from the state and their parameters alone, for an engine may do them
// again elsewhere.
type session interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// engine is what keeps the state.
type engine interface {
	// run does a write in a transaction and waits until it is durable. do may be called again. After ErrFenced nothing has changed.
	// When ctx ends first, whether it was saved is not known.
	run(ctx context.Context, doing string, do func(context.Context, session) error) error
	// explain classifies a failure; nil stays nil.
	explain(doing string, err error) error
	// close lets the writes under way finish.
	close() error
}

// ask is run for a write that gives something. Who gave up waiting is given nothing: the write may still come, and change it.
func ask[T any](ctx context.Context, s *Store, doing string, do func(context.Context, session) (T, error)) (T, error) {
	var given, none T
	err := s.run(ctx, doing, func(ctx context.Context, tx session) (err error) {
		given, err = do(ctx, tx)
		return err
	})
	if err != nil {
		return none, err
	}
	return given, nil
}

// Close lets the writes under way finish, then closes the state.
func (s *Store) Close() error { return s.close() }

// Acquire takes a new epoch and reads what is pending, in one transaction: an intent of the old owner is either seen
// here or refused afterwards.
func (s *Store) Acquire(ctx context.Context, lane Lane) (State, error) {
	if !s.leased {
		return s.acquire(ctx, lane, nil)
	}
	return s.acquire(ctx, lane, func(ctx context.Context, tx session) error { return s.mayAcquire(ctx, tx, lane) })
}

// acquire does it if may, where there is one, says so in the same transaction.
func (s *Store) acquire(ctx context.Context, lane Lane, may func(ctx context.Context, tx session) error) (State, error) {
	row, err := ask(ctx, s, "acquire lane "+lane.ID, func(ctx context.Context, tx session) (row laneRow, err error) {
		if may != nil {
			if err := may(ctx, tx); err != nil {
				return row, err
			}
		}
		err = row.scan(tx.QueryRowContext(ctx, `insert into lane(pipeline, id, epoch) values(?, ?, 1)
			on conflict(pipeline, id) do update set epoch = lane.epoch + 1
			returning id, epoch, grp, position, ended, rows, saved_at, intent`, lane.Pipeline, lane.ID))
		return row, err
	})
	if err != nil {
		return State{}, err
	}
	state, err := row.state()
	if err != nil {
		return State{}, damaged(s.place, err)
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
	return s.run(ctx, "save intent", func(ctx context.Context, tx session) error {
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
	return s.run(ctx, "save checkpoint", func(ctx context.Context, tx session) error {
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

// first reads one row, if there is one.
func (s *Store) first(ctx context.Context, doing, query string, args []any, dest ...any) (found bool, err error) {
	rows, err := s.readers.QueryContext(ctx, query, args...)
	if err != nil {
		return false, s.explain(doing, err)
	}
	defer func() { err = errors.Join(err, s.explain(doing, rows.Close())) }()
	if rows.Next() {
		return true, s.explain(doing, rows.Scan(dest...))
	}
	return false, s.explain(doing, rows.Err())
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

// stands says whether a change found what it was to change; that it did not is no error.
func stands(err error) (bool, error) {
	if errors.Is(err, ErrFenced) {
		return false, nil
	}
	return err == nil, err
}

// Next gives the next number of a stream, from 1: durable, and never given again.
func (s *Store) Next(ctx context.Context, stream string) (uint64, error) {
	n, err := ask(ctx, s, "number stream "+stream, func(ctx context.Context, tx session) (n int64, err error) {
		err = tx.QueryRowContext(ctx, `insert into counter(stream, n) values(?, 1)
			on conflict(stream) do update set n = counter.n + 1 returning n`, stream).Scan(&n)
		return n, err
	})
	return uint64(n), err //nolint:gosec // counted up from 1
}

// Ended gives the lanes of a pipeline that have durably ended, on any replica.
func (s *Store) Ended(ctx context.Context, pipeline string) (ended map[string]record.Position, err error) {
	rows, err := s.readers.QueryContext(ctx, `select id, position from lane where pipeline = ? and ended`, pipeline)
	if err != nil {
		return nil, s.explain("read lanes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	ended = map[string]record.Position{}
	for rows.Next() {
		var id string
		var at record.Position
		if err := rows.Scan(&id, &at); err != nil {
			return nil, s.explain("read lanes", err)
		}
		ended[id] = at
	}
	return ended, s.explain("read lanes", rows.Err())
}

// Counts is what a lane has brought, over all processes and runs.
type Counts struct {
	Rows    int64 // visible, or refused
	Refused int64 // of them; those whose letters were discarded, or are tried again, are not counted
	Letters int64 // of the refused, one a sink that did
}

// Counts gives what a lane has brought.
func (s *Store) Counts(ctx context.Context, lane Lane) (c Counts, err error) {
	const letters = ` from dead_letter where pipeline = ?1 and lane = ?2 and attempts = 1`
	_, err = s.first(ctx, "count what lanes brought", `select coalesce((select rows from lane where pipeline = ?1 and id = ?2), 0),
		(select count(*) from (select distinct stream, position, idx, grp`+letters+`) as refused), (select count(*)`+letters+`)`,
		[]any{lane.Pipeline, lane.ID}, &c.Rows, &c.Refused, &c.Letters)
	return c, err
}

// Lanes gives the state of every lane of a pipeline, by ID.
func (s *Store) Lanes(ctx context.Context, pipeline string) (lanes []LaneState, err error) {
	rows, err := s.readers.QueryContext(ctx, `select id, epoch, grp, position, ended, rows, saved_at, intent
		from lane where pipeline = ? order by id`, pipeline)
	if err != nil {
		return nil, s.explain("read lanes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var row laneRow
		if err := row.scan(rows); err != nil {
			return nil, s.explain("read lanes", err)
		}
		state, err := row.state()
		if err != nil {
			return nil, damaged(s.place, err)
		}
		lane := LaneState{Lane: Lane{Pipeline: pipeline, ID: row.id}, State: state}
		if row.savedAt > 0 {
			lane.SavedAt = time.UnixMicro(row.savedAt).UTC()
		}
		lanes = append(lanes, lane)
	}
	return lanes, s.explain("read lanes", rows.Err())
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
