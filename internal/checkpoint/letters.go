package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/acequia-io/acequia/record"
)

func insertLetter(ctx context.Context, tx *sql.Conn, lane Lane, d *DeadLetter) error {
	_, err := tx.ExecContext(ctx, `insert into dead_letter(pipeline, lane, stream, position, idx, step, grp, col, code, reason,
		op, version, row, raw, at) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing`,
		lane.Pipeline, lane.ID, d.Stream, []byte(d.Position), d.Index, d.Step, d.Group, d.Column, d.Code, d.Reason,
		d.Op, d.Version, []byte(d.Row), d.Raw, d.At.UnixMicro())
	return err
}

// DeadLetters gives the dead letters of a pipeline, or of all when it is "", oldest first: at most limit, after the
// given ID.
func (s *Store) DeadLetters(ctx context.Context, pipeline string, after int64, limit int) (letters []DeadLetter, err error) {
	rows, err := s.readers.QueryContext(ctx, `select id, pipeline, lane, stream, position, idx, step, grp, col, code, reason,
		op, version, row, raw, at from dead_letter where (? = '' or pipeline = ?) and id > ? order by id limit ?`,
		pipeline, pipeline, after, limit)
	if err != nil {
		return nil, explain(s.path, "read dead letters", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var d DeadLetter
		var position []byte
		var at int64
		err := rows.Scan(&d.ID, &d.Pipeline, &d.Lane, &d.Stream, &position, &d.Index, &d.Step, &d.Group, &d.Column, &d.Code,
			&d.Reason, &d.Op, &d.Version, (*[]byte)(&d.Row), &d.Raw, &at)
		if err != nil {
			return nil, explain(s.path, "read dead letters", err)
		}
		d.Position, d.At = record.Position(position), time.UnixMicro(at).UTC()
		letters = append(letters, d)
	}
	return letters, explain(s.path, "read dead letters", rows.Err())
}

// CountDeadLetters counts the dead letters of a pipeline, or of all when it is "".
func (s *Store) CountDeadLetters(ctx context.Context, pipeline string) (int64, error) {
	var n int64
	err := s.readers.QueryRowContext(ctx, `select count(*) from dead_letter where ? = '' or pipeline = ?`, pipeline, pipeline).Scan(&n)
	return n, explain(s.path, "count dead letters", err)
}

// DeadLetter gives one dead letter; found is false when there is none of that ID.
func (s *Store) DeadLetter(ctx context.Context, id int64) (d DeadLetter, found bool, err error) {
	letters, err := s.DeadLetters(ctx, "", id-1, 1)
	if err != nil || len(letters) == 0 || letters[0].ID != id {
		return d, false, err
	}
	return letters[0], true, nil
}

// DropDeadLetters forgets dead letters for good, all of them or none, and counts those that were there.
func (s *Store) DropDeadLetters(ctx context.Context, ids ...int64) (dropped int64, err error) {
	err = s.writer.run(ctx, "drop dead letters", func(ctx context.Context, tx *sql.Conn) error {
		dropped = 0
		for _, id := range ids {
			result, err := tx.ExecContext(ctx, "delete from dead_letter where id = ?", id)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if err != nil {
				return err
			}
			dropped += n
		}
		return nil
	})
	return dropped, err
}
