package routers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/acequia-io/acequia/sources"
)

type phase uint8

const (
	waiting phase = iota
	running
	ended
	failed // or stopped: not again in this run
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
	lanes, err := s.run.pipeline.Source.Lanes(ctx)
	if err != nil {
		return fmt.Errorf("list lanes of %s: %w", s.run.pipeline.Name, err)
	}
	done, err := s.run.Store.Ended(ctx, s.run.pipeline.Name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lanes = lanes
	for id := range done {
		s.phases[id] = ended
	}
	for _, l := range lanes {
		s.run.status.lane(l.ID)
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// next waits for a lane that may start; false means that the slot has no more work.
func (s *schedule) next(ctx context.Context) (sources.Lane, bool) {
	refresh := time.NewTicker(s.run.pipeline.Refresh)
	defer refresh.Stop()
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
		case <-refresh.C:
			if err := s.refresh(ctx); err != nil {
				s.run.Log.Warn("lanes could not be listed", errAttr(err))
			}
		}
	}
	return sources.Lane{}, false
}

func (s *schedule) pick() (lane sources.Lane, found, busy bool) {
	for _, l := range s.lanes {
		switch s.phases[l.ID] {
		case running:
			busy = true
		case waiting:
			ready := true
			for _, before := range l.After {
				ready = ready && s.phases[before] == ended
			}
			if ready {
				s.phases[l.ID] = running
				return l, true, true
			}
		case ended, failed:
		}
	}
	return lane, false, busy
}

// finish records how a lane went, and lets waiting slots look again.
func (s *schedule) finish(ctx context.Context, lane sources.Lane, err error) {
	s.mu.Lock()
	s.phases[lane.ID] = failed
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("lane %s of %s: %w", lane.ID, s.run.pipeline.Name, err))
	}
	s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		s.mu.Lock()
		s.errs = append(s.errs, err)
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
	}
}

func (s *schedule) failures() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.errs...)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
