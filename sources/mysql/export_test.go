package mysql

import (
	"time"

	"github.com/acequia-io/acequia/sources"
)

// PartRows makes the parts of backfills smaller than they are worth outside tests.
func PartRows(s *Source, rows int64) { s.partRows = rows }

// Sizes makes chunks, and the pages of polls, smaller than they are worth outside tests: then a few rows are many of them.
func Sizes(s *Source, chunk, page int) { s.chunkRows, s.pageRows = chunk, page }

// HoldAfter makes it sooner said what holds changes back.
func HoldAfter(s *Source, d time.Duration) { s.holdAfter = d }

// Risks gives those of a stream.
func Risks(s *Source, stream string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.risks(s.tables[stream])
}

// Stale lets the next look ask the catalog, however soon it is.
func Stale(s *Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed = time.Time{}
}

// Readers counts the sessions that read in a snapshot.
func Readers(s sources.Snapshot) int {
	m, ok := s.(*standing)
	if !ok {
		return 0
	}
	return len(m.readers)
}

// Packet makes statements of a restoration shorter than the server takes them.
func Packet(r sources.Restoration, bytes int) {
	if r, ok := r.(*restoration); ok {
		r.packet = bytes
	}
}
