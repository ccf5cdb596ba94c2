package discard_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/discard"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

// The sink keeps no rows, so the suite holds it to their number.
func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Harness{
		StageShows: true, // there is nothing to publish
		New: func(*testing.T) sinktest.Place {
			var mu sync.Mutex
			var made []*discard.Sink
			return sinktest.Place{
				Sink: func() (sinks.Sink, error) {
					mu.Lock()
					defer mu.Unlock()
					made = append(made, discard.New(slog.New(slog.DiscardHandler)))
					return made[len(made)-1], nil
				},
				Count: func() (n int, err error) {
					mu.Lock()
					defer mu.Unlock()
					for _, s := range made {
						n += int(s.Rows())
					}
					return n, nil
				},
			}
		},
	})
}

func TestTheCountIsLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := discard.Plugin()
	s, err := p.New(t.Context(), p.Config(), sinks.Host{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := sinktest.Schema()
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(schema, 3)
	for range 3 {
		b.Next()
	}
	w, err := s.Open(t.Context(), sinks.Lane{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), b.Batch(nil)); err != nil {
		t.Fatal(err)
	}
	if m, err := w.Cut(sinks.Group{}).Stage(t.Context()); err != nil || len(m.Files) > 0 {
		t.Fatal(m, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "rows=3") {
		t.Errorf("the log says %q", log.String())
	}
	if _, err := p.New(t.Context(), nil, sinks.Host{}); err == nil {
		t.Error("settings of another type were taken")
	}
}
