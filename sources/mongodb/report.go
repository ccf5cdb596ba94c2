package mongodb

import (
	"context"
	"maps"

	"github.com/acequia-io/acequia/sources"
)

var _ sources.Reporter = (*Source)(nil)

// Report says how each collection is read, and what may be missed so. It asks the server for nothing.
func (s *Source) Report(context.Context) (sources.Report, error) {
	var out sources.Report
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
