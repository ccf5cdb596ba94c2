package routers

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/record"
)

// pump reads the chunks of one incarnation, hands them to the Router one at a time, and closes groups.
type pump struct {
	*incarnation
	committer *committer
	out       chan<- *message.Message
	open      *group
	age, idle *time.Timer
	due       bool // the open group is to be cut as soon as the committer is free
	pressed   bool // and may not grow until then
}

func newPump(in *incarnation, out chan<- *message.Message) *pump {
	p := &pump{incarnation: in, committer: newCommitter(in), out: out, age: time.NewTimer(time.Hour), idle: time.NewTimer(time.Hour)}
	p.renew(in.state.Position)
	return p
}

// renew starts the next group.
func (p *pump) renew(at record.Position) {
	p.open, p.due, p.pressed = newGroup(at), false, false
	p.age.Stop()
	p.idle.Stop()
}

// run returns when all that was read is durable or refused: nil when the lane has ended.
func (p *pump) run(ctx, reads context.Context) error {
	reading, cancel := context.WithCancel(reads)
	in := p.prefetch(reading)
	go p.committer.serve(ctx)
	err := guard(func() error { return p.fill(ctx, in) })
	cancel()
	p.age.Stop()
	p.idle.Stop()
	failed, commitErr := p.committer.finish()
	if commitErr != nil {
		err = commitErr
	}
	p.refuse(ctx, failed, in, err)
	return err
}

// fill returns when the last group is with the committer, or on the first failure. What was accepted before a failed
// read is committed: else a source that fails after each few chunks would never get on.
func (p *pump) fill(ctx context.Context, in *prefetched) error {
	chunks, stop := in.chunks, p.stop
	var end error
	for {
		free, more := p.gates(chunks)
		select {
		case <-free:
			p.committer.take(p.open)
			if chunks == nil {
				return end
			}
			p.renew(p.open.to)
		case chunk, ok := <-more:
			if ok {
				if err := p.deliver(ctx, chunk); err != nil {
					return err
				}
				continue
			}
			chunks, end = nil, p.readEnded(in.err)
			if p.open.empty() {
				return end
			}
		case <-p.age.C:
			p.due = true
		case <-p.idle.C:
			p.due = true
		case <-p.account.press:
			p.due, p.pressed = true, true
		case <-p.committer.failed:
			return nil // finish gives the error
		case <-stop:
			stop = nil
			if p.open.ended {
				continue
			}
			chunks, p.due, end = nil, true, errStopped
			if p.open.empty() || p.lane.Replayable && 2*p.board.commitTime() > p.incarnation.run.pipeline.StopTimeout {
				return end
			}
		}
	}
}

// readEnded makes the open group the last one and says why nothing more comes.
func (p *pump) readEnded(err error) error {
	p.due, p.open.ended = true, err == nil
	if err != nil && isClosed(p.stop) {
		return errStopped // that is why
	}
	return err
}

// gates says whether the open group may be cut and whether it may grow.
func (p *pump) gates(chunks <-chan record.Chunk) (free <-chan struct{}, more <-chan record.Chunk) {
	full := p.pressed || p.open.full(p.incarnation.run.pipeline.Limits)
	if !full {
		more = chunks
	}
	if (p.due || full) && !p.open.empty() {
		free = p.committer.free
	}
	return free, more
}

// deliver hands one chunk out and waits until it is accepted.
func (p *pump) deliver(ctx context.Context, chunk record.Chunk) error {
	defer chunk.Release()
	p.account.deliver(true)
	defer p.account.deliver(false)
	d := &delivery{incarnation: p.incarnation, chunk: chunk, group: p.open, accepted: make(chan struct{})}
	m := message.NewMessage(p.lane.ID, nil)
	m.SetContext(context.WithValue(ctx, deliveryKey{}, d))
	p.open.chunks = append(p.open.chunks, chunk.To) // from here on it is settled with the group
	p.out <- m
	select {
	case <-d.accepted:
	case <-m.Nacked():
		return d.failure()
	}
	p.incarnation.run.probe(accepted)
	limits := p.incarnation.run.pipeline.Limits
	p.open.to = chunk.To
	p.due = p.due || chunk.Full
	if len(p.open.chunks) == 1 {
		if limits.Age == 0 {
			p.due = true
		} else {
			p.age.Reset(limits.Age)
		}
	}
	if limits.Idle > 0 {
		p.idle.Reset(limits.Idle)
	}
	p.account.accepted(p.held())
	return p.incarnation.run.charge()
}

// refuse tells the reader about every chunk that will not be durable in this incarnation, in the order of the reads.
func (p *pump) refuse(ctx context.Context, failed *group, in *prefetched, reason error) {
	if reason == nil {
		reason = errStopped
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWait)
	defer cancel()
	var ends []record.Position
	if failed != nil {
		ends = failed.unsettled()
	}
	if p.open != p.committer.last {
		p.open.release(reason)
		ends = append(ends, p.open.chunks...)
	}
	for chunk := range in.chunks { // until the reading goroutine has ended
		ends = append(ends, chunk.To)
		chunk.Release()
	}
	for _, chunk := range in.rest {
		ends = append(ends, chunk.To)
		chunk.Release()
	}
	for _, to := range ends {
		if err := guard(func() error { return p.reader.Settle(ctx, to, reason) }); err != nil {
			p.log.WarnContext(ctx, "reader did not take a refusal", errAttr(err))
		}
	}
}

// prefetched is what a reading goroutine gives: chunks, then why it ended.
type prefetched struct {
	chunks chan record.Chunk
	err    error          // valid when chunks is closed; nil: the lane has ended
	rest   []record.Chunk // valid when chunks is closed: read, but nobody took it
}

// prefetch keeps two chunks ahead: one in the channel, one in the goroutine's hand.
func (p *pump) prefetch(ctx context.Context) *prefetched {
	in := &prefetched{chunks: make(chan record.Chunk, 1)}
	read := func() error {
		for {
			if err := p.account.room(ctx); err != nil {
				return err
			}
			chunk, err := p.reader.Read(ctx)
			if err != nil {
				return err
			}
			p.account.charge(chunk)
			select {
			case in.chunks <- chunk:
			case <-ctx.Done():
				in.rest = append(in.rest, chunk)
				return ctx.Err()
			}
		}
	}
	go func() {
		defer close(in.chunks)
		if in.err = guard(read); errors.Is(in.err, io.EOF) {
			in.err = nil
		}
	}()
	return in
}
