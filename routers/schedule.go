package routers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

type phase uint8

const (
	waiting phase = iota
	running
	ended
	over // failed, stopped or given back: not again in this run
)

// schedule gives lanes to those that serve them; a lane starts when all of its After have durably ended.
type schedule struct {
	run     *Run
	mu      sync.Mutex
	lanes   []sources.Lane
	phases  map[string]phase
	resumed map[string]record.Position // lanes that had ended there, and had more
	read    map[string]bool            // lanes whose source was read in this run: an endless one that has ended was drained
	idle    int                        // slots that wait for a lane that ends
	closed  bool                       // nothing runs and nothing may start: so it stays for the rest of the run
	errs    []error
	changed chan struct{} // closed and replaced at each change
}

func newSchedule(run *Run) *schedule {
	return &schedule{
		run: run, phases: map[string]phase{}, resumed: map[string]record.Position{}, read: map[string]bool{}, changed: make(chan struct{}),
	}
}

// refresh asks the source and the store again: lanes appear, and other replicas end lanes. asked says of which ended lanes
// the source is asked whether there is more; of an endless lane that was drained in this run it is not.
func (s *schedule) refresh(ctx context.Context, asked func(id string) bool) error {
	var lanes []sources.Lane
	err := guard(func() (err error) {
		lanes, err = s.run.pipeline.Source.Lanes(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("list lanes: %w", err)
	}
	done, err := s.run.store.Ended(ctx, s.run.pipeline.Name)
	if err != nil {
		return fmt.Errorf("list ended lanes: %w", err)
	}
	if err := s.run.offers.tell(ctx, lanes, done); err != nil {
		return fmt.Errorf("offer lanes: %w", err)
	}
	again := map[string]bool{}
	for _, l := range lanes {
		if at, ok := done[l.ID]; ok && asked(l.ID) && !s.hasResumed(l.ID, at) && !s.drained(l) {
			if again[l.ID], err = s.run.more(ctx, l, at); err != nil {
				return fmt.Errorf("look for more in lane %s: %w", l.ID, err)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes = lanes
	for _, l := range lanes {
		board := s.run.board.lane(l)
		if _, ok := done[l.ID]; ok && s.phases[l.ID] == waiting && !again[l.ID] {
			board.set(Ended, nil)
		}
	}
	for id := range done {
		_, isResumed := s.resumed[id]
		switch {
		case again[id]:
			s.phases[id], s.resumed[id] = waiting, done[id]
		case !isResumed || asked(id):
			s.phases[id] = ended
			delete(s.resumed, id)
		}
	}
	s.tell()
	return nil
}

// hasResumed says whether a lane was opened again at a position and has not moved since: what is more there is nothing.
func (s *schedule) hasResumed(id string, at record.Position) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, ok := s.resumed[id]
	return ok && from == at
}

// reads notes that the source of a lane is read.
func (s *schedule) reads(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[id] = true
}

// drained says whether a lane that has ended is an endless one, and ended in this run because its source was drained.
func (s *schedule) drained(l sources.Lane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.Endless && s.read[l.ID]
}

// more asks the source whether an ended lane has more.
func (r *Run) more(ctx context.Context, lane sources.Lane, at record.Position) (more bool, err error) {
	resumer, ok := r.pipeline.Source.(sources.Resumer)
	if !ok {
		return false, nil
	}
	err = guard(func() error {
		more, err = resumer.More(ctx, lane, at)
		return err
	})
	return more, err
}

func all(string) bool  { return true }
func none(string) bool { return false }

// tell wakes the slots that wait; the caller holds the lock.
func (s *schedule) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// keepFresh asks for the lanes at an interval until ctx ends.
func (s *schedule) keepFresh(ctx context.Context) {
	every := s.run.pipeline.Refresh
	if _, ok := s.run.share.(*shared); ok {
		every = min(every, lanesFreshEvery)
	}
	for wait(ctx, every, s.run.stop) {
		if err := s.refresh(ctx, none); err != nil && ctx.Err() == nil {
			s.run.log.WarnContext(ctx, "lanes cannot be listed", errAttr(err))
		}
	}
}

// next waits for a lane that may start here, an endless one or one that ends; no hold means that there is no more work.
func (s *schedule) next(endless bool) (sources.Lane, *hold) {
	for waits := false; ; waits = true {
		s.mu.Lock()
		if waits && !endless {
			s.idle--
		}
		if isClosed(s.run.stop) {
			s.mu.Unlock()
			return sources.Lane{}, nil
		}
		lane, right := s.pick(endless)
		closed, changed := s.closed, s.changed
		if right == nil && !closed && !endless {
			s.idle++
		}
		s.mu.Unlock()
		if right != nil || closed {
			return lane, right
		}
		select {
		case <-changed:
		case <-s.run.stop:
		}
	}
}

// ready gives the lanes that may be read now, here or elsewhere, and how many slots have none.
func (s *schedule) ready() (lanes []sources.Lane, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		if p := s.phases[l.ID]; p == running || p == waiting && s.mayStart(l) {
			lanes = append(lanes, l)
		}
	}
	return lanes, s.idle
}

func (s *schedule) mayStart(l sources.Lane) bool {
	return !slices.ContainsFunc(l.After, func(before string) bool { return s.phases[before] != ended })
}

// wake lets slots look.
func (s *schedule) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tell()
}

// pick marks a lane that may start as running. While a lane runs, or may start, its end may let others start; when there is
// none, the schedule closes for all who ask, so that none waits for work that nobody is left to do.
func (s *schedule) pick(endless bool) (lane sources.Lane, right *hold) {
	if s.closed {
		return lane, nil
	}
	busy := false
	for _, p := range s.phases {
		busy = busy || p == running
	}
	for _, l := range s.lanes {
		if s.phases[l.ID] != waiting || !s.mayStart(l) {
			continue
		}
		if busy = true; l.Endless != endless {
			continue
		}
		if right := s.run.share.hold(l); right != nil {
			s.phases[l.ID] = running
			return l, right
		}
	}
	if !busy {
		s.closed = true
		s.tell()
	}
	return lane, nil
}

// finish records how a lane went, asks for the lanes again, and lets waiting slots look.
func (s *schedule) finish(ctx context.Context, lane sources.Lane, right *hold, err error) {
	stopped := isClosed(s.run.stop)
	s.run.share.done(ctx, right)
	var refreshErr error
	if !stopped && !right.gone() { // a lane that another process reads has not ended
		refreshErr = s.refresh(ctx, func(id string) bool { return id == lane.ID && err == nil && !right.back }) // before the lane is no longer running: its successors must not find nobody busy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phases[lane.ID] == running {
		s.phases[lane.ID] = over
		if right.gone() && !stopped { // another process reads on
			s.phases[lane.ID] = waiting
		}
	}
	if err != nil {
		s.errs = append(s.errs, err)
	}
	if refreshErr != nil && ctx.Err() == nil {
		s.errs = append(s.errs, refreshErr)
	}
	s.tell()
}

func (s *schedule) failures() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}
