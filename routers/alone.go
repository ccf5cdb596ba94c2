package routers

import (
	"context"
	"sync"
	"time"

	"github.com/acequia-io/acequia/sources"
)

// sharing says which lanes of a run this process may read.
type sharing interface {
	// begin and end are called around the run.
	begin() (end func())
	// hold gives the right to read a lane that may start; nil: not now. It may not block.
	hold(lane sources.Lane) *hold
	// done gives it back when the lane is read no more.
	done(ctx context.Context, h *hold)
	// holder names the process that reads a lane, if it is another.
	holder(lane string) string
}

// alone reads all lanes: no other process shares the state.
type alone struct{}

func (alone) begin() (end func())          { return func() {} }
func (alone) hold(lane sources.Lane) *hold { return &hold{id: lane.ID} }
func (alone) done(context.Context, *hold)  {}
func (alone) holder(string) string         { return "" }

// under gives the contexts of a lane and the channel that ends it in order: those of the run where no other process may have the lane.
// One that is left has as long as a stop may take.
func (r *Run) under(ctx, reads context.Context, right *hold) (own, ownReads context.Context, stop <-chan struct{}, end func()) {
	if right.leave == nil {
		return ctx, reads, r.stop, func() {}
	}
	own, cutOff := context.WithCancel(ctx)
	ownReads, endReads := context.WithCancel(own) // not of the run's: whoever sees it ended is to see first that the lane is stopped
	stopped, over := make(chan struct{}), make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		defer endReads()
		select {
		case <-r.stop:
			close(stopped)
			return
		case <-right.leave:
			close(stopped)
			endReads()
			timer := time.NewTimer(r.pipeline.StopTimeout)
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-right.lost:
			case <-over:
			}
		case <-right.lost:
			close(stopped)
		case <-over:
		}
		cutOff()
	})
	return own, ownReads, stopped, func() {
		close(over)
		watch.Wait()
		endReads()
		cutOff()
	}
}
