package mongodb

import (
	"context"
	"io"
	"sync"

	"github.com/acequia-io/acequia/record"
)

// feed is a reader whose chunks come from a goroutine of its own, one at a time. It ends with the goroutine.
type feed struct {
	chunks chan record.Chunk
	err    error // valid when chunks is closed; nil: the end
	cancel context.CancelFunc

	mu      sync.Mutex
	settled record.Position // durable in every sink
	moved   chan struct{}   // has a value when settled was changed
}

// newFeed starts reading. give hands a chunk on, and owns it.
func newFeed(ctx context.Context, from record.Position, run func(ctx context.Context, f *feed) error) *feed {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &feed{chunks: make(chan record.Chunk), cancel: cancel, settled: from, moved: make(chan struct{}, 1)}
	go func() {
		defer close(f.chunks)
		f.err = run(ctx, f)
	}()
	return f
}

// give hands a chunk on.
func (f *feed) give(ctx context.Context, chunk record.Chunk) error {
	select {
	case f.chunks <- chunk:
		return nil
	case <-ctx.Done():
		chunk.Release()
		return ctx.Err()
	}
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

// Read gives the next chunk.
func (f *feed) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case chunk, ok := <-f.chunks:
		switch {
		case ok:
			return chunk, nil
		case f.err != nil:
			return record.Chunk{}, f.err
		}
		return record.Chunk{}, io.EOF
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	}
}

// Settle notes what is durable.
func (f *feed) Settle(_ context.Context, upTo record.Position, err error) error {
	if err != nil {
		return nil //nolint:nilerr // it is read again
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

// Close ends the reading.
func (f *feed) Close() error {
	f.cancel()
	for chunk := range f.chunks {
		chunk.Release()
	}
	return nil
}

// ended is the reader of a lane that has nothing to give.
type ended struct{}

// Read gives the end.
func (ended) Read(context.Context) (record.Chunk, error) { return record.Chunk{}, io.EOF }

// Settle has nothing to confirm.
func (ended) Settle(context.Context, record.Position, error) error { return nil }

// Close does nothing.
func (ended) Close() error { return nil }
