package app

import (
	"context"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sources"
)

// sourceState is what the source of one pipeline remembers, in the state file.
type sourceState struct {
	store    *checkpoint.Store
	pipeline string
}

var (
	_ sources.State   = (*sourceState)(nil)
	_ sources.Swapper = (*sourceState)(nil)
)

// Next numbers the reads of a stream. The name of a pipeline has no slash.
func (s *sourceState) Next(ctx context.Context, stream string) (uint64, error) {
	return s.store.Next(ctx, s.pipeline+"/"+stream)
}

// Load gives what is kept under a key.
func (s *sourceState) Load(ctx context.Context, key string) ([]byte, error) {
	return s.store.Note(ctx, s.pipeline, key)
}

// Swap keeps a value under a key if what was kept there is as it was loaded.
func (s *sourceState) Swap(ctx context.Context, key string, old, value []byte) (bool, error) {
	return s.store.SwapNote(ctx, s.pipeline, key, old, value)
}

// Save keeps a value under a key; nil: what was kept there goes.
func (s *sourceState) Save(ctx context.Context, key string, value []byte) error {
	return s.store.SaveNote(ctx, s.pipeline, key, value)
}
