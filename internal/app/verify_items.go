package app

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	itemsink "github.com/acequia-io/acequia/sinks/items"
)

// itemsOf is the store of items that a sink writes a stream to, and what it refuses.
func (c *comparing) itemsOf(ctx context.Context, part *SinkPart, settings *itemsink.Config, out *record.Schema) (verify.Items, func(*record.Batch) error, error) {
	refuses := func(store itemstore.Items) func(*record.Batch) error {
		return func(b *record.Batch) error { return settings.Refuses(store, b) }
	}
	o, ok := settings.Dynamo()
	if !ok {
		store, err := c.items(ctx, c.project.itemsFile(part))
		return store, refuses(store), err
	}
	d := c.dynamo[part]
	if d == nil {
		o.Bulk, o.Log = false, c.log // nothing is written
		var err error
		if d, err = itemstore.OpenDynamo(ctx, o); err != nil {
			return nil, nil, fmt.Errorf("sink %s: %w", part.Name, err)
		}
		c.dynamo[part] = d
	}
	for _, t := range settings.Stored([]*record.Schema{out}) {
		if err := d.Define(ctx, t); err != nil {
			return nil, nil, fmt.Errorf("sink %s: %w", part.Name, err)
		}
	}
	return d, refuses(d), nil
}
