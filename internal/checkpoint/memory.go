package checkpoint

import (
	"context"
	"errors"
	"iter"
)

// remember adds what the group's steps remember. A block is there exactly when its group has an intent or a checkpoint: it
// is written in the same transaction.
func remember(ctx context.Context, tx session, lane Lane, in Intent) error {
	for step, m := range in.Memory {
		if len(m.Block) == 0 {
			continue
		}
		_, err := tx.ExecContext(ctx, `insert into memory(pipeline, step, lane, grp, newest, block) values(?, ?, ?, ?, ?, ?)`,
			lane.Pipeline, step, lane.ID, in.Group, m.Newest, m.Block)
		if err != nil {
			return err
		}
	}
	return nil
}

// forget removes what is too old, and what a group that was taken back had remembered.
func forget(ctx context.Context, tx session, lane Lane, in Intent) error {
	for step, m := range in.Memory {
		_, err := tx.ExecContext(ctx, `delete from memory where pipeline = ?1 and step = ?2 and newest <= ?3
			and (lane = ?4 or lane in (select id from lane where pipeline = ?1 and ended))`, lane.Pipeline, step, m.Before, lane.ID)
		if err != nil {
			return err
		}
	}
	if !in.Undone {
		return nil
	}
	_, err := tx.ExecContext(ctx, `delete from memory where pipeline = ? and lane = ? and grp = ?`, lane.Pipeline, lane.ID, in.Group)
	return err
}

// Block is what a group of a lane has added to what a step remembers.
type Block struct {
	Lane string
	Data []byte
}

// Remembered gives the blocks of a step in the order of the groups: of one lane, or of all lanes of the pipeline with "".
func (s *Store) Remembered(ctx context.Context, pipeline, step, lane string) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		rows, err := s.readers.QueryContext(ctx, `select lane, block from memory
			where pipeline = ? and step = ? and (?3 = '' or lane = ?3) order by lane, grp`, pipeline, step, lane)
		if err != nil {
			yield(Block{}, s.explain("read memory", err))
			return
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var b Block
			if err := rows.Scan(&b.Lane, &b.Data); err != nil {
				yield(Block{}, s.explain("read memory", err))
				return
			}
			if !yield(b, nil) {
				return
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			yield(Block{}, s.explain("read memory", err))
		}
	}
}
