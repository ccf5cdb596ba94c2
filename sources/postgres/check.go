package postgres

import (
	"context"
	"errors"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Checker = (*Source)(nil)

// Check connects, and looks whether there are tables that can be read, and followed as the settings say. It changes nothing.
func (s *Source) Check(ctx context.Context) error {
	return s.ofTables(ctx, sources.InstallRequest{}, func(c *postgres.Conn, tables []*table) error {
		strategy := s.config.Capture.Strategy
		if strategy == auto {
			return nil
		}
		if strategy == byLog {
			server, err := postgres.Inspect(ctx, c)
			if err == nil {
				err = s.checkLog(server)
			}
			if err != nil {
				return err
			}
		}
		var errs []error
		for _, t := range tables {
			if !t.follows() {
				continue
			}
			m, err := s.means(ctx, c, t)
			if err != nil {
				return err
			}
			if missing := s.lacks(t, m, strategy); missing != nil {
				errs = append(errs, unfit(t, *missing))
			}
		}
		return errors.Join(errs...)
	})
}
