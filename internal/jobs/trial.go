package jobs

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"sync"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// TrialSink stands for a sink of the pipeline under trial.
type TrialSink struct {
	Name    string
	Refuses func(b *record.Batch) error // names the rows that the sink would refuse; nil: none
}

// Outcome is what a trial gives.
type Outcome struct {
	Batches map[string][]*record.Batch // that reached each sink, in order
	Letters []checkpoint.DeadLetter
}

// Try puts a batch through the steps of a pipeline on the engine that runs it for good, but keeps no state and does no
// I/O: the source is the batch, and the sinks only remember.
func Try(ctx context.Context, name string, steps []routers.Step, to []TrialSink, batch *record.Batch) (Outcome, error) {
	t := &trial{stream: batch.Schema.Stream, batch: batch, out: Outcome{Batches: map[string][]*record.Batch{}}}
	p := routers.Pipeline{Name: name, Source: t, Steps: steps, Slots: 1, Retry: routers.Retry{Max: 1}}
	for _, s := range to {
		p.Sinks = append(p.Sinks, routers.NamedSink{Name: s.Name, Sink: &trialSink{trial: t, TrialSink: s}})
	}
	run, err := routers.New(p, routers.Options{Store: t, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return Outcome{}, err
	}
	err = run.Run(ctx)
	return t.out, err
}

// trial is the source of one batch, and the store of what becomes of it.
type trial struct {
	stream string

	mu    sync.Mutex
	batch *record.Batch // until it was read
	state checkpoint.State
	out   Outcome
}

var (
	_ sources.Source = (*trial)(nil)
	_ sources.Reader = (*trial)(nil)
	_ routers.Store  = (*trial)(nil)
)

// Lanes gives the one lane.
func (t *trial) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "test", Streams: []string{t.stream}}}, nil
}

// Open gives the trial itself.
func (t *trial) Open(context.Context, sources.Lane, record.Position) (sources.Reader, error) {
	return t, nil
}

// Read gives the batch, once.
func (t *trial) Read(context.Context) (record.Chunk, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.batch == nil {
		return record.Chunk{}, io.EOF
	}
	chunk := record.Chunk{Batches: []*record.Batch{t.batch}, To: "1"}
	t.batch = nil
	return chunk, nil
}

// Settle has nothing to confirm.
func (t *trial) Settle(context.Context, record.Position, error) error { return nil }

// Close has nothing to close.
func (t *trial) Close() error { return nil }

// Acquire gives what this trial has saved.
func (t *trial) Acquire(context.Context, checkpoint.Lane) (checkpoint.State, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Epoch++
	return t.state, nil
}

// SaveIntent has nothing to do: nothing survives a trial.
func (t *trial) SaveIntent(context.Context, checkpoint.Lane, int64, checkpoint.Intent) error {
	return nil
}

// SaveCheckpoint keeps the dead letters.
func (t *trial) SaveCheckpoint(_ context.Context, _ checkpoint.Lane, _ int64, in checkpoint.Intent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state.Group, t.state.Position, t.state.Ended = in.Group, in.To, in.Ended
	t.out.Letters = append(t.out.Letters, in.DeadLetters...)
	return nil
}

// Ended has no lanes to tell of.
func (t *trial) Ended(context.Context, string) (map[string]record.Position, error) {
	return map[string]record.Position{}, nil
}

// Remembered has nothing to tell of.
func (t *trial) Remembered(context.Context, string, string, string) iter.Seq2[checkpoint.Block, error] {
	return func(func(checkpoint.Block, error) bool) {}
}

// trialSink remembers what reaches it.
type trialSink struct {
	*trial
	TrialSink
}

// Open gives the sink itself: it is its writer.
func (s *trialSink) Open(context.Context, sinks.Lane) (sinks.Writer, error) {
	return trialWriter{s}, nil
}

// Close has nothing to close.
func (s *trialSink) Close(context.Context) error { return nil }

type trialWriter struct{ sink *trialSink }

// Write refuses what the sink would, and keeps the rest.
func (w trialWriter) Write(_ context.Context, b *record.Batch) error {
	if w.sink.Refuses != nil {
		if err := w.sink.Refuses(b); err != nil {
			return err
		}
	}
	w.sink.mu.Lock()
	defer w.sink.mu.Unlock()
	out := w.sink.out.Batches
	out[w.sink.Name] = append(out[w.sink.Name], b.Retain())
	return nil
}

// Cut ends a group of which nothing is staged.
func (w trialWriter) Cut(sinks.Group) sinks.Staging { return w }

// Stage stages nothing.
func (w trialWriter) Stage(context.Context) (sinks.Manifest, error) { return sinks.Manifest{}, nil }

// Publish has nothing to show.
func (w trialWriter) Publish(context.Context, sinks.Manifest) error { return nil }

// Close has nothing to close.
func (w trialWriter) Close(context.Context) error { return nil }
