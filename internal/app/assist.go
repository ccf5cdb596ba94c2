package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

const (
	// offerNote is the key under which the process that has a pipeline keeps the lanes of it that others may read.
	offerNote = "offered"
	// assistEvery is how often it is looked whether there is something to assist with, or still is; assistLater how long after an assistance
	// that failed, or had to give a lane back.
	assistEvery = time.Second
	assistLater = 5 * time.Second
	// assistJob is the job that reads lanes of a pipeline beside the process that has it.
	assistJob = "assist"
)

// offers are those of a pipeline that this process has.
type offers struct {
	*checkpoint.Leased
	pipeline string
}

// Offer keeps the lanes for others to see.
func (o offers) Offer(ctx context.Context, lanes []sources.Lane) error {
	if len(lanes) == 0 {
		return o.SaveNote(ctx, o.pipeline, offerNote, nil)
	}
	text, err := json.Marshal(lanes)
	if err != nil {
		return fmt.Errorf("offer lanes of %s: %w", o.pipeline, err)
	}
	return o.SaveNote(ctx, o.pipeline, offerNote, text)
}

// offered gives the lanes of a pipeline that others than the process that has it may read.
func (s *Service) offered(ctx context.Context, pipeline string) (lanes []sources.Lane, err error) {
	text, err := s.state.Note(ctx, pipeline, offerNote)
	if err != nil || text == nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &lanes); err != nil {
		return nil, fmt.Errorf("read what is offered of %s: %w", pipeline, err)
	}
	return lanes, nil
}

// lent is the state of a source that assists: it numbers reads, and keeps nothing.
type lent struct{ sources.State }

// Save refuses.
func (lent) Save(context.Context, string, []byte) error { return sources.ErrElsewhere }

// assisted is a source of the lanes that are offered.
type assisted struct {
	offered func(ctx context.Context) ([]sources.Lane, error)
	source  sources.Source
}

// Lanes gives what is offered now.
func (a assisted) Lanes(ctx context.Context) ([]sources.Lane, error) { return a.offered(ctx) }

// Open opens a lane as it was noted.
func (a assisted) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	return a.source.Open(ctx, lane, from)
}

// assistance is what this process does for a pipeline that another has.
type assistance struct {
	mu   sync.Mutex
	run  *routers.Run // nil: nothing now
	past routers.Progress
}

func (a *assistance) begin(run *routers.Run) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.run = run
}

func (a *assistance) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	addProgress(&a.past, a.run.Status().Progress)
	a.run = nil
}

// status adds what is done here to what is told of a pipeline.
func (a *assistance) status(st routers.Status) routers.Status {
	a.mu.Lock()
	run := a.run
	addProgress(&st.Progress, a.past)
	a.mu.Unlock()
	if run == nil {
		return st
	}
	now := run.Status()
	addProgress(&st.Progress, now.Progress)
	st.RowsPerSecond, st.Held, st.Busy = st.RowsPerSecond+now.RowsPerSecond, st.Held+now.Held, st.Busy+now.Busy
	if st.State == routers.Elsewhere {
		st.Lanes = now.Lanes
	}
	return st
}

// assist reads lanes of a pipeline whenever another process has it and offers some, until ctx ends. A failure is told and tried again:
// what cannot be read at all, the process that has the pipeline says.
func (s *Service) assist(ctx context.Context, i int) {
	d := s.project.Pipelines[i]
	log := s.Log.With(slog.String("pipeline", d.Name))
	for pause := assistEvery; rest(ctx, pause); {
		pause = assistEvery
		if !s.team.IsRead(d.Name) {
			continue
		}
		done, ok := s.team.all.Assist(d.Name)
		if !ok {
			continue
		}
		again, err := s.assistOnce(ctx, i)
		done()
		if err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "parts cannot be read beside another process", slog.String("error", err.Error()))
		}
		if err != nil || !again {
			pause = assistLater
		}
	}
}

// rest waits; false: ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// assistOnce reads lanes that are offered until none are, or ctx ends. done: it was of some use.
func (s *Service) assistOnce(ctx context.Context, i int) (done bool, err error) {
	d, a := s.project.Pipelines[i], s.team.assists[i]
	lanes, err := s.offered(ctx, d.Name)
	if err != nil || len(lanes) == 0 {
		return err == nil, err
	}
	p, closed, err := s.ownAs(ctx, d, sources.Assistant)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, closed()) }()
	offered := func(ctx context.Context) ([]sources.Lane, error) { return s.offered(ctx, d.Name) }
	p.Source = assisted{offered, p.Source}
	run, err := s.runOf(p, assistJob)
	if err != nil {
		return false, err
	}
	a.begin(run)
	defer a.end()
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { s.watchOffers(ctx, d.Name, run, over) })
	err = run.Run(context.WithoutCancel(ctx))
	close(over)
	watch.Wait()
	return run.Status().Commits > 0, err
}

// watchOffers stops an assistance when ctx ends, when no other process has the pipeline, and when a lane that is read is offered no more.
func (s *Service) watchOffers(ctx context.Context, pipeline string, run *routers.Run, over <-chan struct{}) {
	defer run.Stop()
	tick := time.NewTicker(assistEvery)
	defer tick.Stop()
	for s.team.all.Holder(pipeline) != "" {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-over:
			return
		}
		lanes, err := s.offered(ctx, pipeline)
		if err != nil {
			continue // the leases tell whether the state is there
		}
		for _, l := range run.Status().Lanes {
			is := func(o sources.Lane) bool { return o.ID == l.ID }
			if l.State == routers.Running && !slices.ContainsFunc(lanes, is) {
				return
			}
		}
	}
}
