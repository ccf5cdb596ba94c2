package mongodb

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Backfiller = (*Source)(nil)

// backfillOnly is what a run reads that follows nothing.
type backfillOnly struct {
	on       bool
	patterns []string // none: all
}

// Backfill lets the run read the chosen collections as they stand, and follow nothing.
func (s *Source) Backfill(patterns []string, parallel int) {
	s.only = backfillOnly{on: true, patterns: patterns}
	if parallel > 0 {
		s.config.Parallel = min(parallel, maxParallel)
	}
}

// lanes leaves out what the run is not to read.
func (o backfillOnly) lanes(all []sources.Lane) ([]sources.Lane, error) {
	if !o.on {
		return all, nil
	}
	var bad error
	return slices.DeleteFunc(all, func(l sources.Lane) bool {
		in, err := o.chooses(l.Streams[0])
		if err != nil {
			bad = err
		}
		return l.Endless || !in
	}), bad
}

func (o backfillOnly) chooses(name string) (bool, error) {
	if len(o.patterns) == 0 {
		return true, nil
	}
	return mongodb.Matches(o.patterns, name)
}

// Rewind makes a note of the chosen collections that the next run reads them anew. They are sampled again then, and fields that are
// new get their columns.
func (s *Source) Rewind(ctx context.Context, patterns []string) (streams []string, err error) {
	o := backfillOnly{patterns: patterns}
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	found, err := db.Collections(ctx, s.config.Collections)
	if err != nil {
		return nil, err
	}
	chosen := 0
	for _, f := range found {
		in, err := o.chooses(f.Name)
		if err != nil {
			return nil, err
		}
		if !in {
			continue
		}
		chosen++
		c := &collection{Collection: f}
		known, err := s.load(ctx, c)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		c.note.Anew = asked
		text, err := json.Marshal(c.note)
		if err != nil {
			return nil, fmt.Errorf("keep collection %s: %w", c.Name, err)
		}
		if err := s.state.Save(ctx, noteKey(c.Name), text); err != nil {
			return nil, err
		}
		streams = append(streams, c.Name)
	}
	if chosen == 0 {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-MG-038", Place: strings.Join(patterns, ", "), Err: fmt.Errorf("none of the %d collections of the source is chosen", len(found)),
			Remedy: "write the name of a collection as the database has it, where * and ? stand for letters",
		}
	}
	return streams, nil
}
