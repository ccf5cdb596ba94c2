package postgres

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// assist opens a part of a backfill that the process which has the pipeline began, as it noted it. What is not as it noted it is its own to
// look at.
func (s *Source) assist(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	stream, _, part, _ := tabular.CutLane(lane.ID)
	var t *table
	err := s.with(ctx, func(c *postgres.Conn) (err error) {
		t, err = s.noted(ctx, c, stream)
		return err
	})
	if err != nil {
		return nil, err
	}
	if t == nil || !tabular.IsPart(lane.ID, t.note.Epoch, len(t.note.Parts)) {
		return nil, fmt.Errorf("lane %q is no part of a table as it is noted: %w", lane.ID, sources.ErrElsewhere)
	}
	return s.backfill(ctx, t, lane.ID, part, from)
}

// noted gives a table as it is noted, if that is what the catalog says; nil: it is not.
func (s *Source) noted(ctx context.Context, c *postgres.Conn, stream string) (*table, error) {
	s.refreshing.Lock() // what was noted before must not take the place of what another lane has found noted since
	defer s.refreshing.Unlock()
	server, err := postgres.Inspect(ctx, c)
	if err != nil {
		return nil, err
	}
	if _, err := s.catalog(ctx, c); err != nil {
		return nil, err
	}
	s.mu.Lock()
	found := s.listed[stream]
	s.mu.Unlock()
	if found == nil {
		return nil, nil //nolint:nilnil // said in the comment
	}
	t := &table{Table: found, stream: stream, source: sourceName(server.Database, found), server: identity{System: server.System, Timeline: server.Timeline}, found: &findings{}}
	known, err := s.load(ctx, t)
	if err != nil {
		return nil, err
	}
	joined := t.note.Strategy != byLog || t.note.Log.joined()
	if !known || !joined || outlived(t, "") != "" {
		return nil, nil //nolint:nilnil // said in the comment
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[stream] = new(*t)
	return t, nil
}
