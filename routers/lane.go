package routers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// errStopped ends an incarnation in order, and is what a reader is told about chunks that a stop leaves behind.
var errStopped = fault.Retry(sources.ErrStopped)

// closeWait bounds the calls that let go of a reader's chunks and of writers when an incarnation ends.
const closeWait = 10 * time.Second

// slot is a subscriber that lives as long as the run: a Router whose last handler ends is closed for good, so restarts
// and successor lanes happen inside it.
type slot struct {
	run *Run
	out chan *message.Message
}

// Subscribe gives the slot's messages. It has no use for ctx, which the Router cancels too early.
func (s *slot) Subscribe(context.Context, string) (<-chan *message.Message, error) { return s.out, nil }

// Close does nothing: the slot has ended when the Router closes.
func (s *slot) Close() error { return nil }

// serve runs lanes that end until there are none. The channel is closed only then, when all that it carried is settled.
func (s *slot) serve(ctx, reads context.Context) {
	defer close(s.out)
	for {
		lane, right := s.run.lanes.next(false)
		if right == nil {
			return
		}
		s.run.lanes.finish(reads, lane, right, s.keep(ctx, reads, lane, right))
	}
}

// keep restarts the lane, always through recovery, until it ends, is stopped or left to another process, or fails for good.
func (s *slot) keep(ctx, reads context.Context, lane sources.Lane, right *hold) error {
	ctx, reads, stop, end := s.run.under(ctx, reads, right)
	defer end()
	r, board := s.run, s.run.board.lane(lane)
	log := r.log.With(slog.String("lane", lane.ID))
	pace, panics, commits, excluded := backoff{retry: r.pipeline.Retry}, 0, board.commits(), map[string]bool{}
	for !isClosed(stop) {
		board.set(Starting, nil)
		err := guard(func() error {
			return s.own(ctx, reads, &incarnation{run: r, lane: lane, board: board, log: log, stop: stop}, right.id)
		})
		if err == nil {
			board.set(Ended, nil)
			return nil
		}
		stopped := isClosed(stop)
		if errors.Is(err, errStopped) {
			break
		}
		if now := board.commits(); now > commits {
			commits, pace.tries, panics = now, 0, 0
			clear(excluded)
		}
		if p, ok := errors.AsType[*panicked](err); ok {
			panics++
			log.ErrorContext(ctx, "plugin panicked", slog.String("stack", p.stack))
		}
		delay, more := pace.next()
		switch {
		case right.key != "" && errors.Is(err, sources.ErrElsewhere):
			log.InfoContext(ctx, "lane is given back", errAttr(err))
			right.back = true
			board.set(Waiting, nil)
			return nil
		case right.key != "" && errors.Is(err, checkpoint.ErrFenced): // its lease is another's, or soon is this process's again
			log.InfoContext(ctx, "lane is another process's now", errAttr(err))
			wait(ctx, delay, stop)
			right.fenced = true
			board.set(Waiting, nil)
			return nil
		case fault.Of(err) != fault.Retryable && ctx.Err() == nil, panics > maxPanics, !more:
			if r.exclude(ctx, lane, excluded, err) {
				board.set(Retrying, err)
				continue
			}
			board.set(Failed, err)
			log.ErrorContext(ctx, "lane failed", errAttr(err), slog.String("code", fault.Code(err)))
			return fmt.Errorf("lane %s of %s: %w", lane.ID, r.pipeline.Name, err)
		case stopped:
			log.WarnContext(ctx, "lane stopped before all was committed", errAttr(err))
		default:
			board.set(Retrying, err)
			log.WarnContext(ctx, "lane restarts", slog.Duration("again_in", delay), errAttr(err))
			wait(ctx, delay, stop)
		}
	}
	if board.set(Stopped, nil); right.gone() && !isClosed(r.stop) {
		board.set(Waiting, nil)
	}
	return nil
}

// incarnation is one ownership of a lane: one epoch. A failure anywhere ends it, and only recovery begins the next.
type incarnation struct {
	run      *Run
	lane     sources.Lane
	name     checkpoint.Lane
	board    *laneBoard
	log      *slog.Logger
	stop     <-chan struct{}  // closed: end in order
	state    checkpoint.State // what is durable; while a group is being committed it is the committer's
	writers  []sinks.Writer   // one a sink, in their order
	reader   sources.Reader
	handlers []handlers.Handler // one a step
	account  *account
	counts   counts
}

// own is one incarnation of the lane. It returns nil when the lane has durably ended. reads ends when the run is
// stopped, ctx when that takes too long.
func (s *slot) own(ctx, reads context.Context, in *incarnation, id string) error {
	r, lane, board := s.run, in.lane, in.board
	in.name = checkpoint.Lane{Pipeline: r.pipeline.Name, ID: id}
	in.counts = counts{given: make([]int64, len(r.pipeline.Steps)+len(r.pipeline.Sinks))}
	var err error
	if in.state, err = r.store.Acquire(ctx, in.name); err != nil {
		return fmt.Errorf("acquire lane: %w", err)
	}
	r.probe(afterAcquire)
	board.acquired(in.state)
	defer in.closeWriters(ctx)
	for _, named := range r.pipeline.Sinks {
		w, err := named.Sink.Open(ctx, sinks.Lane{Pipeline: r.pipeline.Name, ID: id, Epoch: in.state.Epoch})
		if err != nil {
			return fmt.Errorf("open sink %s: %w", named.Name, err)
		}
		in.writers = append(in.writers, w)
	}
	rolled, err := in.recover(ctx)
	if err != nil {
		return err
	}
	if in.state.Ended && !rolled {
		more, err := r.more(ctx, lane, in.state.Position)
		if err != nil || !more {
			return err
		}
		in.state.Ended = false
	}
	if in.reader, err = r.pipeline.Source.Open(reads, lane, in.state.Position); err != nil {
		if isClosed(in.stop) {
			return errStopped
		}
		return fmt.Errorf("open source: %w", err)
	}
	defer in.closeReader()
	if rolled {
		if err := in.reader.Settle(ctx, in.state.Position, nil); err != nil {
			return fmt.Errorf("settle what was rolled forward: %w", err)
		}
	}
	if in.state.Ended {
		return nil
	}
	defer in.untrack()
	if err := in.track(ctx); err != nil {
		return err
	}
	r.probe(afterRecovery)
	return s.flow(ctx, reads, in)
}

// flow carries the lane's chunks until it ends, is stopped or fails.
func (s *slot) flow(ctx, reads context.Context, in *incarnation) error {
	in.account = in.run.budget.account()
	defer in.account.close()
	in.board.runs(in.account)
	in.run.lanes.reads(in.lane.ID)
	if l, ok := in.reader.(sources.Lagger); ok {
		watching, cancel := context.WithCancel(ctx)
		var watch sync.WaitGroup
		watch.Go(func() { in.run.watchLag(watching, l, in.board.setLag) })
		defer watch.Wait()
		defer cancel()
	}
	return newPump(in, s.out).run(ctx, reads)
}

func (in *incarnation) closeReader() {
	if err := guard(in.reader.Close); err != nil {
		in.log.Warn("reader did not close well", errAttr(err))
	}
}

// closeWriters lets go of the writers. What they have left behind is recovery's.
func (in *incarnation) closeWriters(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	for i, w := range in.writers {
		if err := guard(func() error { return w.Close(ctx) }); err != nil {
			in.log.WarnContext(ctx, "sink did not close well", slog.String("sink", in.run.pipeline.Sinks[i].Name), errAttr(err))
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
