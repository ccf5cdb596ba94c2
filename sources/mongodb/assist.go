package mongodb

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// assist opens a part of a backfill that the process which has the pipeline began, as it noted it. What is not as it noted it is its own to
// look at.
func (s *Source) assist(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	stream, _, part, _ := tabular.CutLane(lane.ID)
	c, err := s.noted(ctx, stream)
	if err != nil {
		return nil, err
	}
	if c == nil || c.note.Strategy == bySweep || !tabular.IsPart(lane.ID, c.note.Epoch, len(c.note.Parts)) {
		return nil, fmt.Errorf("lane %q is no part of a collection as it is noted: %w", lane.ID, sources.ErrElsewhere)
	}
	return s.backfill(ctx, c, part, from)
}

// noted gives a collection as it is noted, if that is what the server and the settings say; nil: it is not.
func (s *Source) noted(ctx context.Context, stream string) (*collection, error) {
	s.refreshing.Lock() // what was noted before must not take the place of what another lane has found noted since
	defer s.refreshing.Unlock()
	db, err := s.db()
	if err != nil {
		return nil, err
	}
	found, err := db.Collections(ctx, s.config.Collections)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(found, func(f mongodb.Collection) bool { return f.Name == stream })
	if at < 0 {
		return nil, nil //nolint:nilnil // said in the comment
	}
	c := &collection{Collection: found[at], nulls: &atomic.Int64{}}
	known, err := s.load(ctx, c)
	if err != nil {
		return nil, err
	}
	declared := s.config.declared(stream)
	if !known || c.note.Anew != "" || c.note.UUID != c.UUID || declared != nil && !reflect.DeepEqual(declared, c.note.Columns) {
		return nil, nil //nolint:nilnil // said in the comment
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[stream] = new(*c)
	return c, nil
}
