package bus

import (
	"context"

	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/sources"
)

var _ sources.Checker = (*Source)(nil)

// Check looks whether the broker is there, as far as that can be told without a reader.
func (s *Source) Check(ctx context.Context) error {
	_, err := broker.Reach(ctx, s.config.settings())
	return err
}
