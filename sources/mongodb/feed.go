package mongodb

import (
	"context"
	"sync"

	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
)

// feed is a reading that knows what is durable of what it gave.
type feed struct {
	*tabular.Reading
	give func(chunk record.Chunk) error // of the goroutine that reads; it owns the chunk

	mu      sync.Mutex
	settled record.Position // durable in every sink
	moved   chan struct{}   // has a value when settled was changed
}

// newFeed starts reading.
func newFeed(ctx context.Context, from record.Position, run func(ctx context.Context, f *feed) error) *feed {
	f := &feed{settled: from, moved: make(chan struct{}, 1)}
	f.Reading = tabular.Read(ctx, func(ctx context.Context, give func(record.Chunk) error) error {
		f.give = give
		return run(ctx, f)
	})
	return f
}

// await waits until a position, the last that was given, is durable.
func (f *feed) await(ctx context.Context, at record.Position) error {
	for {
		f.mu.Lock()
		done := f.settled == at
		f.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-f.moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Settle notes what is durable.
func (f *feed) Settle(_ context.Context, upTo record.Position, err error) error {
	if err != nil {
		return nil // it is read again
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = upTo
	select {
	case f.moved <- struct{}{}:
	default:
	}
	return nil
}
