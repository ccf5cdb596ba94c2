package routers

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sources"
)

// lanesFreshEvery is how often a run that shares its lanes asks for them at least: others end lanes.
const lanesFreshEvery = 2 * time.Second

// shared reads the lanes whose leases this process has.
type shared struct {
	team  *Team
	run   *Run
	party *party
	apart bool // only lanes that are Apart have leases, the others are this process's

	mu      sync.Mutex
	granted map[string]*hold // by key: taken, and not yet read
	over    bool             // the run has ended
}

func newShared(t *Team, r *Run, apart bool) *shared {
	s := &shared{team: t, run: r, apart: apart, granted: map[string]*hold{}}
	s.party = &party{member: memberKey(r.pipeline.Name, t.Owner), shares: s.shares, given: s.given}
	return s
}

// memberPrefix begins the keys that say who is there; JobPrefix those of jobs, which go on with the process that began them.
const (
	memberPrefix = "member/"
	JobPrefix    = "job/"
)

func memberKey(pipeline, owner string) string { return memberPrefix + pipeline + "/" + owner }

func (s *shared) begin() (end func()) {
	s.team.join(s.party)
	return func() {
		s.team.leave(s.party)
		s.mu.Lock()
		s.over = true
		left := s.granted
		s.granted = nil
		s.mu.Unlock()
		for _, h := range left {
			s.team.drop(context.Background(), h)
		}
	}
}

func (s *shared) key(lane string) string {
	return checkpoint.LaneLease(checkpoint.Lane{Pipeline: s.run.pipeline.Name, ID: lane})
}

// shares tells what there is to read: lanes that end, as many as there are slots for; endless ones; and those of which each process
// has one.
func (s *shared) shares() []share {
	lanes, idle := s.run.lanes.ready()
	s.mu.Lock()
	defer s.mu.Unlock()
	ending, endless, own := share{room: idle}, share{room: -1}, share{each: true}
	for _, l := range lanes {
		one := piece{key: s.key(l.ID), id: l.ID}
		switch {
		case s.apart && !l.Apart:
		case l.Each:
			own.pieces = append(own.pieces, one)
		case l.Endless:
			endless.pieces = append(endless.pieces, one)
		default:
			ending.pieces = append(ending.pieces, one)
			if s.granted[one.key] != nil {
				ending.room--
			}
		}
	}
	ending.room = max(0, ending.room)
	return []share{ending, endless, own}
}

func (s *shared) given(h *hold) {
	s.mu.Lock()
	over := s.over
	if !over {
		s.granted[h.key] = h
	}
	s.mu.Unlock()
	if over {
		s.team.drop(context.Background(), h)
		return
	}
	s.run.lanes.wake()
}

func (s *shared) hold(lane sources.Lane) *hold {
	if s.apart && !lane.Apart {
		return &hold{id: lane.ID}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, h := range s.granted {
		if h.id == lane.ID || lane.Each && strings.HasPrefix(h.id, lane.ID+"~") {
			delete(s.granted, key)
			return h
		}
	}
	s.team.nudge()
	return nil
}

func (s *shared) done(ctx context.Context, h *hold) {
	if h.key != "" {
		s.team.drop(ctx, h)
	}
}

func (s *shared) holder(lane string) string {
	if owner := s.team.Holder(s.key(lane)); owner != s.team.Owner {
		return owner
	}
	return ""
}
