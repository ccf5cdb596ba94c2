package bus

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/record"
)

// A chunk ends at so many rows, or so many bytes of messages.
const (
	maxRows  = 10_000
	maxBytes = 4 << 20
)

// reader reads the topic. Its position never moves: chunks are settled in their order.
type reader struct {
	config  Config
	decoder decoder // of Read alone
	sub     *broker.Subscription
	closing chan struct{}
	reading sync.Mutex // held while a Read is under way

	mu        sync.Mutex
	unsettled [][]*message.Message // of each chunk
	flying    int                  // messages in unsettled
	answered  []*message.Message   // their answer may be on its way to the broker
	closed    bool
}

// Read gives the messages that come within the linger of the first as one chunk.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	if err := ctx.Err(); err != nil {
		return record.Chunk{}, err
	}
	select {
	case <-r.closing:
		return record.Chunk{}, errClosed
	default:
	}
	var first *message.Message
	var ok bool
	select {
	case first, ok = <-r.sub.Messages:
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	case <-r.closing:
		return record.Chunk{}, errClosed
	}
	if !ok {
		return record.Chunk{}, errEnded
	}
	return r.chunk(r.gather(ctx, first))
}

// gather waits for more messages: until the linger is over, there are enough, or no more can come. What ends the read does
// not lose those that are there.
func (r *reader) gather(ctx context.Context, first *message.Message) []*message.Message {
	all := []*message.Message{first}
	rows, bytes := r.decoder.add(first), len(first.Payload)
	timer := time.NewTimer(r.config.Linger)
	defer timer.Stop()
	r.mu.Lock()
	room := r.config.InFlight - r.flying
	r.mu.Unlock()
	for rows < maxRows && bytes < maxBytes && len(all) < room {
		select {
		case m, ok := <-r.sub.Messages:
			if !ok {
				return all
			}
			all = append(all, m)
			rows += r.decoder.add(m)
			bytes += len(m.Payload)
		case <-timer.C:
			return all
		case <-ctx.Done():
			return all
		case <-r.closing:
			return all
		}
	}
	return all
}

// chunk gives what the messages hold, and keeps them until they are settled.
func (r *reader) chunk(all []*message.Message) (record.Chunk, error) {
	chunk, err := r.decoder.take()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.closed {
		err = errClosed
	}
	if err != nil {
		chunk.Release()
		for _, m := range all {
			m.Nack()
		}
		return record.Chunk{}, err
	}
	r.unsettled = append(r.unsettled, all)
	r.flying += len(all)
	chunk.Full = r.flying >= r.config.InFlight
	chunk.ReadAt = time.Now()
	return chunk, nil
}

// Settle confirms the messages of the oldest unsettled chunk, or lets them come again. With none it is what recovery rolled
// forward: those messages come again by themselves.
func (r *reader) Settle(_ context.Context, _ record.Position, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsettled) == 0 {
		return nil
	}
	all := r.unsettled[0]
	r.unsettled = r.unsettled[1:]
	r.flying -= len(all)
	for _, m := range all {
		if err == nil {
			m.Ack()
		} else {
			m.Nack()
		}
	}
	r.answered = append(slices.DeleteFunc(r.answered, done), all...)
	return nil
}

// done says whether Watermill has sent the answer: it ends the message's context then.
func done(m *message.Message) bool { return m.Context().Err() != nil }

// answerWait bounds how long a reader waits, when it ends, for answers that are on their way.
const answerWait = 2 * time.Second

// Close lets what was not settled come again, and ends the subscription.
func (r *reader) Close() error {
	r.mu.Lock()
	unsettled, closed, answered := r.unsettled, r.closed, r.answered
	r.unsettled, r.flying, r.answered, r.closed = nil, 0, nil, true
	r.mu.Unlock()
	if closed {
		return nil
	}
	close(r.closing)
	for _, all := range unsettled {
		for _, m := range all {
			m.Nack()
		}
		answered = append(answered, all...)
	}
	late := time.NewTimer(answerWait)
	defer late.Stop()
	for _, m := range answered {
		select {
		case <-m.Context().Done():
			continue
		case <-late.C:
		}
		break
	}
	err := r.sub.Close()
	r.reading.Lock() // a Read under way still uses the decoder
	defer r.reading.Unlock()
	r.decoder.close()
	return err
}
