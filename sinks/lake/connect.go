package lake

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/sinks"
)

var _ sinks.Checker = (*Config)(nil)

// Check tells whether the lake can be made or written.
func (c *Config) Check(context.Context) (found string, err error) {
	root, err := c.Root()
	if err != nil {
		return "", err
	}
	there, free, err := blob.Probe(root)
	if err != nil {
		return "", blob.Classify(root, err)
	}
	how := "will be made"
	if there {
		how = "can be written"
	}
	return fmt.Sprintf("%s %s, %s", root, how, blob.SpaceText(free)), nil
}
