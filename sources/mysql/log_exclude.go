package mysql

import (
	"context"
	"time"

	"github.com/acequia-io/acequia/sources"
)

var _ sources.Excluder = (*Source)(nil)

// Exclude leaves a table out of the lane of the log, since a step or a sink does not take it: the others go on. The next run reads the
// table anew. Of a lane of one table it notes that it has failed: the log, which waits for the lanes that read where a run ends by
// itself, does not wait for it.
func (s *Source) Exclude(ctx context.Context, lane sources.Lane, stream string, why error) (goesOn bool, err error) {
	t := s.table(stream)
	if t == nil || !t.logged() {
		return false, nil
	}
	if isLog(lane) {
		return true, s.breakLog(ctx, t, why)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.feed.failed == nil {
		s.feed.failed = map[string]uint16{}
	}
	s.feed.failed[stream], s.refreshed = t.note.Epoch, time.Time{}
	return false, nil
}
