package postgres

import (
	"cmp"
	"context"
	"maps"

	"github.com/acequia-io/acequia/sources"
)

var _ sources.Reporter = (*Source)(nil)

// bySnapshot is what a report calls a table that nothing follows: it is read anew every so often.
const bySnapshot = "snapshot"

// Report says how each table is read, what may be missed so, and how much of its log the server keeps for what was not read. It
// asks the server for the slot alone.
func (s *Source) Report(ctx context.Context) (sources.Report, error) {
	var out sources.Report
	slot, err := s.LogStatus(ctx)
	if err != nil {
		return out, err
	}
	if slot != nil {
		out.Held, out.Loss, out.Warnings = slot.Held, slot.Loss, slot.Warnings
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.sorted() {
		one := sources.StreamReport{Stream: t.stream, Strategy: cmp.Or(t.note.Strategy, bySnapshot), Anew: t.note.Why, Risks: s.risks(t), Unfit: maps.Clone(s.unfit[t.stream])}
		for _, err := range []error{t.err, t.waits} {
			if err != nil {
				one.Stopped = err.Error()
			}
		}
		out.Streams = append(out.Streams, one)
	}
	return out, nil
}
