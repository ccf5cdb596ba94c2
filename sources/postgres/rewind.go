package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Backfiller = (*Source)(nil)

// asked is why a table is read anew that somebody has rewound.
const asked = "it was asked for"

// backfillOnly is what a run reads that follows nothing.
type backfillOnly struct {
	on     bool
	tables []string // patterns; none: all
}

// Backfill lets the run read the chosen tables as they stand, and follow nothing.
func (s *Source) Backfill(tables []string, parallel int) {
	s.only = backfillOnly{on: true, tables: tables}
	if parallel > 0 {
		s.config.Parallel = min(parallel, maxParallel)
		s.pool = s.pool.Resized(s.config.Parallel + 2)
	}
}

// lanes leaves out what the run is not to read. The caller holds the lock of the tables.
func (o backfillOnly) lanes(all []sources.Lane, tables map[string]*table) ([]sources.Lane, error) {
	if !o.on {
		return all, nil
	}
	var bad error
	return slices.DeleteFunc(all, func(l sources.Lane) bool {
		if l.Endless {
			return true
		}
		in, err := o.chooses(tables[l.Streams[0]].Table)
		bad = errors.Join(bad, err)
		return !in
	}), bad
}

func (o backfillOnly) chooses(t *postgres.Table) (bool, error) {
	if len(o.tables) == 0 {
		return true, nil
	}
	in, err := postgres.Matches(o.tables, t.Schema, t.Name)
	if err != nil {
		return false, &fault.Error{Class: fault.Fatal, Code: "ACQ-PG-039", Place: strings.Join(o.tables, ", "), Err: err, Remedy: "write SCHEMA.TABLE, where * and ? stand for letters"}
	}
	return in, nil
}

// Rewind makes a note of the chosen tables that the next run reads them anew.
func (s *Source) Rewind(ctx context.Context, tables []string) (streams []string, err error) {
	o := backfillOnly{tables: tables}
	err = s.with(ctx, func(c *postgres.Conn) error {
		found, err := postgres.ListTables(ctx, c, s.config.Tables)
		if err != nil {
			return err
		}
		chosen := 0
		for _, f := range found {
			if in, err := o.chooses(f); err != nil {
				return err
			} else if !in {
				continue
			}
			chosen++
			t := &table{Table: f, stream: f.Stream()}
			known, err := s.load(ctx, t)
			if err != nil {
				return err
			}
			if !known {
				continue
			}
			t.note.Anew = asked
			if err := s.save(ctx, t); err != nil {
				return err
			}
			streams = append(streams, t.stream)
		}
		if chosen == 0 {
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-PG-038", Place: strings.Join(tables, ", "), Err: fmt.Errorf("none of the %d tables of the source is chosen", len(found)),
				Remedy: "write SCHEMA.TABLE as the database has it, where * and ? stand for letters",
			}
		}
		return nil
	})
	return streams, err
}
