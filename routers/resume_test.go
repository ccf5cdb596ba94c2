package routers

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// growing is a generator whose lanes have more chunks each time, and which says so.
type growing struct {
	*generator
	most  int  // chunks
	lying bool // it says that there is more where there is nothing
	asked int
	last  record.Position
}

func (g *growing) More(_ context.Context, _ sources.Lane, at record.Position) (bool, error) {
	g.asked++
	g.last = at
	if g.lying {
		return true, nil
	}
	n, err := chunkOf(at)
	g.chunks = min(n+1, g.most)
	return n < g.most, err
}

func (g *growing) run(t *testing.T, store Store) *Run {
	t.Helper()
	run, err := New(Pipeline{Name: "p", Source: g, Sinks: []NamedSink{{"idle", &idle{}}}}, Options{Store: store, Log: (&logBuffer{}).logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return run
}

// An ended lane that has more is read on, in the same run and in the next, each record once.
func TestEndedLanesAreReadOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		for _, want := range []struct{ from, to int }{{0, 5}, {5, 5}, {5, 9}} {
			g := &growing{generator: &generator{lanes: 1, chunks: max(2, want.from), rows: 10}, most: want.to}
			run := g.run(t, store)
			s := run.Status()
			if s.RowsRead != int64(10*(want.to-want.from)) || s.State != Ended || string(g.last) != strconv.Itoa(want.to) {
				t.Errorf("%+v: read %d rows, %s, last at %s", want, s.RowsRead, s.State, g.last)
			}
		}
	})
}

// A source that sees more where nothing is does not keep the run going.
func TestNothingMoreEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newMemory()
		g := &growing{generator: &generator{lanes: 1, chunks: 3, rows: 10}, lying: true}
		if s := g.run(t, store).Status(); s.RowsRead != 30 || s.State != Ended {
			t.Errorf("read %d rows, %s", s.RowsRead, s.State)
		}
		if g.asked > 3 {
			t.Errorf("it was asked %d times", g.asked)
		}
	})
}
