package app

import (
	"context"
	"errors"
	"sync"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// turn is whose a pipeline is that reads a database, where jobs may be asked for: it follows, or rests, and one job after the other
// has it meanwhile. So a lane never has two owners, and what follows goes on at its checkpoint when a job has ended.
type turn struct {
	declared *Declared
	follows  bool

	mu    sync.Mutex
	run   *routers.Run     // that goes on, or went on last; nil: none has
	busy  bool             // run goes on
	past  routers.Progress // of the runs before
	jobs  int              // that have the pipeline or wait for it
	over  bool             // nothing begins any more
	token chan struct{}    // holds one: who takes it out has the pipeline
	freed chan struct{}    // closed and replaced when no job has it or waits for it
}

func newTurn(d *Declared, follows bool) *turn {
	t := &turn{declared: d, follows: follows, token: make(chan struct{}, 1), freed: make(chan struct{})}
	t.token <- struct{}{}
	return t
}

// take gives the pipeline to a job when what follows, and the jobs before it, have let it go.
func (t *turn) take(ctx context.Context) (release func(), err error) {
	t.mu.Lock()
	t.jobs++
	if t.busy && t.jobs == 1 {
		t.run.Stop()
	}
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.jobs--; t.jobs == 0 {
			close(t.freed)
			t.freed = make(chan struct{})
		}
	}
	select {
	case <-t.token:
		return func() { t.token <- struct{}{}; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}

// free waits until no job has the pipeline or waits for it; false: ctx has ended before.
func (t *turn) free(ctx context.Context) bool {
	for {
		t.mu.Lock()
		freed := t.freed
		if t.jobs == 0 {
			freed = nil
		}
		t.mu.Unlock()
		if freed == nil {
			return ctx.Err() == nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

// begin makes a run the one that goes on. false: it may not begin, since a job of others waits, or all is being stopped.
func (t *turn) begin(run *routers.Run, job bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over || t.jobs > 0 && !job {
		return false
	}
	if t.run != nil {
		addProgress(&t.past, t.run.Status().Progress)
	}
	t.run, t.busy = run, true
	return true
}

func (t *turn) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
}

// stop ends what goes on, for good.
func (t *turn) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over = true; t.busy {
		t.run.Stop()
	}
}

// rests says that nothing goes on, and nothing should.
func (t *turn) rests() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.busy && !t.follows
}

// works says that what goes on, if anything does, is a job's.
func (t *turn) works() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.follows || t.jobs > 0
}

// status is that of what goes on, with the counts of all runs of this process.
func (t *turn) status() routers.Status {
	t.mu.Lock()
	run, busy, past := t.run, t.busy, t.past
	t.mu.Unlock()
	s := routers.Status{Pipeline: t.declared.Name, State: routers.Waiting}
	if run != nil {
		s = run.Status()
		addProgress(&s.Progress, past)
	}
	if !busy && !t.follows {
		s.State, s.Reason, s.Code, s.Lanes, s.Held, s.Lag = routers.Ended, "", "", nil, 0, nil
	}
	return s
}

// addProgress adds what a run before has counted.
func addProgress(to *routers.Progress, p routers.Progress) {
	to.RowsRead += p.RowsRead
	to.BytesRead += p.BytesRead
	to.RowsCommitted += p.RowsCommitted
	to.ByStream = to.ByStream.Add(p.ByStream)
	to.RowsRefused += p.RowsRefused
	to.Truncates += p.Truncates
	to.DeadLetters += p.DeadLetters
	to.Commits += p.Commits
	if p.LastCommit.After(to.LastCommit) {
		to.LastCommit, to.CommitTime, to.LastFiles = p.LastCommit, p.CommitTime, p.LastFiles
	}
}

// inTurns follows a database whenever no job has its pipeline, until ctx ends or it fails for good.
func (s *Service) inTurns(ctx context.Context, t *turn) error {
	if !t.follows {
		<-ctx.Done()
		return nil
	}
	for t.free(ctx) {
		grant, leave, ok := s.takeToFollow(ctx, t.declared.Name)
		if !ok {
			return nil
		}
		select {
		case <-t.token:
		case <-ctx.Done():
			leave()
			return nil
		}
		err := s.followOnce(ctx, t, grant)
		t.token <- struct{}{}
		if err != nil && (grant == nil || !grant.Gone() && !errors.Is(err, checkpoint.ErrFenced)) {
			leave()
			return err
		}
		leave()
	}
	return nil
}

// followOnce follows until a job asks for the pipeline, ctx ends, or it fails for good.
func (s *Service) followOnce(ctx context.Context, t *turn, grant *routers.Grant) (err error) {
	p, done, err := s.own(ctx, t.declared)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	run, err := s.runOf(p, "")
	if err != nil {
		return err
	}
	if !t.begin(run, false) {
		return nil
	}
	defer t.ended()
	return whileGranted(grant, run, func() error { return run.Run(context.WithoutCancel(ctx)) })
}

// turnsOf says which pipelines take turns: those that read a database, where jobs may be asked for.
func (s *Service) turnOf(d *Declared, source sources.Source) *turn {
	if _, ok := source.(sources.Backfiller); !ok || !s.Jobs {
		return nil
	}
	return newTurn(d, !s.Asked && s.project.follows(d))
}
