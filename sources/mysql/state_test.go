package mysql_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// notes is a state that lives as long as a test.
type notes struct {
	mu      sync.Mutex
	kept    map[string][]byte
	numbers map[string]uint64
	ended   map[string]bool // lanes, for tests of several runs
}

func newNotes() *notes {
	return &notes{kept: map[string][]byte{}, numbers: map[string]uint64{}, ended: map[string]bool{}}
}

func (n *notes) Next(_ context.Context, stream string) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numbers[stream]++
	return n.numbers[stream], nil
}

func (n *notes) Load(_ context.Context, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.kept[key]), nil
}

func (n *notes) Save(_ context.Context, key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept[key] = slices.Clone(value)
	return nil
}

// open makes a source that is closed with the test.
func open(t *testing.T, c mysql.Config, state sources.State) *mysql.Source {
	t.Helper()
	s, err := mysql.New(c, sources.Host{Pipeline: "test", State: state})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
