package routers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/sources"
)

type phase uint8

const (
	waiting phase = iota
	running
	ended
	over // failed or stopped: not again in this run
)

// schedule gives lanes to slots; a lane starts when all of its After have durably ended.
type schedule struct {
	run     *Run
	mu      sync.Mutex
	lanes   []sources.Lane
	phases  map[string]phase
	errs    []error
	changed chan struct{} // closed and replaced at each change
}

func newSchedule(run *Run) *schedule {
	return &schedule{run: run, phases: map[string]phase{}, changed: make(chan struct{})}
}

// refresh asks the source and the store again: lanes appear, and other replicas end lanes.
func (s *schedule) refresh(ctx context.Context) error {
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes = lanes
	for _, l := range lanes {
		if s.phases[l.ID] == waiting && done[l.ID] {
			s.run.board.lane(l.ID).set(Ended, nil)
		}
		s.run.board.lane(l.ID)
	}
	for id := range done {
		s.phases[id] = ended
	}
	s.tell()
	return nil
}

// tell wakes the slots that wait; the caller holds the lock.
func (s *schedule) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// keepFresh asks for the lanes at an interval until ctx ends.
func (s *schedule) keepFresh(ctx context.Context) {
	for wait(ctx, s.run.pipeline.Refresh, s.run.stop) {
		if err := s.refresh(ctx); err != nil && ctx.Err() == nil {
			s.run.log.WarnContext(ctx, "lanes cannot be listed", errAttr(err))
		}
	}
}

// next waits for a lane that may start; false means that the slot has no more work.
func (s *schedule) next() (sources.Lane, bool) {
	for !isClosed(s.run.stop) {
		s.mu.Lock()
		lane, found, busy := s.pick()
		changed := s.changed
		s.mu.Unlock()
		if found || !busy {
			return lane, found
		}
		select {
		case <-changed:
		case <-s.run.stop:
		}
	}
	return sources.Lane{}, false
}

// pick marks a lane that may start as running. busy says that a lane runs, whose end may let others start.
func (s *schedule) pick() (lane sources.Lane, found, busy bool) {
	for _, p := range s.phases {
		busy = busy || p == running
	}
	for _, l := range s.lanes {
		notEnded := func(before string) bool { return s.phases[before] != ended }
		if s.phases[l.ID] == waiting && !slices.ContainsFunc(l.After, notEnded) {
			s.phases[l.ID] = running
			return l, true, true
		}
	}
	return lane, false, busy
}

// finish records how a lane went, asks for the lanes again, and lets waiting slots look.
func (s *schedule) finish(ctx context.Context, lane sources.Lane, err error) {
	stopped := isClosed(s.run.stop)
	var refreshErr error
	if !stopped {
		refreshErr = s.refresh(ctx) // before the lane is no longer running: its successors must not find nobody busy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phases[lane.ID] == running {
		s.phases[lane.ID] = over
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
