package bus

import (
	"context"

	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/sinks"
)

var _ sinks.Checker = (*Config)(nil)

// Check looks whether the broker is there, as far as that can be told without a message.
func (c *Config) Check(ctx context.Context) (found string, err error) {
	if found, err = broker.Reach(ctx, c.settings()); err != nil {
		return "", err
	}
	return broker.Place(c.URL, c.Topic) + " " + found, nil
}
