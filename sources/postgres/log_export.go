package postgres

import (
	"context"
	"maps"
	"slices"

	"github.com/acequia-io/acequia/internal/postgres"
)

// export is the session that made the slot, whose snapshot shows the database as it was when the slot began. The first reads of the
// tables run in it, so that what is read and what the log tells meet exactly. Without it they are right too: what was changed since the
// slot began is in the log and wins, whichever state a read shows.
type export struct {
	session *postgres.Conn
	name    string
	left    map[string]bool // the lanes that have not been opened
}

// exported gives the snapshot for a lane that is opened the first time; "": the read has its own.
func (s *Source) exported(t *table) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.feed.export; e != nil && t.note.Log != nil && t.note.Log.Slot == s.feed.note.Epoch && t.note.Log.From == s.feed.note.Start {
		return e.name
	}
	return ""
}

// awaited says which lanes read tables of the log, so that those are to be opened in the exported snapshot that have not been. It gives
// the snapshot when none are left, such as when their table is gone; the caller holds the lock.
func (s *Source) awaited(lanes []string) (unwanted *export) {
	e := s.feed.export
	if e == nil {
		return nil
	}
	if e.left == nil {
		e.left = map[string]bool{}
		for _, l := range lanes {
			e.left[l] = true
		}
	}
	maps.DeleteFunc(e.left, func(lane string, _ bool) bool { return !slices.Contains(lanes, lane) })
	if len(e.left) > 0 {
		return nil
	}
	s.feed.export = nil
	return e
}

// opened lets the snapshot go when the last lane has taken it: it keeps the database from cleaning up.
func (s *Source) opened(ctx context.Context, lane string) {
	s.mu.Lock()
	e := s.feed.export
	if e != nil && e.left != nil {
		delete(e.left, lane)
	}
	if e == nil || e.left == nil || len(e.left) > 0 {
		s.mu.Unlock()
		return
	}
	s.feed.export = nil
	s.mu.Unlock()
	e.close(ctx)
}

// close ends the session, if there is one.
func (e *export) close(ctx context.Context) {
	if e != nil {
		_ = e.session.Close(context.WithoutCancel(ctx)) // it has nothing to say
	}
}

// closeExport ends the session at the source's end.
func (s *Source) closeExport(ctx context.Context) {
	s.mu.Lock()
	e := s.feed.export
	s.feed.export = nil
	s.mu.Unlock()
	e.close(ctx)
}
