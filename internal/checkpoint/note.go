package checkpoint

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/fault"
)

// Note gives what a pipeline keeps under a key; nil: nothing.
func (s *Store) Note(ctx context.Context, pipeline, key string) ([]byte, error) {
	var value []byte
	found, err := s.first(ctx, "read note", `select value from note where pipeline = ? and key = ?`, []any{pipeline, key}, &value)
	if !found || err != nil {
		return nil, err
	}
	return append([]byte{}, value...), nil // an empty value is read as nil
}

// Notes gives all that a pipeline keeps, by key.
func (s *Store) Notes(ctx context.Context, pipeline string) (notes map[string][]byte, err error) {
	rows, err := s.readers.QueryContext(ctx, `select key, value from note where pipeline = ?`, pipeline)
	if err != nil {
		return nil, s.explain("read notes", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	notes = map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, s.explain("read notes", err)
		}
		notes[key] = append([]byte{}, value...) // an empty value is read as nil
	}
	return notes, s.explain("read notes", rows.Err())
}

// SaveNote keeps a value under a key of a pipeline; nil: what was kept there goes.
func (s *Store) SaveNote(ctx context.Context, pipeline, key string, value []byte) error {
	return s.run(ctx, "save note "+key, func(ctx context.Context, tx session) error { return saveNote(ctx, tx, pipeline, key, value) })
}

func saveNote(ctx context.Context, tx session, pipeline, key string, value []byte) error {
	if value == nil {
		_, err := tx.ExecContext(ctx, `delete from note where pipeline = ? and key = ?`, pipeline, key)
		return err
	}
	_, err := tx.ExecContext(ctx, `insert into note(pipeline, key, value) values(?, ?, ?)
		on conflict(pipeline, key) do update set value = excluded.value`, pipeline, key, value)
	return err
}

// SwapNote puts a value in the place of the one that was read, if that is still there; nil: of none. Of several processes one does it.
func (s *Store) SwapNote(ctx context.Context, pipeline, key string, old, value []byte) (swapped bool, err error) {
	return ask(ctx, s, "swap note "+key, func(ctx context.Context, tx session) (bool, error) {
		statement, args := `insert into note(pipeline, key, value) values(?, ?, ?) on conflict do nothing`, []any{pipeline, key, value}
		if old != nil {
			statement = `update note set value = ?3 where pipeline = ?1 and key = ?2 and value = cast(?4 as blob)`
			args = append(args, old)
		}
		return stands(fenced(tx.ExecContext(ctx, statement, args...)))
	})
}

// Rewind takes lanes of a pipeline back to their start, and lets notes go, in one transaction; no process may run the
// pipeline. What steps remember of the lanes' records goes too: else they would drop them as copies. Epochs, groups and
// counters go on, for the names of files and the versions of records are made of them, and must not come twice. A lane
// with a pending intent is refused (ACQ-STATE-009), for part of its group may be visible, and so is one that is not there
// (ACQ-STATE-010); then nothing has changed.
func (s *Store) Rewind(ctx context.Context, pipeline string, lanes, notes []string) error {
	refused, err := ask(ctx, s, "rewind "+pipeline, func(ctx context.Context, tx session) (refused, err error) {
		if refused, err = s.mayRewind(ctx, tx, pipeline, lanes); refused != nil || err != nil {
			return refused, err // what is refused changes nothing, so that the transaction of other callers stands
		}
		for _, id := range lanes {
			_, err := tx.ExecContext(ctx, `update lane set epoch = epoch + 1, position = ?, ended = false, rows = 0
				where pipeline = ? and id = ?`, []byte{}, pipeline, id)
			if err != nil {
				return nil, err
			}
			if _, err := tx.ExecContext(ctx, `delete from memory where pipeline = ? and lane = ?`, pipeline, id); err != nil {
				return nil, err
			}
		}
		for _, key := range notes {
			if _, err := tx.ExecContext(ctx, `delete from note where pipeline = ? and key = ?`, pipeline, key); err != nil {
				return nil, err
			}
		}
		return nil, nil
	})
	return cmp.Or(err, refused)
}

func (s *Store) mayRewind(ctx context.Context, tx session, pipeline string, lanes []string) (refused, err error) {
	if s.leased {
		if refused, err = s.othersRead(ctx, tx, pipeline); refused != nil || err != nil {
			return refused, err
		}
	}
	for _, id := range lanes {
		var pending bool
		err := tx.QueryRowContext(ctx, `select intent is not null from lane where pipeline = ? and id = ?`, pipeline, id).Scan(&pending)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-STATE-010", Place: s.place, Err: fmt.Errorf("pipeline %s has no lane %s", pipeline, id),
				Remedy: "name a lane that acequia state show lists; nothing was changed",
			}, nil
		case err != nil:
			return nil, err
		case pending:
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-STATE-009", Place: s.place,
				Err:    fmt.Errorf("lane %s of %s has a group that is half committed", id, pipeline),
				Remedy: "run the pipeline once, which ends that group, and rewind then; nothing was changed",
			}, nil
		}
	}
	return nil, nil
}
