package routers

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// hoarder is a sink that keeps the batches of its open group until they are staged, as a sorter does, and says so.
type hoarder struct {
	mu            sync.Mutex
	rows, largest int
}

type hoarderWriter struct {
	*hoarder
	kept []*record.Batch
}

func (h *hoarder) Open(context.Context, sinks.Lane) (sinks.Writer, error) {
	return &hoarderWriter{hoarder: h}, nil
}
func (h *hoarder) Close(context.Context) error { return nil }

func (w *hoarderWriter) Write(_ context.Context, b *record.Batch) error {
	w.kept = append(w.kept, b.Retain())
	return nil
}

func (w *hoarderWriter) Held() int { return 100 * len(w.kept) }

func (w *hoarderWriter) Cut(sinks.Group) sinks.Staging {
	s := &hoarderStaging{w.hoarder, w.kept}
	w.kept = nil
	return s
}

func (w *hoarderWriter) Publish(context.Context, sinks.Manifest) error { return nil }

func (w *hoarderWriter) Close(context.Context) error {
	for _, b := range w.kept {
		b.Release()
	}
	return nil
}

type hoarderStaging struct {
	*hoarder
	kept []*record.Batch
}

func (s *hoarderStaging) Stage(context.Context) (sinks.Manifest, error) {
	runtime.Gosched()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, len(s.kept))
	for _, b := range s.kept {
		s.rows += b.Rows
		b.Release()
	}
	return sinks.Manifest{}, nil
}

// Groups are so large that only the budget closes them: whatever it is, the lanes get to the end, and all is given back.
func TestBudgetNeverLocks(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int{1, 300, 2_000, 10_000, 100_000} {
		t.Run(fmt.Sprint(bytes), func(t *testing.T) {
			t.Parallel()
			budget := NewBudget(bytes)
			r := newRig(t)
			var all sync.WaitGroup
			for i := range 3 {
				h := &hoarder{}
				p := r.pipeline(&generator{lanes: 4, chunks: 60, rows: 1 + i*5})
				p.Name, p.Sinks = fmt.Sprint(i), []NamedSink{{"hoarder", h}}
				p.Limits = Limits{Age: time.Hour}
				run, err := New(p, Options{Store: r.store, Log: r.log.logger(), Budget: budget})
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					if err := run.Run(t.Context()); err != nil {
						t.Error(err)
					}
					if want := 4 * 60 * (1 + i*5); h.rows != want {
						t.Errorf("%d rows, want %d", h.rows, want)
					}
					if bytes <= 2_000 && h.largest > 20 {
						t.Errorf("a group held %d batches", h.largest)
					}
				})
			}
			all.Wait()
			if n := budget.Used(); n != 0 {
				t.Errorf("%d bytes are still charged", n)
			}
		})
	}
}

// The peak of what is charged stays near the limit: above it, each lane may have its reserved chunk and two prefetched.
func TestBudgetBounds(t *testing.T) {
	t.Parallel()
	const limit, lanes, rows = 200_000, 4, 100
	chunk := batchSize(rows)
	budget := NewBudget(limit)
	r := newRig(t)
	p := r.pipeline(&generator{lanes: lanes, chunks: 200, rows: rows})
	p.Sinks = []NamedSink{{"hoarder", &hoarder{}}}
	p.Limits = Limits{Age: time.Hour}
	peak := 0
	run, err := New(p, Options{Store: r.store, Log: r.log.logger(), Budget: budget, Probe: func(point string) {
		if point == accepted {
			r.log.mu.Lock()
			defer r.log.mu.Unlock()
			peak = max(peak, budget.Used())
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if most := limit + lanes*3*chunk; peak > most || peak < limit/2 {
		t.Errorf("peak %d, limit %d, allowed %d", peak, limit, most)
	}
}

func batchSize(rows int) int {
	g := &generator{rows: rows, chunks: 1}
	r := &genReader{generator: g}
	c, _ := r.Read(context.Background())
	return c.Batches[0].Size()
}

// The lane that holds most closes its group; the others go on filling theirs.
func TestBudgetPressesTheLargest(t *testing.T) {
	t.Parallel()
	b := NewBudget(1000)
	small, large := b.account(), b.account()
	small.accepted(100)
	large.accepted(700)
	if len(small.press)+len(large.press) != 0 {
		t.Fatal("pressed before memory ran out")
	}
	small.accepted(400)
	if len(small.press) != 0 || len(large.press) != 1 {
		t.Fatal("not the largest was pressed")
	}
	large.cut()
	if b.Used() != 1100 || len(large.press) != 0 {
		t.Fatal("a group that is being committed holds its memory")
	}
	large.committed()
	if b.Used() != 400 {
		t.Fatal(b.Used())
	}
	small.close()
	large.close()
	if b.Used() != 0 || len(b.accounts) != 0 {
		t.Fatal(b.Used())
	}
}

// A lane that holds nothing may read one chunk, though all memory is held by groups that cannot be closed any more.
func TestBudgetReserve(t *testing.T) {
	t.Parallel()
	b := NewBudget(100)
	stuck, other := b.account(), b.account()
	defer stuck.close()
	defer other.close()
	stuck.accepted(200)
	stuck.cut()
	if err := other.room(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What the writers hold comes back when their group is committed, not only when the lane ends.
func TestHeldComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	box := newMailbox()
	p := r.pipeline(box)
	p.Sinks = []NamedSink{{"hoarder", &hoarder{}}}
	run := r.run(t, p)
	done := make(chan error)
	go func() { done <- run.Run(t.Context()) }()
	for id := range int64(3) {
		if err := box.put(t, id); err != nil {
			t.Error(err)
		}
	}
	for run.Status().Held != 0 && wait(t.Context(), time.Millisecond, nil) {
	}
	run.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What a panic leaves unreleased is given back when the incarnation ends.
func TestBudgetForgivesLeaks(t *testing.T) {
	t.Parallel()
	b := NewBudget(1000)
	a := b.account()
	leaked := record.NewBuilder(rowSchema, 10).Batch(nil)
	a.charge(record.Chunk{Batches: []*record.Batch{leaked}})
	if b.Used() == 0 {
		t.Fatal("nothing was charged")
	}
	a.close()
	leaked.Release()
	if b.Used() != 0 {
		t.Fatal(b.Used())
	}
}

// A read that waits for memory ends with its lane.
func TestBudgetWaitEnds(t *testing.T) {
	t.Parallel()
	b := NewBudget(100)
	a := b.account()
	defer a.close()
	a.accepted(200)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.room(ctx) }()
	cancel()
	if err := <-done; err == nil {
		t.Fatal("there was room")
	}
	go func() { done <- a.room(t.Context()) }()
	a.cut()
	a.committed()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func BenchmarkChunk(b *testing.B) {
	for _, rows := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("%d-rows", rows), func(b *testing.B) {
			one := record.NewBuilder(rowSchema, rows)
			for range rows {
				one.Next()
			}
			source := &repeated{batch: one.Batch(nil), left: b.N}
			store := openBench(b)
			run, err := New(Pipeline{
				Name: "p", Source: source, Sinks: []NamedSink{{"table", &idle{}}}, Limits: Limits{Rows: 1 << 62, Bytes: 1 << 62, Age: time.Hour},
			}, Options{Store: store, Log: (&logBuffer{}).logger()})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := run.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkProtocol compares the engine with and without intents: groups of a second's worth of data and their files.
func BenchmarkProtocol(b *testing.B) {
	for _, without := range []string{"", "intent"} {
		b.Run("without-"+without, func(b *testing.B) {
			dir := b.TempDir()
			g := &generator{lanes: 1, chunks: b.N, rows: 1000}
			run, err := New(Pipeline{
				Name: "p", Source: g, Sinks: []NamedSink{{"out", newFolder(filepath.Join(dir, "out"))}},
				Limits: Limits{Rows: 100_000, Age: time.Hour},
			}, Options{Store: openBench(b), Log: (&logBuffer{}).logger()})
			if err != nil {
				b.Fatal(err)
			}
			run.protocol = weakSteps(without)
			b.ResetTimer()
			if err := run.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// A lane is busy while a chunk goes through it and while a group is committed, not while its group waits for more.
func TestBusy(t *testing.T) {
	t.Parallel()
	a := NewBudget(0).account()
	for i, c := range []struct {
		do   func()
		want bool
	}{
		{func() {}, false},
		{func() { a.deliver(true) }, true},
		{func() { a.accepted(100) }, true},
		{func() { a.deliver(false) }, false}, // the group is open
		{a.cut, true},
		{func() { a.deliver(true) }, true},
		{a.committed, true},
		{func() { a.deliver(false) }, false},
		{func() { a.deliver(true) }, true},
		{a.close, false},
	} {
		if c.do(); a.busy() != c.want {
			t.Errorf("step %d: busy is %v", i, a.busy())
		}
	}
}
