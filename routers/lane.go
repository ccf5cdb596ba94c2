package routers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// slot is a subscriber that lives as long as the run: a Router whose last handler ends is closed for good, so restarts
// and successor lanes happen inside it.
type slot struct{ run *Run }

// Close does nothing: the run is stopped by Run.Stop, before the Router.
func (s *slot) Close() error { return nil }

// Subscribe serves lanes until there are none. It takes the values of ctx but not its end, which the Router brings too
// early.
func (s *slot) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer close(out)
		for {
			lane, ok := s.run.lanes.next(ctx)
			if !ok {
				return
			}
			s.run.lanes.finish(ctx, lane, s.serve(ctx, lane, out))
		}
	}()
	return out, nil
}

// serve restarts the lane, always through recovery, until it ends, is stopped or fails for good.
func (s *slot) serve(ctx context.Context, lane sources.Lane, out chan<- *message.Message) error {
	board := s.run.status.lane(lane.ID)
	pace := backoff{retry: s.run.pipeline.Retry}
	for {
		before := board.commits()
		err := s.own(ctx, lane, out)
		if isClosed(s.run.stop) && (err == nil || fault.Of(err) == fault.Retryable) {
			if err != nil {
				s.run.Log.Warn("lane stopped while it was retrying", slog.String("lane", lane.ID), errAttr(err))
			}
			board.set(Stopped, nil)
			return nil
		}
		if err == nil {
			board.set(Ended, nil)
			return nil
		}
		if board.commits() > before {
			pace.reset()
		}
		delay, more := pace.next()
		if fault.Of(err) != fault.Retryable || !more {
			board.set(Failed, err)
			s.run.Log.Error("lane failed", slog.String("lane", lane.ID), errAttr(err))
			return err
		}
		board.set(Retrying, err)
		s.run.Log.Warn("lane restarts", slog.String("lane", lane.ID), slog.Duration("after", delay), errAttr(err))
		select {
		case <-time.After(delay):
		case <-s.run.stop:
		}
	}
}

// own is one incarnation of a lane: one epoch.
func (s *slot) own(ctx context.Context, lane sources.Lane, out chan<- *message.Message) (err error) {
	name := checkpoint.Lane{Pipeline: s.run.pipeline.Name, ID: lane.ID}
	state, err := s.run.Store.Acquire(ctx, name)
	if err != nil {
		return err
	}
	s.run.Probe("after-acquire")
	s.run.status.lane(lane.ID).acquired(state)
	var writers []sinks.Writer
	defer func() {
		for _, w := range writers {
			err = errors.Join(err, w.Close(ctx))
		}
	}()
	for _, named := range s.run.pipeline.Sinks {
		w, err := named.Sink.Open(ctx, sinks.Lane{Pipeline: name.Pipeline, ID: lane.ID, Epoch: state.Epoch})
		if err != nil {
			return fmt.Errorf("open sink %s: %w", named.Name, err)
		}
		writers = append(writers, w)
	}
	rolled, err := s.takeOver(ctx, name, writers, &state)
	if err != nil || state.Ended && !rolled {
		return err
	}
	reader, err := s.run.pipeline.Source.Open(ctx, lane, state.Position)
	if err != nil {
		return fmt.Errorf("open lane %s: %w", lane.ID, err)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if rolled {
		if err := reader.Settle(ctx, state.Position, nil); err != nil || state.Ended {
			return err
		}
	}
	c := newCommitter(s.run, name, state, writers, reader)
	c.board.set(Running, nil)
	p := newPump(c, out)
	go c.serve(ctx)
	err = p.run(ctx)
	return errors.Join(err, c.finish())
}

// pump reads the chunks of one incarnation, hands them to the Router one at a time, and closes groups.
type pump struct {
	*committer
	out       chan<- *message.Message
	account   *account
	open      *group
	age, idle *time.Timer
	due       bool // the open group is to be cut as soon as the committer is free
}

func newPump(c *committer, out chan<- *message.Message) *pump {
	p := &pump{committer: c, out: out, account: c.run.Budget.open(), age: stoppedTimer(), idle: stoppedTimer()}
	p.renew(c.state.Position)
	return p
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// renew starts the next group.
func (p *pump) renew(from record.Position) {
	p.open, p.due = &group{from: from, to: from, done: make(chan struct{})}, false
	p.age.Stop()
	p.idle.Stop()
}

// run returns when the last group is with the committer, or on the first failure.
func (p *pump) run(ctx context.Context) error {
	reading, cancel := context.WithCancel(ctx)
	in := prefetch(reading, p.reader, p.account)
	defer func() {
		cancel()
		for chunk := range in.chunks { // until the reading goroutine has ended
			chunk.Release()
		}
		p.age.Stop()
		p.idle.Stop()
		p.account.close()
	}()
	chunks, stop := in.chunks, p.committer.run.stop
	for {
		free, more := p.gates(chunks)
		select {
		case <-free:
			if len(p.open.chunks) > 0 || p.open.laneEnded {
				p.cut(p.open)
			} else {
				p.free <- struct{}{}
			}
			if chunks == nil {
				return nil
			}
			p.renew(p.open.to)
		case chunk, ok := <-more:
			switch {
			case ok:
				if err := p.deliver(ctx, chunk); err != nil {
					p.abandon(ctx, p.open, err)
					return err
				}
			case in.err != nil:
				p.abandon(ctx, p.open, in.err)
				return in.err
			default: // end of lane
				chunks, p.due, p.open.laneEnded = nil, true, true
			}
		case <-p.age.C:
			p.due = true
		case <-p.idle.C:
			p.due = true
		case <-p.account.pressed:
			p.due = true
		case <-p.failed:
			p.abandon(ctx, p.open, p.err)
			return nil // finish gives the error
		case <-stop:
			chunks, stop, p.due = nil, nil, true
		}
	}
}

// gates says whether the open group may be cut and whether it may grow.
func (p *pump) gates(chunks <-chan record.Chunk) (free <-chan struct{}, more <-chan record.Chunk) {
	full := p.open.full(p.committer.run.pipeline.Limits)
	more = chunks
	if full {
		more = nil
	}
	if p.due || full {
		free = p.free
	}
	return free, more
}

// deliver hands one chunk out and waits until it is accepted.
func (p *pump) deliver(ctx context.Context, chunk record.Chunk) error {
	d := &delivery{committer: p.committer, chunk: chunk, group: p.open, accepted: make(chan struct{})}
	m := message.NewMessage("", nil)
	m.SetContext(context.WithValue(ctx, deliveryKey{}, d))
	p.out <- m
	select {
	case <-d.accepted:
	case <-m.Nacked():
		chunk.Release()
		p.open.chunks = append(p.open.chunks, chunk.To) // refused with the group
		return d.failure()
	}
	p.committer.run.Probe("accepted")
	limits := p.committer.run.pipeline.Limits
	p.open.chunks = append(p.open.chunks, chunk.To)
	p.open.to = chunk.To
	if len(p.open.chunks) == 1 {
		p.age.Reset(limits.Age)
		p.due = p.due || limits.Age == 0
	}
	if limits.Idle > 0 {
		p.idle.Reset(limits.Idle)
	}
	p.account.holds(heldBy(p.writers))
	chunk.Release()
	return nil
}

func heldBy(writers []sinks.Writer) int {
	held := 0
	for _, w := range writers {
		if h, ok := w.(sinks.Holder); ok {
			held += h.Held()
		}
	}
	return held
}

// prefetched is what a reading goroutine gives: chunks, then its error.
type prefetched struct {
	chunks chan record.Chunk
	err    error // valid when chunks is closed
}

// prefetch keeps two chunks ahead: one in the channel, one in the goroutine's hand.
func prefetch(ctx context.Context, reader sources.Reader, account *account) *prefetched {
	p := &prefetched{chunks: make(chan record.Chunk, 1)}
	go func() {
		defer close(p.chunks)
		for {
			chunk, err := reader.Read(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = account.charge(ctx, chunk)
			}
			if err != nil {
				p.err = err
				return
			}
			select {
			case p.chunks <- chunk:
			case <-ctx.Done():
				chunk.Release()
				p.err = ctx.Err()
				return
			}
		}
	}()
	return p
}
