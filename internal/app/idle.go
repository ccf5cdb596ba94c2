package app

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// idleEvery is how often Run looks whether the pipelines have nothing to do.
const idleEvery = 200 * time.Millisecond

// drain tells the sources with endless lanes to end them when nothing is left. Their pipelines end by themselves: the clock
// does not judge them, for what a poll waits for may take longer than any clock.
func (s *Service) drain() {
	s.draining = make([]atomic.Bool, len(s.runs))
	for i, source := range s.sources {
		if d, ok := source.(sources.Drainer); ok {
			d.Drain()
			s.draining[i].Store(true)
		}
	}
}

// drained tells that a pipeline has ended.
func (s *Service) drained(i int) {
	if s.draining != nil {
		s.draining[i].Store(false)
	}
}

// waitIdle returns when nothing was read or committed for a while, what was read is committed, and no source is being drained.
func (s *Service) waitIdle(ctx context.Context, quiet time.Duration) {
	tick := time.NewTicker(idleEvery)
	defer tick.Stop()
	var last int64
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var now int64
		busy := false
		for i, st := range s.Status() {
			now += st.RowsRead + st.Commits
			busy = busy || st.Busy > 0 || // a slow write or commit is not the end; a group that waits for more is
				unsettled(st.State) || slices.ContainsFunc(st.Lanes, func(l routers.LaneStatus) bool { return unsettled(l.State) }) ||
				s.draining[i].Load() && !stuck(st)
		}
		if now != last || busy {
			last, since = now, time.Now()
		}
		if time.Since(since) >= quiet {
			return
		}
	}
}

func unsettled(s routers.State) bool { return s == routers.Starting || s == routers.Retrying }

// stuck says that a lane has failed for good: its source may wait for its end in vain, so the clock judges it as any other.
func stuck(st routers.Status) bool {
	return slices.ContainsFunc(st.Lanes, func(l routers.LaneStatus) bool { return l.State == routers.Failed })
}
