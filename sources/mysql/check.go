package mysql

import (
	"cmp"
	"context"
	"errors"
	"maps"

	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/sources"
)

var (
	_ sources.Checker  = (*Source)(nil)
	_ sources.Reporter = (*Source)(nil)
)

// Check connects, and looks whether there are tables that can be read, and followed as the settings say. It changes nothing.
func (s *Source) Check(ctx context.Context) error {
	return s.ofTables(ctx, sources.InstallRequest{}, func(c *mysql.Conn, tables []*table) error {
		var errs []error
		for _, t := range tables {
			if !t.follows() {
				continue
			}
			m, err := s.means(ctx, c, t)
			if err != nil {
				return err
			}
			strategy, missing := s.best(t, m)
			if strategy == "" && s.config.Capture.Strategy != auto {
				errs = append(errs, unfit(t, missing[0]))
			}
		}
		return errors.Join(errs...)
	})
}

// bySnapshot is what a report calls a table that nothing follows: it is read anew every so often.
const bySnapshot = "snapshot"

// Report says how each table is read, and what may be missed so. It asks the server nothing.
func (s *Source) Report(context.Context) (sources.Report, error) {
	var out sources.Report
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.sorted() {
		one := sources.StreamReport{Stream: t.stream, Strategy: cmp.Or(t.note.Strategy, bySnapshot), Anew: t.note.Why, Risks: s.risks(t), Unfit: maps.Clone(s.unfit[t.stream])}
		if t.err != nil {
			one.Stopped = t.err.Error()
		}
		out.Streams = append(out.Streams, one)
	}
	return out, nil
}
