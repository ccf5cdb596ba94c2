package routers

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// memory is a store for tests of time: it keeps all in a map, and fences as the real one.
type memory struct {
	mu    sync.Mutex
	lanes map[checkpoint.Lane]checkpoint.State
}

func newMemory() *memory { return &memory{lanes: map[checkpoint.Lane]checkpoint.State{}} }

func (m *memory) Acquire(_ context.Context, lane checkpoint.Lane) (checkpoint.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.lanes[lane]
	st.Epoch++
	m.lanes[lane] = st
	return st, nil
}

func (m *memory) change(lane checkpoint.Lane, epoch int64, in checkpoint.Intent, do func(*checkpoint.State)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.lanes[lane]
	if st.Epoch != epoch || st.Group != in.Group-1 {
		return checkpoint.ErrFenced
	}
	do(&st)
	m.lanes[lane] = st
	return nil
}

func (m *memory) SaveIntent(_ context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	return m.change(lane, epoch, in, func(st *checkpoint.State) { st.Pending = &in })
}

func (m *memory) SaveCheckpoint(_ context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	return m.change(lane, epoch, in, func(st *checkpoint.State) {
		st.Group, st.Position, st.Ended, st.Pending = in.Group, in.To, in.Ended, nil
	})
}

func (m *memory) Ended(_ context.Context, pipeline string) (map[string]record.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended := map[string]record.Position{}
	for lane, st := range m.lanes {
		if lane.Pipeline == pipeline && st.Ended {
			ended[lane.ID] = st.Position
		}
	}
	return ended, nil
}

// idle is a sink that takes all and keeps nothing.
type idle struct{}

func (i *idle) Open(context.Context, sinks.Lane) (sinks.Writer, error) { return i, nil }
func (i *idle) Close(context.Context) error                            { return nil }
func (i *idle) Write(context.Context, *record.Batch) error             { return nil }
func (i *idle) Cut(sinks.Group) sinks.Staging                          { return i }
func (i *idle) Stage(context.Context) (sinks.Manifest, error)          { return sinks.Manifest{}, nil }
func (i *idle) Publish(context.Context, sinks.Manifest) error          { return nil }

// repeated is a source that gives the same batch a number of times.
type repeated struct {
	batch *record.Batch
	left  int
}

func (s *repeated) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "0"}}, nil
}

func (s *repeated) Open(context.Context, sources.Lane, record.Position) (sources.Reader, error) {
	return s, nil
}

func (s *repeated) Read(context.Context) (record.Chunk, error) {
	if s.left--; s.left < 0 {
		return record.Chunk{}, io.EOF
	}
	return record.Chunk{Batches: []*record.Batch{s.batch.With(s.batch.Schema, s.batch.Columns)}, To: "x"}, nil
}

func (s *repeated) Settle(context.Context, record.Position, error) error { return nil }
func (s *repeated) Close() error                                         { return nil }

func openBench(b *testing.B) *checkpoint.Store {
	b.Helper()
	store, err := checkpoint.Open(b.Context(), filepath.Join(b.TempDir(), "state.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return store
}

// The waits between restarts double up to the longest, give or take a fifth, and begin anew after a commit.
func TestRestartsBackOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var reads []time.Time
		g := &generator{lanes: 1, chunks: 6, rows: 1}
		g.readErr = func(_ string, chunk int) error {
			if chunk == 3 && len(reads) < 8 || chunk == 5 && len(reads) < 11 {
				reads = append(reads, time.Now())
				return fault.Retry(errors.New("throttled"))
			}
			return nil
		}
		run, err := New(Pipeline{
			Name: "p", Source: g, Sinks: []NamedSink{{"idle", &idle{}}}, Limits: Limits{Rows: 1},
			Retry: Retry{Initial: time.Second, Longest: 20 * time.Second},
		}, Options{Store: newMemory(), Log: (&logBuffer{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []int{1, 2, 4, 8, 16, 20, 20, 20, 1, 2} // before each failed read but the first; after the last 20, a commit
		for i, seconds := range want {
			d := time.Duration(seconds) * time.Second
			got := reads[i+1].Sub(reads[i])
			if got < d*8/10 || got > d*12/10 {
				t.Errorf("wait %d was %v, want about %v", i, got, d)
			}
		}
	})
}

func TestRetriesGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		g := &generator{lanes: 1, chunks: 3, rows: 1}
		g.readErr = func(string, int) error {
			tries++
			return fault.Retry(errors.New("throttled"))
		}
		run, err := New(Pipeline{Name: "p", Source: g, Sinks: []NamedSink{{"idle", &idle{}}}, Retry: Retry{Max: 4}},
			Options{Store: newMemory(), Log: (&logBuffer{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		if err := run.Run(t.Context()); err == nil || tries != 5 {
			t.Errorf("%d tries, %v", tries, err)
		}
		if s := run.Status(); s.State != Failed {
			t.Errorf("%+v", s)
		}
	})
}

// While a lane waits for its next try it says so, and a stop does not wait for it.
func TestStopWhileRetrying(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &generator{lanes: 1, chunks: 3, rows: 1}
		g.readErr = func(string, int) error { return fault.Retry(errors.New("throttled")) }
		run, err := New(Pipeline{
			Name: "p", Source: g, Sinks: []NamedSink{{"idle", &idle{}}}, Retry: Retry{Initial: time.Hour, Longest: time.Hour},
		}, Options{Store: newMemory(), Log: (&logBuffer{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- run.Run(t.Context()) }()
		synctest.Wait()
		if f := run.Status().Fault(); f != "pipeline p, lane 0 is retrying: throttled" {
			t.Error(f)
		}
		began := time.Now()
		run.Stop()
		if err := <-done; err != nil || time.Since(began) > time.Second {
			t.Error(err, time.Since(began))
		}
		if s := run.Status(); s.State != Stopped {
			t.Errorf("%+v", s)
		}
	})
}

// changing is a source whose lanes come and go, and which can fail to list them.
type changing struct {
	*generator
	mu    sync.Mutex
	lanes []sources.Lane
	err   error
	asked int
}

func (c *changing) Lanes(context.Context) ([]sources.Lane, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.lanes, c.err
}

func (c *changing) set(err error, lanes ...sources.Lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lanes, c.err = lanes, err
}

func (c *changing) Lag(context.Context) (sources.Lag, error) { return sources.Lag{Records: 7}, nil }

func TestLanesAppear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &changing{generator: &generator{chunks: 100, rows: 1, pace: time.Second}}
		c.set(fault.Retry(errors.New("not yet")))
		run, err := New(Pipeline{Name: "p", Source: c, Sinks: []NamedSink{{"idle", &idle{}}}, Refresh: 10 * time.Second, Limits: Limits{Rows: 1}},
			Options{Store: newMemory(), Log: (&logBuffer{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- run.Run(t.Context()) }()
		synctest.Wait()
		if f := run.Status().Fault(); f != "pipeline p is retrying: list lanes: not yet" {
			t.Error(f)
		}
		c.set(nil, sources.Lane{ID: "0"})
		wait(t.Context(), time.Minute, nil)
		if s := run.Status(); len(s.Lanes) != 1 || s.State != Running || s.Lag == nil || s.Lag.Records != 7 || s.RowsPerSecond < 0.8 || s.RowsPerSecond > 1 {
			t.Errorf("%+v", s)
		}
		c.set(nil, sources.Lane{ID: "0"}, sources.Lane{ID: "1"}, sources.Lane{ID: "2", After: []string{"1"}})
		wait(t.Context(), time.Minute, nil)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		var states []string
		for _, l := range run.Status().Lanes {
			states = append(states, l.ID+" "+string(l.State)+" "+string(l.Position))
		}
		if diff := cmp.Diff([]string{"0 ended 100", "1 ended 100", "2 ended 100"}, states); diff != "" {
			t.Error(diff)
		}
		if c.asked < 20 || c.asked > 50 {
			t.Errorf("asked %d times", c.asked)
		}
	})
}

// telling is a source that reports, and whose lanes know how far they are behind.
type telling struct {
	*generator
	fails atomic.Bool
}

func (s *telling) Report(context.Context) (sources.Report, error) {
	if s.fails.Load() {
		panic("seeded")
	}
	return sources.Report{Held: 7, Loss: 3 * time.Hour, Streams: []sources.StreamReport{{Stream: "gen", Loss: 2 * time.Hour}}}, nil
}

func (s *telling) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	r, err := s.generator.Open(ctx, lane, from)
	if g, ok := r.(*genReader); ok {
		return &behindReader{g}, err
	}
	return r, err
}

type behindReader struct{ *genReader }

func (r *behindReader) Lag(context.Context) (sources.Lag, error) {
	lag := sources.Lag{Records: 5, Age: time.Duration(r.number+1) * time.Minute}
	if r.number == 1 {
		lag.Loss = 9 * time.Hour
	}
	return lag, nil
}

// What the source reports is in the status, as are the lags of its lanes together; a report that fails harms nothing, and
// what was told before stays.
func TestStatusTellsOfTheSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &telling{generator: &generator{lanes: 2, chunks: 100, rows: 1, pace: time.Second}}
		run, err := New(Pipeline{Name: "p", Source: s, Sinks: []NamedSink{{"idle", &idle{}}}}, Options{Store: newMemory(), Log: (&logBuffer{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- run.Run(t.Context()) }()
		wait(t.Context(), 15*time.Second, nil)
		s.fails.Store(true)
		wait(t.Context(), 15*time.Second, nil)
		st := run.Status()
		if st.Source == nil || st.Source.Held != 7 || st.Loss() != 2*time.Hour {
			t.Errorf("source %+v, loss %s", st.Source, st.Loss())
		}
		if diff := cmp.Diff(&sources.Lag{Records: 10, Age: 2 * time.Minute, Loss: 9 * time.Hour}, st.Lag); diff != "" {
			t.Error(diff)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if st := run.Status(); st.Lag != nil || st.Source == nil {
			t.Errorf("after the end: lag %+v, source %+v", st.Lag, st.Source)
		}
	})
}
