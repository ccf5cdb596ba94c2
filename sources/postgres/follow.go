package postgres

import (
	"context"
	"io"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// follower asks a table for its changes, again at once while there are some, else after a while.
type follower struct {
	source *Source
	table  *table
	at     record.Position
	wait   *time.Timer
}

func (s *Source) follow(_ context.Context, t *table, from record.Position) (sources.Reader, error) {
	if from == "" {
		from = record.Position(t.note.Cursor)
	}
	wait := time.NewTimer(0)
	return &follower{source: s, table: t, at: from, wait: wait}, nil
}

// Read gives the next changes.
func (f *follower) Read(ctx context.Context) (record.Chunk, error) {
	for {
		select {
		case <-ctx.Done():
			return record.Chunk{}, ctx.Err()
		case <-f.wait.C:
		}
		var chunk record.Chunk
		err := f.source.with(ctx, func(c *postgres.Conn) (err error) {
			chunk, err = f.table.poller.read(ctx, c, f.at)
			return err
		})
		switch {
		case err != nil:
			return record.Chunk{}, err
		case len(chunk.Batches) > 0 || len(chunk.Refused) > 0:
			f.at = chunk.To
			f.wait.Reset(0)
			return chunk, nil
		case f.source.drains:
			f.source.mu.Lock()
			f.table.drained = true
			f.source.mu.Unlock()
			return record.Chunk{}, io.EOF
		}
		if chunk.To != "" {
			f.at = chunk.To
		}
		f.wait.Reset(f.source.config.Capture.Every)
	}
}

// Settle tells the strategy what is durable.
func (f *follower) Settle(ctx context.Context, upTo record.Position, err error) error {
	if err != nil {
		return nil //nolint:nilerr // it is read again
	}
	return f.source.with(ctx, func(c *postgres.Conn) error { return f.table.poller.settle(ctx, c, upTo) })
}

// Close stops the clock.
func (f *follower) Close() error {
	f.wait.Stop()
	return nil
}
