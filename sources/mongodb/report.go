package mongodb

import (
	"context"
	"maps"
	"time"

	"github.com/acequia-io/acequia/sources"
)

var _ sources.Reporter = (*Source)(nil)

// Report says how each collection is read, what may be missed so, and when the server's log forgets what was not read. It asks the server
// how far its log reaches back.
func (s *Source) Report(ctx context.Context) (sources.Report, error) {
	var out sources.Report
	var err error
	if out.Loss, err = s.logLoss(ctx); err != nil {
		return out, err
	}
	shared := s.shared()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.sorted() {
		one := sources.StreamReport{Stream: c.Name, Strategy: c.note.Strategy, Anew: c.note.Why, Risks: s.risks(c, shared), Unfit: maps.Clone(s.unfit[c.Name])}
		if c.err != nil {
			one.Stopped = c.err.Error()
		}
		out.Streams = append(out.Streams, one)
	}
	return out, nil
}

// logLoss is how long it takes until the server's log, which is of a fixed size, has forgotten what is to be read next, at the rate at which
// it was written; 0: nothing follows it, or the user may not look at it.
func (s *Source) logLoss(ctx context.Context) (time.Duration, error) {
	if only := s.config.Capture.Strategy; only != auto && only != byLog {
		return 0, nil
	}
	db, err := s.db()
	if err != nil {
		return 0, err
	}
	server, err := db.Inspect(ctx)
	if err != nil || !server.Logged() {
		return 0, err
	}
	first, last, err := db.LogSpan(ctx)
	if err != nil || first.IsZero() {
		return 0, err
	}
	next := logNumber(last)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range s.behind {
		next = min(next, at)
	}
	if at := logTime(next); at.T > first.T {
		return time.Duration(at.T-first.T) * time.Second, nil
	}
	return 1, nil // it may be gone already
}

// stands notes where in the log a stream stands that has more before it; 0: it has none, or is not read.
func (s *Source) stands(stream string, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at == 0 {
		delete(s.behind, stream)
		return
	}
	s.behind[stream] = at
}
