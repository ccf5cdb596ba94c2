package routers

import (
	"context"
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// river is a generator of which the lanes from a number on are endless: they wait for more than a number of chunks until
// they are drained.
type river struct {
	*generator
	endless  int // number of the first
	given    atomic.Int64
	draining atomic.Bool
	shown    atomic.Int64 // lanes that are listed
	asked    atomic.Int64
}

func newRiver(lanes, endless int, g *generator) *river {
	g.lanes = lanes
	v := &river{generator: g, endless: endless}
	v.shown.Store(int64(lanes))
	v.given.Store(int64(g.chunks))
	return v
}

func (v *river) Lanes(ctx context.Context) ([]sources.Lane, error) {
	lanes, err := v.generator.Lanes(ctx)
	for i := range lanes {
		lanes[i].Endless = i >= v.endless
	}
	return lanes[:v.shown.Load()], err
}

func (v *river) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	r, err := v.generator.Open(ctx, lane, from)
	if g, ok := r.(*genReader); ok && lane.Endless {
		return &riverReader{g, v}, nil
	}
	return r, err
}

// More says yes whatever there is: an endless lane may always get more.
func (v *river) More(_ context.Context, lane sources.Lane, _ record.Position) (bool, error) {
	v.asked.Add(1)
	return lane.Endless, nil
}

type riverReader struct {
	*genReader
	river *river
}

func (r *riverReader) Read(ctx context.Context) (record.Chunk, error) {
	for int64(r.next) >= r.river.given.Load() {
		if r.river.draining.Load() {
			return record.Chunk{}, io.EOF
		}
		if !wait(ctx, 20*time.Millisecond, r.closed) {
			return record.Chunk{}, errors.Join(ctx.Err(), io.ErrClosedPipe)
		}
	}
	return r.genReader.Read(ctx)
}

func states(run *Run) map[State]int {
	counted := map[State]int{}
	for _, l := range run.Status().Lanes {
		counted[l.State]++
	}
	return counted
}

// Endless lanes take no slot: two slots serve the six lanes that end while fifty others follow. A lane that appears later
// is followed, one that fails stops nobody, and a stop ends them all.
func TestEndlessLanesTakeNoSlot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := newRiver(57, 6, &generator{chunks: 20, rows: 1, pace: time.Second})
		v.shown.Store(56)
		v.given.Store(5)
		var sick atomic.Bool
		v.readErr = func(lane string, _ int) error {
			if lane == "9" && sick.Load() {
				return fault.Stop(errors.New("the table is gone"))
			}
			return nil
		}
		run, err := New(Pipeline{Name: "p", Source: v, Sinks: []NamedSink{{"idle", &idle{}}}, Slots: 2, Limits: Limits{Rows: 1}},
			Options{Store: newMemory(), Log: (&logBuffer{}).logger()})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- run.Run(t.Context()) }()
		wait(t.Context(), 8*time.Second, nil)
		if s := run.Status(); s.RowsCommitted < 50*5+2*7 || states(run)[Running] != 52 || states(run)[Waiting] != 4 {
			t.Errorf("after 8 s %d rows are committed, and lanes are %v", s.RowsCommitted, states(run))
		}
		wait(t.Context(), 70*time.Second, nil)
		if got := states(run); got[Ended] != 6 || got[Running] != 50 {
			t.Errorf("the lanes that end are over, and lanes are %v", got)
		}
		v.shown.Store(57)
		sick.Store(true)
		v.given.Store(9)
		wait(t.Context(), 30*time.Second, nil)
		s := run.Status()
		if got := states(run); got[Ended] != 6 || got[Running] != 50 || got[Failed] != 1 || s.RowsCommitted != 6*20+50*9+5 {
			t.Errorf("one lane more, one failed: %d rows, lanes are %v", s.RowsCommitted, got)
		}
		run.Stop()
		if err := <-done; err == nil || fault.Of(err) != fault.Fatal {
			t.Error(err)
		}
		if got := states(run); got[Stopped] != 50 {
			t.Errorf("stopped, and lanes are %v", got)
		}
	})
}

// A run of endless lanes that are drained ends by itself, without asking whether there is more; the next one goes on.
func TestDrainedLanesAreReadOnInTheNextRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := newRiver(5, 2, &generator{chunks: 9, rows: 10})
	v.draining.Store(true)
	for run, given := range []int64{4, 4, 9} {
		v.given.Store(given)
		s := r.mustRun(t, r.pipeline(v)).Status()
		if s.State != Ended {
			t.Errorf("run %d: %+v", run, s)
		}
		for _, l := range s.Lanes {
			want := strconv.FormatInt(given, 10)
			if l.ID < "2" {
				want = "9"
			}
			if run == 0 && string(l.Position) != want {
				t.Errorf("run %d, lane %s stands at %s, want %s", run, l.ID, l.Position, want)
			}
		}
		if run == 0 && v.asked.Load() != 2 {
			t.Errorf("in the first run it was asked %d times for more", v.asked.Load())
		}
	}
	check(t, r.out.root, v.generator)
}

// The run that drained its lanes died before the last checkpoint. The next one rolls it forward, and follows.
func TestLaneIsFollowedAfterItsEndWasRolledForward(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v := newRiver(1, 0, &generator{chunks: 9, rows: 10})
	v.given.Store(4)
	v.draining.Store(true)
	p := r.pipeline(v)
	p.Limits = Limits{Rows: 1000, Age: time.Hour}
	first, err := New(p, Options{Store: &dyingStore{r.store}, Log: r.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Run(t.Context()); err == nil {
		t.Fatal("the first run did not fail")
	}
	v.draining.Store(false)
	v.given.Store(9)
	p = r.pipeline(v)
	run := r.run(t, p)
	done := make(chan error, 1)
	go func() { done <- run.Run(t.Context()) }()
	deadline := time.Now().Add(20 * time.Second)
	for run.Status().RowsCommitted < 50 && time.Now().Before(deadline) {
		wait(t.Context(), time.Millisecond, nil)
	}
	run.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	check(t, r.out.root, v.generator)
}

// dyingStore saves intents, and not the checkpoint that ends a lane.
type dyingStore struct{ Store }

func (d *dyingStore) SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	if in.Ended {
		return fault.Stop(errors.New("the disk is gone"))
	}
	return d.Store.SaveCheckpoint(ctx, lane, epoch, in)
}
