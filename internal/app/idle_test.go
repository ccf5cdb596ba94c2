package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// tide is a source with one lane that ends and one that is endless, and that gives its last row long after the others.
type tide struct {
	host     sources.Host
	ends     func() error // of the lane that ends
	late     time.Duration
	draining atomic.Bool
	service  *Service // that has run it
}

func (s *tide) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "copy", Replayable: true}, {ID: "follow", Replayable: true, Endless: true}}, nil
}

func (s *tide) Open(_ context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	return &tideReader{tide: s, lane: lane, at: from, closed: make(chan struct{})}, nil
}

func (s *tide) Report(context.Context) (sources.Report, error) {
	return sources.Report{Held: 7, Loss: 2 * time.Hour}, nil
}

func (s *tide) Drain() { s.draining.Store(true) }

type tideReader struct {
	*tide
	lane   sources.Lane
	at     record.Position
	closed chan struct{}
}

func (r *tideReader) Read(ctx context.Context) (record.Chunk, error) {
	switch {
	case r.lane.ID == "copy":
		return record.Chunk{}, r.ends()
	case r.at != "" && r.draining.Load():
		return record.Chunk{}, io.EOF
	}
	wait := time.NewTimer(r.late)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	case <-r.closed:
		return record.Chunk{}, io.ErrClosedPipe
	}
	schema, err := record.NewSchema("tide", nil, record.Field{Name: "n", Kind: record.Int64})
	if err != nil {
		return record.Chunk{}, err
	}
	n, err := r.host.State.Next(ctx, "tide")
	if err != nil {
		return record.Chunk{}, err
	}
	b := record.NewBuilder(schema, 1)
	b.Int(0, int64(n)) //nolint:gosec // small
	b.Next()
	r.at = record.Position(strconv.FormatUint(n, 10))
	return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: r.at}, r.host.State.Save(ctx, "last", []byte(r.at))
}

func (r *tideReader) Settle(context.Context, record.Position, error) error { return nil }

func (r *tideReader) Close() error {
	close(r.closed)
	return nil
}

// flood runs a tide until it is idle, which the clock says after half a second, and gives how many rows were committed.
func flood(t *testing.T, dir string, late time.Duration, ends func() error) (rows int64, source *tide, err error) {
	t.Helper()
	plugins := catalog.Default()
	source = &tide{late: late, ends: ends}
	plugins.Sources = append(plugins.Sources, sources.Plugin{
		Type: "tide", Config: func() any { return &struct{}{} },
		New: func(_ context.Context, _ any, host sources.Host) (sources.Source, error) {
			source.host = host
			return source, nil
		},
	})
	path := filepath.Join(dir, "tide.yaml")
	text := "version: 1\nsources:\n  tide: { type: tide }\nsinks:\n  nowhere: { type: discard }\npipelines:\n  tides: { from: tide, to: [nowhere] }\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	project, problems, err := LoadProject(t.Context(), plugins, []string{path}, os.LookupEnv)
	if err != nil || problems.Errors() {
		t.Fatal(problems, err)
	}
	s, err := project.Open(t.Context(), ServiceOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	source.service = s
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = s.Run(ctx, 500*time.Millisecond)
	rows = s.Status()[0].RowsCommitted
	if ctx.Err() != nil {
		err = fmt.Errorf("it was not idle in time: %w", errors.Join(ctx.Err(), err))
	}
	if closed := s.Close(t.Context()); closed != nil {
		t.Fatal(closed)
	}
	return rows, source, err
}

// A source that drains says itself when nothing is left, however long it takes.
func TestDrainedSourceIsNotTimedOut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for run := range 2 { // the second has the counter and the note of the first
		rows, source, err := flood(t, dir, 1500*time.Millisecond, func() error { return io.EOF })
		if run == 0 && (rows != 1 || err != nil) {
			t.Errorf("run %d: %d rows, %v", run, rows, err)
		}
		if run == 1 && (rows != 0 || err != nil) { // ended, and no Resumer says that there is more
			t.Errorf("run %d: %d rows, %v", run, rows, err)
		}
		if state, ok := source.host.State.(*sourceState); !ok || state.pipeline != "tides" {
			t.Errorf("state %+v", source.host.State)
		}
	}
}

// A lane that has failed for good may be what the source waits for: then the clock ends the run.
func TestFailedLaneDoesNotKeepADrainingRun(t *testing.T) {
	t.Parallel()
	_, _, err := flood(t, t.TempDir(), time.Hour, func() error { return fault.Stop(errors.New("the table is gone")) })
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestSourceState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := opened(t, dir, "")
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o750); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	one, two := &sourceState{s.state, "one"}, &sourceState{s.state, "two"}
	for _, state := range []*sourceState{one, two} {
		for want := uint64(1); want <= 2; want++ {
			if n, err := state.Next(ctx, "orders"); n != want || err != nil {
				t.Error(state.pipeline, n, err)
			}
		}
	}
	if err := errors.Join(one.Save(ctx, "k", []byte("v")), two.Save(ctx, "k", nil)); err != nil {
		t.Fatal(err)
	}
	v, err := one.Load(ctx, "k")
	none, err2 := two.Load(ctx, "k")
	if string(v) != "v" || none != nil || errors.Join(err, err2) != nil {
		t.Errorf("%q, %q, %v %v", v, none, err, err2)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}
