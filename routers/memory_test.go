package routers

import (
	"context"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// forgetful is a sink that keeps no batch, and counts at its last one how many of them are alive.
type forgetful struct {
	sinks.Sink
	after int // batches
	seen  []weak.Pointer[record.Batch]
	alive int
}

func (f *forgetful) Open(context.Context, sinks.Lane) (sinks.Writer, error) {
	return &forgetfulWriter{forgetful: f}, nil
}

type forgetfulWriter struct {
	sinks.Writer
	*forgetful
}

func (w *forgetfulWriter) Write(_ context.Context, b *record.Batch) error {
	w.seen = append(w.seen, weak.Make(b))
	if len(w.seen) == w.after {
		runtime.GC()
		for _, p := range w.seen {
			if p.Value() != nil {
				w.alive++
			}
		}
	}
	return nil
}

func (w *forgetfulWriter) Cut(sinks.Group) sinks.Staging { return w }

func (w *forgetfulWriter) Stage(context.Context) (sinks.Manifest, error) {
	return sinks.Manifest{}, nil
}

func (w *forgetfulWriter) Close(context.Context) error { return nil }

// TestAcceptedBatchesAreLetGo wants that a batch which every sink has taken is free, however long its group stays open:
// a group may have a thousand chunks.
func TestAcceptedBatchesAreLetGo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sink := &forgetful{after: 100}
	p := r.pipeline(&generator{lanes: 1, chunks: 100, rows: 10})
	p.Sinks = []NamedSink{{"forgetful", sink}}
	p.Limits = Limits{Rows: 1 << 20, Age: time.Hour}
	r.mustRun(t, p)
	if sink.alive == 0 || sink.alive > 5 { // that of the sink, and what is read ahead
		t.Errorf("%d of %d batches are alive", sink.alive, len(sink.seen))
	}
}

// What steps remember is charged, for as long as the run lasts; where it would be more than half of the budget the pipeline stops.
func TestWhatStepsRememberIsCharged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limit int
		code  string
	}{"it fits": {4 << 20, ""}, "no limit": {0, ""}, "it does not": {200_000, "ACQ-RUN-007"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, g := newRig(t), &generator{lanes: 2, chunks: 40, rows: 100}
			p := r.pipeline(g)
			if err := giveCopies(&p, g); err != nil {
				t.Fatal(err)
			}
			budget, least := NewBudget(c.limit), 0
			run, err := New(p, Options{Store: r.store, Log: r.log.logger(), Budget: budget, Probe: func(point string) {
				if point == accepted {
					r.log.mu.Lock()
					defer r.log.mu.Unlock()
					least = max(least, budget.Used())
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			err = run.Run(t.Context())
			if fault.Code(err) != c.code || (err == nil) != (c.code == "") {
				t.Errorf("got %v, want %q", err, c.code)
			}
			if keys := 32 * g.total(); c.code == "" && least < keys {
				t.Errorf("at most %d bytes were charged, and the keys alone take %d", least, keys)
			}
			if n := budget.Used(); n != 0 {
				t.Errorf("%d bytes are still charged", n)
			}
		})
	}
}
