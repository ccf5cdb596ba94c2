package mongodb

import "time"

// Sizes makes parts of backfills and chunks smaller than they are worth outside tests: then a few documents are many of them.
func Sizes(s *Source, part int64, chunk int) { s.partRows, s.chunkRows = part, chunk }

// Stale lets the next look ask the server, however soon it is.
func Stale(s *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed = time.Time{}
}
