package dynamodbstreams_test

import (
	"context"
	"sync"
)

// kept is a state in memory.
type kept struct {
	mu     sync.Mutex
	values map[string][]byte
}

func (k *kept) Next(context.Context, string) (uint64, error) { return 1, nil }

func (k *kept) Load(_ context.Context, key string) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.values[key], nil
}

func (k *kept) Save(_ context.Context, key string, value []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.values == nil {
		k.values = map[string][]byte{}
	}
	k.values[key] = value
	return nil
}
