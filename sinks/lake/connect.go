package lake

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/sinks"
)

var _ sinks.Checker = (*Config)(nil)

// Check tells whether the lake can be made or written.
func (c *Config) Check(ctx context.Context) (found string, err error) {
	root, err := c.Root()
	if err != nil {
		return "", err
	}
	if _, _, remote := blob.ParseURL(root); remote {
		look := blob.CheckS3
		if c.Compact != nil || c.Expire != nil {
			look = blob.CheckS3Removing
		}
		if found, err = look(ctx, root, c.S3()); err == nil && c.Athena != nil {
			err = c.checkGlue(ctx)
		}
		return found, err
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

// checkGlue tells whether Glue has the database.
func (c *Config) checkGlue(ctx context.Context) error {
	client, err := athena.Open(ctx, c.Asked())
	if err != nil {
		return err
	}
	defer client.Close()
	return client.Check(ctx)
}
