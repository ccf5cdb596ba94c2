package postgres

import (
	"context"
	"errors"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Marker = (*Source)(nil)

// Mark gives what the records of a read that begins now would have: its number is taken before whatever is read after it.
func (s *Source) Mark(ctx context.Context, stream string) (record.System, error) {
	var sys record.System
	for fresh := false; ; fresh = true {
		err := s.with(ctx, func(c *postgres.Conn) error {
			t, err := s.lookUp(ctx, c, stream, fresh)
			if err != nil {
				return err
			}
			r, err := s.reading(ctx, c, t)
			if err != nil {
				return err
			}
			return s.read(ctx, c, r, func() error {
				r.system(1, &sys)
				return nil
			})
		})
		if fresh || !errors.Is(err, errOutdated) && !errors.Is(err, errGone) {
			return sys, err
		}
	}
}
