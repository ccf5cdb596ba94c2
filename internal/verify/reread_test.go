package verify_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/filter"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	itemsink "github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sources"
)

// numbering gives the reads of a memory source a number each, taken before them, as sources do.
type numbering struct {
	*memory
	mu     sync.Mutex
	number uint64
	after  func() // a look-up; may be nil
}

func (n *numbering) next() record.System {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.number++
	return record.System{Source: "memory", Versions: record.One(record.Version{Lo: n.number}), EventTimes: []int64{20_000 * 86_400_000_000}}
}

func (n *numbering) Mark(context.Context, string) (record.System, error) { return n.next(), nil }

func (n *numbering) Scan(ctx context.Context, stream string, part sources.KeyRange, each func(*record.Batch) error) error {
	return n.memory.Scan(ctx, stream, part, n.numbered(each))
}

func (n *numbering) Lookup(ctx context.Context, stream string, keys *record.Batch, each func(*record.Batch) error) error {
	err := n.memory.Lookup(ctx, stream, keys, n.numbered(each))
	if n.after != nil {
		n.after()
	}
	return err
}

func (n *numbering) numbered(each func(*record.Batch) error) func(*record.Batch) error {
	sys := n.next()
	return func(b *record.Batch) error {
		out := b.With(b.Schema, b.Columns)
		defer out.Release()
		out.System = sys
		return each(out)
	}
}

// again runs a reread into the sinks of a world, on an engine with a state file.
func (w *world) again(state string, from *verify.Reread) error {
	w.t.Helper()
	store, err := checkpoint.Open(w.t.Context(), state)
	if err != nil {
		return err
	}
	p := routers.Pipeline{Name: "p", Steps: w.steps, Sinks: []routers.NamedSink{
		{Name: "lake", Sink: w.lake}, {Name: "items", Sink: itemsink.New(itemsink.Config{}, w.store, slog.New(slog.DiscardHandler))},
	}, Retry: routers.Retry{Max: 3, Initial: time.Millisecond, Longest: time.Millisecond}}
	run, err := routers.New(verify.Again(p, from), routers.Options{Store: store, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- run.Run(context.WithoutCancel(w.t.Context())) }()
	select {
	case <-from.Drained():
		run.Stop()
		err = <-ended
	case err = <-ended:
	case <-time.After(time.Minute):
		run.Stop()
		err = errors.Join(errors.New("it does not end"), <-ended)
	}
	return errors.Join(err, store.Close())
}

// repair compares, and sends what differs again to both sinks.
func (w *world) repair(n *numbering) error {
	w.t.Helper()
	s := w.stream()
	s.Tables = n
	state := filepath.Join(w.t.TempDir(), "state.db")
	_, err := verify.Compare(w.t.Context(), s, verify.Options{Differ: func(_ context.Context, sink string, keys *record.Batch) error {
		return w.again(state, verify.Keys(n, s.Stream.Schema, sink, keys))
	}})
	return err
}

// TestRepair mends rows that are missing, that are too many and that differ: many of each, and more than a look-up takes.
func TestRepair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.source.ranged = 1000
	w.write(record.Insert, numbered(0, 4000, "x")...)
	w.source.set(append(numbered(1000, 3000, "x"), numbered(3000, 6500, "y")...)...)
	n := &numbering{memory: w.source, number: 10_000}
	if err := w.repair(n); err != nil {
		t.Fatal(err)
	}
	w.want(5500, 0, 0, 0)
}

// TestRepairBehindAFilter deletes a row that passes the steps no more.
func TestRepairBehindAFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, texts(t))
	w.write(record.Insert, lines(0, 10)...)
	only, err := filter.New(filter.Config{Where: "row.n % 3 != 0"})
	w.steps = []routers.Step{step(t, "filter", only, err)}
	w.source.set(lines(0, 10)...)
	w.want(6, 0, 4, 0)
	if err := w.repair(&numbering{memory: w.source, number: 1000}); err != nil {
		t.Fatal(err)
	}
	w.want(6, 0, 0, 0)
}

// TestAKeyIsLookedUpTwice before it is deleted: it may come back in between.
func TestAKeyIsLookedUpTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 10, "x")...)
	w.source.set(numbered(0, 8, "x")...)
	n := &numbering{memory: w.source, number: 1000}
	n.after = func() {
		n.after = nil
		w.source.mu.Lock()
		w.source.docs = append(w.source.docs, numbered(8, 9, "back")...)
		w.source.mu.Unlock()
	}
	keys := w.batch(w.source.schema, record.Delete, numbered(8, 10, "")...)
	schema, err := record.NewSchema("t", []string{"id"}, w.source.schema.Fields[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := w.again(filepath.Join(t.TempDir(), "state.db"), verify.Keys(n, w.source.schema, "lake", keys.With(schema, keys.Columns[:1]))); err != nil {
		t.Fatal(err)
	}
	w.want(9, 0, 0, 0)
}

// TestDeletesAreOlderThanWhatCameAfter keeps a row that was inserted while it was found to be gone.
func TestDeletesAreOlderThanWhatCameAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 10, "x")...)
	w.source.set(numbered(0, 9, "x")...)
	n := &numbering{memory: w.source, number: 1000}
	looks := 0
	n.after = func() { // a poll, with its number after its snapshot
		if looks++; looks == 2 {
			w.version = n.next().Versions.Lo[0] - 1
			w.write(record.Insert, numbered(9, 10, "again")...)
			w.source.mu.Lock()
			w.source.docs = append(w.source.docs, numbered(9, 10, "again")...)
			w.source.mu.Unlock()
		}
	}
	keys := w.batch(w.source.schema, record.Delete, numbered(9, 10, "")...)
	schema, err := record.NewSchema("t", []string{"id"}, w.source.schema.Fields[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := w.again(filepath.Join(t.TempDir(), "state.db"), verify.Keys(n, w.source.schema, "lake", keys.With(schema, keys.Columns[:1]))); err != nil {
		t.Fatal(err)
	}
	w.want(10, 0, 0, 0)
}

// TestRowsThatAreGoneNeedAMark: without one it cannot be told which copies a delete is newer than.
func TestRowsThatAreGoneNeedAMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 3, "x")...)
	keys := w.batch(w.source.schema, record.Delete, numbered(2, 3, "")...)
	schema, err := record.NewSchema("t", []string{"id"}, w.source.schema.Fields[0])
	if err != nil {
		t.Fatal(err)
	}
	from := verify.Keys(w.source, w.source.schema, "lake", keys.With(schema, keys.Columns[:1]))
	if err := w.again(filepath.Join(t.TempDir(), "state.db"), from); fault.Code(err) != "ACQ-VERIFY-003" {
		t.Errorf("%v", err)
	}
}

// TestAllOfATableAgain reads a stream whole, twice with one state, and once with failures on the way.
func TestAllOfATableAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	state := filepath.Join(t.TempDir(), "state.db")
	n := &numbering{memory: w.source}
	for round, v := range []string{"a", "b", "c"} {
		w.source.set(numbered(0, 30, v)...)
		from, err := verify.Whole(t.Context(), n, w.source.schema)
		if err != nil {
			t.Fatal(err)
		}
		scans := w.source.scans
		failed := false
		w.source.before = func(m *memory) {
			if round == 2 && m.scans == scans+4 && !failed {
				failed = true
				m.docs = append(m.docs, `{"id":"no number"}`)
			} else if failed {
				m.docs = slices.DeleteFunc(m.docs, func(d string) bool { return d == `{"id":"no number"}` })
			}
		}
		err = w.again(state, from)
		w.source.before = nil
		if failed != (err != nil) { // what a source cannot read is fatal here
			t.Fatal(round, err)
		}
		if failed {
			w.source.set(numbered(0, 30, v)...)
			if from, err = verify.Whole(t.Context(), n, w.source.schema); err == nil {
				err = w.again(state, from)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.want(30, 0, 0, 0)
	}
}

// TestALaneThatBeginsAgain reads the part that was not durable again, and none before it.
func TestALaneThatBeginsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.source.set(numbered(0, 30, "x")...)
	from, err := verify.Whole(t.Context(), w.source, w.source.schema)
	if err != nil {
		t.Fatal(err)
	}
	read := func(at record.Position, chunks int) (to record.Position, first int64) {
		t.Helper()
		r, err := from.Open(t.Context(), sources.Lane{}, at)
		if err != nil {
			t.Fatal(err)
		}
		for i := range chunks {
			chunk, err := r.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if to = chunk.To; i == 0 {
				first = chunk.Batches[0].Columns[0].Int(0)
			}
			chunk.Release()
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return to, first
	}
	to, first := read("", 5) // parts of five rows, in chunks of three and two
	if to != "reread/5" || first != 0 {
		t.Error(to, first)
	}
	if to, first = read("reread/3", 2); first != 5 || to != "reread/5" {
		t.Error(to, first)
	}
	if _, first = read("reread/4", 1); first != 5 { // the first half of the part has this number now
		t.Error(first)
	}
	if _, err := from.Open(t.Context(), sources.Lane{}, "l:1"); err == nil {
		t.Error("a position of another source was taken")
	}
}

// TestDrained is told when all is durable, and not when it is read.
func TestDrained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.source.set(numbered(0, 4, "x")...)
	from, err := verify.Whole(t.Context(), w.source, w.source.schema)
	if err != nil {
		t.Fatal(err)
	}
	r, err := from.Open(t.Context(), sources.Lane{}, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := r.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the end: %v", err)
	}
	for _, to := range []record.Position{"reread/1", "reread/2"} {
		select {
		case <-from.Drained():
			t.Errorf("drained before %s is durable", to)
		default:
		}
		if err := r.Settle(t.Context(), to, nil); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-from.Drained():
	case <-time.After(time.Minute):
		t.Error("not drained")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(t.Context()); err == nil {
		t.Error("a closed reader gives something")
	}
}
