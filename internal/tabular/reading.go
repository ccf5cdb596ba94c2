package tabular

import (
	"context"
	"io"

	"github.com/acequia-io/acequia/record"
)

// Reading is a sources.Reader of what a function gives in a goroutine of its own, which is ahead of Read by one chunk.
type Reading struct {
	chunks chan record.Chunk
	err    error // valid when chunks is closed; nil: the end
	cancel context.CancelFunc
}

// Read runs a function that gives chunks until it returns: nil is the end of the lane, as is io.EOF. The function may wait in give; it ends
// when the reading is closed, and not with ctx.
func Read(ctx context.Context, run func(ctx context.Context, give func(record.Chunk) error) error) *Reading {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &Reading{chunks: make(chan record.Chunk), cancel: cancel}
	give := func(chunk record.Chunk) error {
		select {
		case r.chunks <- chunk:
			return nil
		case <-ctx.Done():
			chunk.Release()
			return ctx.Err()
		}
	}
	go func() {
		defer close(r.chunks)
		r.err = run(ctx, give)
	}()
	return r
}

// Read gives the next chunk.
func (r *Reading) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case chunk, ok := <-r.chunks:
		switch {
		case ok:
			return chunk, nil
		case r.err != nil:
			return record.Chunk{}, r.err
		}
		return record.Chunk{}, io.EOF
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	}
}

// Settle has nothing to confirm.
func (r *Reading) Settle(context.Context, record.Position, error) error { return nil }

// Close ends the function and waits for it.
func (r *Reading) Close() error {
	r.cancel()
	for chunk := range r.chunks {
		chunk.Release()
	}
	return nil
}

// Ended is the reader of a lane that has nothing to give.
type Ended struct{}

// Read gives the end.
func (Ended) Read(context.Context) (record.Chunk, error) { return record.Chunk{}, io.EOF }

// Settle has nothing to confirm.
func (Ended) Settle(context.Context, record.Position, error) error { return nil }

// Close does nothing.
func (Ended) Close() error { return nil }
