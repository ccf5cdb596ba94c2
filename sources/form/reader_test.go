package form

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// TestBusyFormGathers puts two records a little apart: they share a chunk only after a chunk that was large.
func TestBusyFormGathers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ before, want int }{{busy, 2}, {busy - 1, 1}} {
		synctest.Test(t, func(t *testing.T) {
			table := register(t)
			keys, err := record.NewSchema(KeysTable, []string{"key"}, record.Field{Name: "key", Kind: record.String})
			if err != nil {
				t.Fatal(err)
			}
			r := &reader{source: &Source{table: table, queue: newQueue(table, keys)}, closing: make(chan struct{})}
			put := func() {
				if !r.source.queue.put(&ticket{id: "x", done: make(chan struct{})}, make([]schemas.Value, len(table.Fields)), 1, time.Now()) {
					t.Error("no room")
				}
			}
			read := func() int {
				chunk, err := r.Read(t.Context())
				if err != nil {
					t.Error(err)
					return 0
				}
				return chunk.Batches[0].Rows
			}
			for range c.before {
				put()
			}
			if n := read(); n != c.before {
				t.Fatalf("%d rows, want %d", n, c.before)
			}
			put()
			began := time.Now()
			time.AfterFunc(moment/2, put)
			if n := read(); n != c.want || time.Since(began) > moment {
				t.Errorf("after a chunk of %d: %d rows after %v, want %d", c.before, n, time.Since(began), c.want)
			}
		})
	}
}
