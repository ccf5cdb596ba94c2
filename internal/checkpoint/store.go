package checkpoint

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"

	_ "modernc.org/sqlite" // the driver
)

// Store is the embedded implementation over one SQLite file. Every method is one durable transaction.
type Store struct{ db *sql.DB }

// The file says whose it is and how new: see https://www.sqlite.org/pragma.html#pragma_application_id.
const (
	applicationID = 0x61637173 // "acqs"
	schemaVersion = 1
)

const ddl = `
create table lane(
	pipeline text not null, id text not null, epoch integer not null, grp integer not null default 0,
	position blob not null default x'', ended integer not null default 0, rows integer not null default 0, intent text,
	primary key(pipeline, id)) without rowid;
create table dead_letter(
	pipeline text not null, lane text not null, grp integer not null, idx integer not null, stream text not null,
	position blob not null, step text not null, col text not null, code text not null, reason text not null,
	version text not null, op text not null, row blob not null, at integer not null,
	primary key(pipeline, lane, grp, idx)) without rowid;`

// Open opens or creates the state file. A file that is newer, damaged or not ours is refused, never overwritten.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := sql.Open("sqlite", "file:"+path+
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate")
	if err != nil {
		return nil, refused(path, err)
	}
	db.SetMaxOpenConns(1)
	s := &Store{db}
	if err := s.prepare(ctx, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func (s *Store) prepare(ctx context.Context, path string) error {
	var app, version, tables int
	err := s.db.QueryRowContext(ctx, `select (select application_id from pragma_application_id()),
		(select user_version from pragma_user_version()), (select count(*) from sqlite_schema)`).Scan(&app, &version, &tables)
	switch {
	case err != nil:
		return refused(path, err)
	case app == applicationID && version == schemaVersion:
		return nil
	case app == applicationID && version > schemaVersion:
		return &fault.Error{
			Code: "ACQ-STATE-002", Place: path, Err: fmt.Errorf("the state file has version %d, this program knows %d", version, schemaVersion),
			Remedy: "run the newer acequia that wrote it; the file was not touched",
		}
	case app != 0 || version != 0 || tables > 0:
		return refused(path, errors.New("it is an SQLite file of another program"))
	}
	_, err = s.db.ExecContext(ctx, fmt.Sprintf("begin immediate; %s pragma application_id = %d; pragma user_version = %d; commit",
		ddl, applicationID, schemaVersion))
	return classify("create state file", err)
}

func refused(path string, err error) error {
	return &fault.Error{
		Code: "ACQ-STATE-001", Place: path, Err: fmt.Errorf("the state file cannot be used: %w", err),
		Remedy: "restore it from a copy, or move it away to start from nothing; it was not overwritten",
	}
}

// classify makes a failed statement retryable: a full disk, a lock, an I/O error. What must stop is ErrFenced.
func classify(doing string, err error) error {
	if err == nil {
		return nil
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-STATE-003", Place: "state.db", Err: fmt.Errorf("%s: %w", doing, err),
		Remedy: "see that the disk of the state directory has space and can be written; the lane tries again",
	}
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Acquire takes a new epoch and reads what is pending, in one transaction: an intent of the old owner is either seen
// here or refused afterwards.
func (s *Store) Acquire(ctx context.Context, lane Lane) (State, error) {
	row := s.db.QueryRowContext(ctx, `insert into lane(pipeline, id, epoch) values(?, ?, 1)
		on conflict do update set epoch = epoch + 1
		returning epoch, grp, position, ended, rows, intent`, lane.Pipeline, lane.ID)
	st, err := scanState(row.Scan)
	return st, classify("acquire lane "+lane.ID, err)
}

func scanState(scan func(...any) error, before ...any) (State, error) {
	var st State
	var position []byte
	var intent sql.NullString
	if err := scan(append(before, &st.Epoch, &st.Group, &position, &st.Ended, &st.Rows, &intent)...); err != nil {
		return st, err
	}
	st.Position = record.Position(position)
	if !intent.Valid {
		return st, nil
	}
	st.Pending = new(Intent)
	if err := json.Unmarshal([]byte(intent.String), st.Pending); err != nil {
		return st, fmt.Errorf("read intent: %w", err)
	}
	st.Pending.To = record.Position(st.Pending.Token)
	return st, nil
}

// SaveIntent saves the intent of the lane's next group if the epoch is still ours: ErrFenced otherwise.
func (s *Store) SaveIntent(ctx context.Context, lane Lane, epoch int64, in Intent) error {
	in.Token = []byte(in.To)
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("save intent: %w", err)
	}
	result, err := s.db.ExecContext(ctx, `update lane set intent = ?
		where pipeline = ? and id = ? and epoch = ? and grp = ? and intent is null`,
		string(text), lane.Pipeline, lane.ID, epoch, in.Group-1)
	return one("save intent", result, err)
}

// DropIntent forgets an intent of which nothing is visible, so that its records are read again.
func (s *Store) DropIntent(ctx context.Context, lane Lane, epoch int64) error {
	result, err := s.db.ExecContext(ctx, `update lane set intent = null where pipeline = ? and id = ? and epoch = ?`,
		lane.Pipeline, lane.ID, epoch)
	return one("drop intent", result, err)
}

// SaveCheckpoint moves the lane to the group's end, clears its intent and makes its dead letters visible, if the epoch
// is still ours: ErrFenced otherwise.
func (s *Store) SaveCheckpoint(ctx context.Context, lane Lane, epoch int64, in Intent) error {
	const doing = "save checkpoint"
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return classify(doing, err)
	}
	result, err := tx.ExecContext(ctx, `update lane set grp = ?, position = ?, ended = ?, rows = rows + ?, intent = null
		where pipeline = ? and id = ? and epoch = ? and grp = ?`,
		in.Group, []byte(in.To), in.Ended, in.Rows, lane.Pipeline, lane.ID, epoch, in.Group-1)
	if err := one(doing, result, err); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	for i, d := range in.DeadLetters {
		_, err := tx.ExecContext(ctx, `insert into dead_letter values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			lane.Pipeline, lane.ID, in.Group, i, d.Stream, d.Position, d.Step, d.Column, d.Code, d.Reason, d.Version, d.Op, d.Row, d.At.UnixMicro())
		if err != nil {
			return errors.Join(classify(doing, err), tx.Rollback())
		}
	}
	return classify(doing, tx.Commit())
}

// one wants exactly one row changed: none means that the lane is somebody else's.
func one(doing string, result sql.Result, err error) error {
	if err != nil {
		return classify(doing, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return classify(doing, err)
	}
	if n != 1 {
		return fmt.Errorf("%s: %w", doing, ErrFenced)
	}
	return nil
}

// Ended gives the lanes of a pipeline that have durably ended, on any replica.
func (s *Store) Ended(ctx context.Context, pipeline string) (map[string]bool, error) {
	lanes, err := s.Lanes(ctx, pipeline)
	ended := map[string]bool{}
	for _, l := range lanes {
		if l.Ended {
			ended[l.ID] = true
		}
	}
	return ended, err
}

// Lanes gives the state of every lane of a pipeline.
func (s *Store) Lanes(ctx context.Context, pipeline string) (lanes []LaneState, err error) {
	rows, err := s.db.QueryContext(ctx, `select id, epoch, grp, position, ended, rows, intent from lane
		where pipeline = ? order by id`, pipeline)
	if err != nil {
		return nil, classify("read lanes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		l := LaneState{Lane: Lane{Pipeline: pipeline}}
		if l.State, err = scanState(rows.Scan, &l.ID); err != nil {
			return nil, classify("read lanes", err)
		}
		lanes = append(lanes, l)
	}
	return lanes, classify("read lanes", rows.Err())
}

// DeadLetters gives the dead letters of a pipeline, oldest first, at most limit.
func (s *Store) DeadLetters(ctx context.Context, pipeline string, limit int) (letters []DeadLetter, err error) {
	rows, err := s.db.QueryContext(ctx, `select lane, grp, idx, stream, position, step, col, code, reason, version, op, row, at
		from dead_letter where pipeline = ? order by at, lane, grp, idx limit ?`, pipeline, limit)
	if err != nil {
		return nil, classify("read dead letters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d DeadLetter
		var at int64
		if err := rows.Scan(&d.Lane, &d.Group, &d.Index, &d.Stream, &d.Position, &d.Step, &d.Column, &d.Code, &d.Reason,
			&d.Version, &d.Op, &d.Row, &at); err != nil {
			return nil, classify("read dead letters", err)
		}
		d.At = time.UnixMicro(at).UTC()
		letters = append(letters, d)
	}
	return letters, classify("read dead letters", rows.Err())
}

// CountDeadLetters counts the dead letters of a pipeline.
func (s *Store) CountDeadLetters(ctx context.Context, pipeline string) (int64, error) {
	var n int64
	err := s.db.QueryRowContext(ctx, `select count(*) from dead_letter where pipeline = ?`, pipeline).Scan(&n)
	return n, classify("count dead letters", err)
}
