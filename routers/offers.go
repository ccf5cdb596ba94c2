package routers

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Offers are how the process that has a pipeline lets others read lanes of it that are Apart.
type Offers interface {
	// Offer tells, durably, which lanes others may read now. ErrFenced: another process has the pipeline.
	Offer(ctx context.Context, lanes []sources.Lane) error
	// Counts gives what a lane has brought, whoever read it.
	Counts(ctx context.Context, lane checkpoint.Lane) (checkpoint.Counts, error)
}

// Others is what other processes brought of a lane, or of all.
type Others struct {
	Rows        int64 `json:"rows"` // in all sinks
	DeadLetters int64 `json:"dead_letters,omitempty"`
}

func (o *Others) add(more Others) {
	o.Rows += more.Rows
	o.DeadLetters += more.DeadLetters
}

// othersOf takes away what this process brought. A process may have counted what is not yet in the state, and the other way round.
func othersOf(all checkpoint.Counts, own Progress) Others {
	rows := all.Rows - all.Refused - (own.RowsCommitted - own.RowsRefused)
	return Others{Rows: max(0, rows), DeadLetters: max(0, all.Letters-own.DeadLetters)}
}

// offering is what a run offers, and what has come of it. A nil one offers nothing.
type offering struct {
	run *Run
	to  Offers

	mu      sync.Mutex
	made    bool
	offered []string                     // by the last offer
	before  map[string]checkpoint.Counts // what lanes had brought when the run met them
	over    map[string]bool              // lanes that have ended and were counted
}

func newOffering(r *Run, to Offers) *offering {
	return &offering{run: r, to: to, before: map[string]checkpoint.Counts{}, over: map[string]bool{}}
}

// tell offers the lanes that are Apart and have not ended, if they are others than before, and counts what has come of them.
func (o *offering) tell(ctx context.Context, lanes []sources.Lane, ended map[string]record.Position) error {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var open []sources.Lane
	var ids []string
	for _, l := range lanes {
		if !l.Apart {
			continue
		}
		_, over := ended[l.ID]
		if !over {
			open, ids = append(open, l), append(ids, l.ID)
		}
		if err := o.count(ctx, l, over); err != nil {
			return err
		}
	}
	if o.made && slices.Equal(ids, o.offered) {
		return nil
	}
	if err := o.to.Offer(ctx, open); err != nil {
		return err
	}
	o.made, o.offered = true, ids
	return nil
}

// count looks what a lane has brought since the run met it; the caller holds the lock.
func (o *offering) count(ctx context.Context, lane sources.Lane, ended bool) error {
	before, met := o.before[lane.ID]
	if o.over[lane.ID] {
		return nil
	}
	if !met && ended {
		o.over[lane.ID] = true
		return nil
	}
	now, err := o.to.Counts(ctx, checkpoint.Lane{Pipeline: o.run.pipeline.Name, ID: lane.ID})
	if err != nil {
		return err
	}
	if !met {
		o.before[lane.ID] = now
		return nil
	}
	o.over[lane.ID] = ended
	o.run.board.lane(lane).counted(checkpoint.Counts{
		Rows: now.Rows - before.Rows, Refused: now.Refused - before.Refused, Letters: now.Letters - before.Letters,
	})
	return nil
}

// withdraw offers nothing any more. A run that is cut off leaves its offers: they end with its lease.
func (o *offering) withdraw(ctx context.Context) {
	if o == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.offered) == 0 {
		return
	}
	if err := o.to.Offer(ctx, nil); err != nil && !errors.Is(err, checkpoint.ErrFenced) {
		o.run.log.WarnContext(ctx, "lanes are still offered to other processes", errAttr(err))
	}
}
