package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
)

// stage is a part that is staged, as the books tell of it and of its table.
type stage struct {
	id, table       int64
	rows            int64
	columns         []string
	ordered, absent bool

	name   string // of its own table
	part   string
	into   string // the table
	stream string
	key    []string
	known  []record.Field // of the table
	floor  string         // of the table, when the stage is merged: what has a smaller version is gone; "": nothing
}

// Publish merges the parts of a group into their tables, all in one transaction, in which the stages go. So a stage that is there was
// not merged, and the parts tell of one that is not whether it was.
func (w *writer) Publish(ctx context.Context, m sinks.Manifest) error {
	if len(m.Files) == 0 {
		return nil
	}
	err := w.sink.with(ctx, func(c *postgres.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = 0"); err != nil { // lanes of a table wait for each other; the engine's patience ends it
				return err
			}
			stages, err := w.stages(ctx, tx, m)
			if err != nil {
				return err
			}
			for _, s := range stages {
				if err := s.merge(ctx, tx); err != nil {
					return explain(err, "merge into "+s.into, s.stream)
				}
				if err := w.leave(ctx, tx, s); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err == nil {
		w.seen(m.Files[0].Name)
	}
	return err
}

// stages locks what is still staged of a manifest, and the tables that it goes to, in an order that all writers share.
func (w *writer) stages(ctx context.Context, tx pgx.Tx, m sinks.Manifest) (found []*stage, err error) {
	for _, f := range m.Files {
		s, err := w.stage(ctx, tx, f)
		if err != nil {
			return nil, err
		}
		if s != nil {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b *stage) int {
		// rows that lack columns change those that come whole in the same group
		return cmp.Or(cmp.Compare(a.table, b.table), compareBools(a.absent, b.absent))
	})
	for i, s := range found {
		var space, name string
		var columns []byte
		var there bool
		err := tx.QueryRow(ctx, `SELECT schema_name, table_name, stream, key, columns, to_regclass(format('%I.%I', schema_name, table_name)) IS NOT NULL
			FROM acequia.tables WHERE id = $1 FOR UPDATE`, s.table).Scan(&space, &name, &s.stream, &s.key, &columns, &there)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !there {
			return nil, &fault.Error{
				Class: fault.Fatal, Code: codeGone, Place: cmp.Or(s.stream, s.part), Err: errors.New("the table, or its row in acequia.tables, was dropped while records were on their way to it"),
				Remedy: "bring it back from a copy of the warehouse: the records are staged, and go there at the next start",
			}
		}
		if err != nil {
			return nil, err
		}
		if s.known, err = schemas.DecodeColumns(columns); err != nil {
			return nil, err
		}
		s.into = pgx.Identifier{space, name}.Sanitize()
		found[i] = s
	}
	return found, nil
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// stage finds a part that is still staged. nil: it was merged before.
func (w *writer) stage(ctx context.Context, tx pgx.Tx, f sinks.File) (*stage, error) {
	id, err := stageID(f.Staged)
	if err != nil {
		return nil, err
	}
	s := &stage{id: id, name: f.Staged, part: f.Name}
	var there bool
	err = tx.QueryRow(ctx, "SELECT table_id, rows, columns, ordered, absent, to_regclass($2) IS NOT NULL FROM acequia.stages WHERE id = $1 FOR UPDATE", id, f.Staged).
		Scan(&s.table, &s.rows, &s.columns, &s.ordered, &s.absent, &there)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		merged, err := w.merged(ctx, tx, f.Name)
		if err != nil || merged {
			return nil, err
		}
	case err != nil:
		return nil, err
	case there && s.rows == f.Rows:
		return s, nil
	}
	return nil, fmt.Errorf("%s: %w", f.Staged, sinks.ErrVanished)
}

// merged says whether a part was published: itself, or a later group of its lane.
func (w *writer) merged(ctx context.Context, tx pgx.Tx, part string) (yes bool, err error) {
	group, err := groupOf(part)
	if err != nil {
		return false, err
	}
	err = tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM acequia.parts WHERE pipeline = $1 AND lane = $2 AND (grp > $3 OR grp = $3 AND part = $4))",
		w.lane.Pipeline, w.lane.ID, group, part).Scan(&yes)
	return yes, err
}

// leave takes a stage that was merged away and notes its part; those of earlier groups are not needed any more.
func (w *writer) leave(ctx context.Context, tx pgx.Tx, s *stage) error {
	group, err := groupOf(s.part)
	if err != nil {
		return err
	}
	return run(ctx, tx, []statement{
		{"DROP TABLE " + s.name, nil},
		{"DELETE FROM acequia.stages WHERE id = $1", []any{s.id}},
		{"INSERT INTO acequia.parts (pipeline, lane, grp, part) VALUES ($1, $2, $3, $4)", []any{w.lane.Pipeline, w.lane.ID, group, s.part}},
		{"DELETE FROM acequia.parts WHERE pipeline = $1 AND lane = $2 AND grp < $3", []any{w.lane.Pipeline, w.lane.ID, group}},
	})
}

// statement is SQL and its arguments.
type statement struct {
	sql  string
	args []any
}

func run(ctx context.Context, tx pgx.Tx, all []statement) error {
	for _, s := range all {
		if _, err := tx.Exec(ctx, s.sql, s.args...); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes what lower epochs of the lane have staged. Recovery calls it after it has rolled the intent forward.
func (w *writer) Sweep(ctx context.Context) error {
	return w.sink.with(ctx, func(c *postgres.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			rows, err := tx.Query(ctx, "DELETE FROM acequia.stages WHERE pipeline = $1 AND lane = $2 AND epoch < $3 RETURNING id", w.lane.Pipeline, w.lane.ID, w.lane.Epoch)
			if err != nil {
				return err
			}
			ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
			if err != nil {
				return err
			}
			for _, id := range ids {
				if _, err := tx.Exec(ctx, "DROP TABLE IF EXISTS "+stageName(id)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// Withdraw drops what is left of a manifest's stages and makes sure that nothing of it is visible.
func (w *writer) Withdraw(ctx context.Context, m sinks.Manifest) error {
	var visible string
	err := w.sink.with(ctx, func(c *postgres.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			for _, f := range m.Files {
				id, err := stageID(f.Staged)
				if err != nil {
					return err
				}
				if err := run(ctx, tx, []statement{{"DROP TABLE IF EXISTS " + stageName(id), nil}, {"DELETE FROM acequia.stages WHERE id = $1", []any{id}}}); err != nil {
					return err
				}
				merged, err := w.merged(ctx, tx, f.Name)
				if err != nil {
					return err
				}
				if merged {
					visible = f.Name
				}
			}
			return nil
		})
	})
	if err == nil && visible != "" {
		return fmt.Errorf("%s: %w", visible, sinks.ErrVisible)
	}
	return err
}

// Prove looks for a later group of the lane.
func (w *writer) Prove(ctx context.Context, group int64) error {
	var last int64
	err := w.sink.with(ctx, func(c *postgres.Conn) error {
		return c.QueryRow(ctx, "SELECT coalesce(max(grp), 0) FROM acequia.parts WHERE pipeline = $1 AND lane = $2", w.lane.Pipeline, w.lane.ID).Scan(&last)
	})
	if err != nil || last <= group {
		return err
	}
	return fmt.Errorf("group %d of lane %s is in the warehouse, and the state ends at group %d: %w", last, w.lane.ID, group, sinks.ErrAhead)
}
