package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
)

// Retried counts what became of records that were sent again. One that two sinks refuse is refused once, and two dead letters.
type Retried struct {
	Passed  int64 `json:"passed"`
	Refused int64 `json:"refused"` // again: they stay dead letters, with one attempt more
}

// letterDesk sends dead letters again, also while their pipelines run: the lanes of a retry have names of their own, and
// share steps and sinks with the pipeline as its own lanes do with each other. A pipeline has one retry at a time.
type letterDesk struct {
	state   *checkpoint.Store
	options routers.Options // but for the store
	wire    func(p *routers.Pipeline, o *routers.Options)
	known   []retryable

	mu      sync.Mutex
	last    map[string]*web.Retry // of each pipeline, under way or ended
	life    context.Context       //nolint:containedctx // of retries, which outlive the request that asks for them
	end     context.CancelFunc
	running sync.WaitGroup
}

// retryable is a pipeline as a retry needs it.
type retryable struct {
	routers.Pipeline
	given func(by checkpoint.Refuser) *record.Schema // of the records that a step or sink is given; nil: not known
}

func newLetterDesk(state *checkpoint.Store, o routers.Options, wire func(p *routers.Pipeline, o *routers.Options)) *letterDesk {
	k := &letterDesk{state: state, options: o, wire: wire, last: map[string]*web.Retry{}}
	k.life, k.end = context.WithCancel(context.Background())
	return k
}

func (k *letterDesk) add(p routers.Pipeline, given func(by checkpoint.Refuser) *record.Schema) {
	p.Steps, p.Sinks = slices.Clone(p.Steps), slices.Clone(p.Sinks) // wire may change those of the run
	k.known = append(k.known, retryable{p, given})
}

// close stops the retries in order: what they have not sent keeps its number, and the next goes on with it.
func (k *letterDesk) close() {
	k.mu.Lock()
	k.end()
	k.mu.Unlock() // nothing begins any more
	k.running.Wait()
}

func (k *letterDesk) find(pipeline string) (retryable, error) {
	names := make([]string, len(k.known))
	for i, known := range k.known {
		if known.Name == pipeline {
			return known, nil
		}
		names[i] = known.Name
	}
	return retryable{}, noPipeline(pipeline, names)
}

// send sends those of one pipeline again that the filter chooses: through the step that refused them and what comes after,
// into the sinks that have not had them. It may be cut off at any moment, and goes on where it was.
func (k *letterDesk) send(ctx context.Context, f checkpoint.LetterFilter) (total Retried, err error) {
	p, err := k.find(f.Pipeline)
	if err != nil {
		return total, err
	}
	refusers, err := k.state.ChooseDeadLetters(ctx, f)
	if err != nil {
		return total, err
	}
	for _, by := range refusers {
		one, err := k.sendOf(ctx, p, by)
		total.Passed += one.Passed
		total.Refused += one.Refused
		if err != nil {
			return total, fmt.Errorf("dead letters of %s at %s: %w", by.Stream, by.Step, err)
		}
	}
	return total, nil
}

// retryIdle is how long a group waits for more letters: nothing else closes it before its sinks would.
const retryIdle = 100 * time.Millisecond

func (k *letterDesk) sendOf(ctx context.Context, p retryable, by checkpoint.Refuser) (Retried, error) {
	in := p.given(by)
	if in == nil {
		return Retried{}, &fault.Error{
			Code: "ACQ-DLQ-001", Place: by.Stream, Err: fmt.Errorf("the columns that %s is given are not known", by.Step),
			Remedy: "declare the schema of the source",
		}
	}
	rest, letters, err := jobs.Retry(p.Pipeline, k.state, by, in)
	if err != nil {
		return Retried{}, &fault.Error{Code: "ACQ-DLQ-002", Place: by.Stream, Err: err, Remedy: "drop the dead letters, or bring the step back under its name"}
	}
	rest.StopAfter = 0 // they are dead letters already
	rest.Limits.Idle = retryIdle
	options := k.options
	options.Store, options.Log = letters.State(), options.Log.With(slog.String("job", "retry"))
	rest.Steps, rest.Sinks = slices.Clone(rest.Steps), slices.Clone(rest.Sinks)
	if k.wire != nil {
		k.wire(&rest, &options)
	}
	run, err := routers.New(rest, options)
	if err != nil {
		return Retried{}, err
	}
	err = runUntil(ctx, run, letters.Drained())
	status := run.Status()
	return Retried{Passed: max(0, status.RowsCommitted-status.RowsRefused), Refused: status.RowsRefused}, err
}

// runUntil runs a pipeline until what it has to do is done, or ctx ends, and stops it in order.
func runUntil(ctx context.Context, run *routers.Run, done <-chan struct{}) error {
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-done:
		case <-ctx.Done():
		case <-ended:
		}
		run.Stop()
	})
	err := run.Run(context.WithoutCancel(ctx))
	close(ended)
	watch.Wait()
	return errors.Join(err, ctx.Err())
}

// Retry sends dead letters of a pipeline again, the named ones or all, and waits until it is done.
func (s *Service) Retry(ctx context.Context, pipeline string, ids ...int64) (Retried, error) {
	return s.desk.retry(ctx, checkpoint.LetterFilter{Pipeline: pipeline, IDs: ids})
}

// retry sends those of one pipeline again and waits until it is done. When ctx ends it stops all retries in order.
func (k *letterDesk) retry(ctx context.Context, f checkpoint.LetterFilter) (Retried, error) {
	ended, err := k.begin(ctx, f)
	if err != nil || len(ended) == 0 {
		return Retried{}, err
	}
	select {
	case <-ended[0]:
	case <-ctx.Done():
		k.close()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	last := k.last[f.Pipeline]
	return Retried{Passed: last.Passed, Refused: last.Refused}, errors.Join(last.Err, ctx.Err())
}

// given is the schema of the records that a step or sink is given; nil: not known.
func (d *Declared) given(by checkpoint.Refuser) *record.Schema {
	flowing := d.In
	if by.Step != jobs.ReadStep {
		for _, step := range d.Steps {
			if step.Name == by.Step {
				break
			}
			flowing = step.Out
		}
	}
	for _, s := range flowing {
		if s.Stream == by.Stream {
			return s
		}
	}
	return nil
}
