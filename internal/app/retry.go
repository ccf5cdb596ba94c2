package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
)

// Retried counts what became of dead letters that were sent again.
type Retried struct {
	Passed  int64 `json:"passed"`
	Refused int64 `json:"refused"` // again: they stay dead letters, with one attempt more
}

// Retry sends dead letters of a pipeline again, the named ones or all: through the step that refused them and what comes
// after, into the sinks that have not had them. It may be cut off at any moment, and goes on where it was.
func (s *Service) Retry(ctx context.Context, pipeline string, ids ...int64) (total Retried, err error) {
	d, err := s.project.find(pipeline)
	if err != nil {
		return total, err
	}
	key, err := s.dir.key()
	if err != nil {
		return total, err
	}
	whole, err := s.pipeline(ctx, d, key)
	if err != nil {
		return total, err
	}
	refusers, err := s.state.ChooseDeadLetters(ctx, pipeline, ids...)
	if err != nil {
		return total, err
	}
	for _, by := range refusers {
		one, err := s.retry(ctx, d, whole, by)
		total.Passed += one.Passed
		total.Refused += one.Refused
		if err != nil {
			return total, fmt.Errorf("dead letters of %s at %s: %w", by.Stream, by.Step, err)
		}
	}
	return total, nil
}

func (s *Service) retry(ctx context.Context, d *Declared, whole routers.Pipeline, by checkpoint.Refuser) (Retried, error) {
	in := d.given(by)
	if in == nil {
		return Retried{}, &fault.Error{
			Code: "ACQ-DLQ-001", Place: by.Stream, Err: fmt.Errorf("the columns that %s is given are not known", by.Step),
			Remedy: "declare the schema of the source",
		}
	}
	rest, letters, err := jobs.Retry(whole, s.state, by, in)
	if err != nil {
		return Retried{}, &fault.Error{Code: "ACQ-DLQ-002", Place: by.Stream, Err: err, Remedy: "drop the dead letters, or bring the step back under its name"}
	}
	rest.StopAfter = 0 // they are dead letters already
	options := routers.Options{Store: letters.State(), Budget: routers.NewBudget(int(s.project.Memory)), Log: s.Log.With(slog.String("job", "retry"))}
	if s.Wire != nil {
		s.Wire(&rest, &options)
	}
	run, err := routers.New(rest, options)
	if err != nil {
		return Retried{}, err
	}
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-letters.Drained():
		case <-ctx.Done():
		case <-ended:
		}
		run.Stop()
	})
	err = run.Run(context.WithoutCancel(ctx))
	close(ended)
	watch.Wait()
	status := run.Status()
	return Retried{Passed: status.RowsCommitted - status.DeadLetters, Refused: status.DeadLetters}, errors.Join(err, ctx.Err())
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

func (p *Project) find(pipeline string) (*Declared, error) {
	known := make([]string, len(p.Pipelines))
	for i, d := range p.Pipelines {
		if d.Name == pipeline {
			return d, nil
		}
		known[i] = d.Name
	}
	return nil, &fault.Error{
		Code: "ACQ-USE-005", Place: pipeline, Err: errors.New("there is no pipeline of this name"), Remedy: "use one of: " + strings.Join(known, ", "),
	}
}
