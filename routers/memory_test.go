package routers

import (
	"context"
	"runtime"
	"testing"
	"time"
	"weak"

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
