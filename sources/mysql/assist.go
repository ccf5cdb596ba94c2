package mysql

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// assist opens a part of a backfill that the process which has the pipeline began, as it noted it. What is not as it noted it is its own to
// look at.
func (s *Source) assist(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	stream, _, part, _ := tabular.CutLane(lane.ID)
	var t *table
	err := s.with(ctx, func(c *mysql.Conn) (err error) {
		t, err = s.noted(ctx, c, stream)
		return err
	})
	if err != nil {
		return nil, err
	}
	if t == nil || !tabular.IsPart(lane.ID, t.note.Epoch, len(t.note.Parts)) {
		return nil, fmt.Errorf("lane %q is no part of a table as it is noted: %w", lane.ID, sources.ErrElsewhere)
	}
	return s.backfill(ctx, t, part, from)
}

// noted gives a table as it is noted, if that is what the server says; nil: it is not. Whether its file is still the same, each read looks.
func (s *Source) noted(ctx context.Context, c *mysql.Conn, stream string) (*table, error) {
	s.refreshing.Lock() // what was noted before must not take the place of what another lane has found noted since
	defer s.refreshing.Unlock()
	if err := s.inspect(ctx, c); err != nil {
		return nil, err
	}
	log, err := s.keptLog(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.catalog(ctx, c); err != nil {
		return nil, err
	}
	s.mu.Lock()
	found := s.listed[stream]
	s.feed.note = log
	s.mu.Unlock()
	if found == nil {
		return nil, nil //nolint:nilnil // said in the comment
	}
	t := &table{Table: found, stream: stream, source: sourceName(found), found: &findings{}}
	known, err := s.load(ctx, t)
	if err != nil {
		return nil, err
	}
	broken := t.note.Log != nil && t.note.Log.Broken != ""
	if !known || broken || s.outlived(t) != "" {
		return nil, nil //nolint:nilnil // said in the comment
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[stream] = new(*t)
	return t, nil
}
