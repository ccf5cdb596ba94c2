package form

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

func newReader(t *testing.T) *reader {
	t.Helper()
	table := register(t)
	keys, err := record.NewSchema(KeysTable, []string{"key"}, record.Field{Name: "key", Kind: record.String},
		record.Field{Name: "hash", Kind: record.String}, record.Field{Name: "id", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	return &reader{source: &Source{table: table, queue: newQueue(table, keys)}, closing: make(chan struct{})}
}

func (r *reader) put(t *testing.T, id, key string) *ticket {
	t.Helper()
	one := &ticket{id: id, key: key, done: make(chan struct{})}
	if !r.source.queue.put(one, make([]schemas.Value, len(r.source.table.Fields)), 1) {
		t.Fatal("no room")
	}
	return one
}

// TestWithdrawnRecordsAreNotRead wants that what is withdrawn while it waits is not in the chunk, and its key neither.
func TestWithdrawnRecordsAreNotRead(t *testing.T) {
	t.Parallel()
	r := newReader(t)
	early := r.put(t, "1", "early")
	if !r.source.queue.abandon(early) {
		t.Fatal("what waits can be withdrawn")
	}
	late := r.put(t, "2", "late")
	chunk, err := r.Read(t.Context())
	if err != nil || len(chunk.Batches) != 2 {
		t.Fatalf("read %+v, %v", chunk, err)
	}
	keys, items := chunk.Batches[0], chunk.Batches[1]
	if items.Rows != 1 || string(items.System.EventIDs.Text(0)) != "2" || keys.Rows != 1 || string(keys.Columns[0].Text(0)) != "late" {
		t.Errorf("items %s, keys %s", items.AppendJSON(nil, 0), keys.AppendJSON(nil, 0))
	}
	if len(r.unsettled) != 1 || len(r.unsettled[0]) != 1 || r.unsettled[0][0] != late {
		t.Errorf("%v", r.unsettled)
	}
	if r.source.queue.abandon(late) {
		t.Error("what was read was withdrawn")
	}
}

// TestBusyFormGathers puts two records a little apart. After a chunk that was large they share one, which is read when
// half of the requests wait, or a moment later.
func TestBusyFormGathers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, posts, want int
		after               time.Duration
	}{{busy, 20, 2, moment}, {busy, 4, 2, moment / 2}, {busy, 2, 1, 0}, {busy - 1, 20, 1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			r := newReader(t)
			read := func() int {
				chunk, err := r.Read(t.Context())
				if err != nil {
					t.Error(err)
					return 0
				}
				return chunk.Batches[0].Rows
			}
			for range c.before {
				r.put(t, "x", "")
			}
			if n := read(); n != c.before {
				t.Fatalf("%d rows, want %d", n, c.before)
			}
			r.source.posts.Store(int64(c.posts))
			r.put(t, "x", "")
			began := time.Now()
			time.AfterFunc(moment/2, func() { r.put(t, "x", "") })
			if n := read(); n != c.want || time.Since(began) != c.after {
				t.Errorf("%+v: %d rows after %v", c, n, time.Since(began))
			}
		})
	}
}
