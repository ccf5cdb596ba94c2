package sqs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// A chunk ends at so many rows, or so many bytes of bodies. As many bytes may wait for a read.
const (
	maxRows  = 10_000
	maxBytes = 4 << 20
	maxHeld  = 16 << 20
)

// reader reads the queue. Its position never moves: chunks are settled in their order.
type reader struct {
	config   Config
	queue    Queue
	payloads *messaging.Payloads // nil: pointers are not followed
	decoder  *decoder            // of Read alone
	log      *slog.Logger
	answers  *answers

	arrivals chan []*message
	press    chan struct{} // holds one: nothing more comes before some is deleted
	drained  chan struct{} // closed when the queue has ended and all of it is in arrivals
	closing  chan struct{}
	stop     context.CancelFunc // of the pollers and the keeper
	end      func()             // of the connections
	cut      context.CancelFunc // of receives that are under way
	pollers  sync.WaitGroup
	keeping  sync.WaitGroup
	reading  sync.Mutex // held while a Read is under way

	flight *flight

	mu        sync.Mutex
	failure   error
	failed    chan struct{} // closed when failure is set
	unsettled [][]*message  // of each chunk
	stopped   []*message    // settled as what a stop leaves; to be released when the pollers have ended, which would take them again
	ungiven   []*message    // what came when no Read would take it any more; as much
	pressed   bool          // the group was told to close since it got its last message
	closed    bool
}

// message is one that is in flight.
type message struct {
	messaging.Message
	received time.Time // first, by this reader: nothing hides it longer than LongestHide after it
	until    time.Time // hidden from others
	lost     error     // its body cannot be had
	size     int
	group    string // of its queue; the others of it are told by System, which is let go when the message was read
	receives int
	sent     int64 // microseconds since 1970 UTC; 0: not told
	tries    int   // of its answer
}

// start starts the pollers.
func start(ctx context.Context, c Config, q Queue, payloads *messaging.Payloads, d *decoder, log *slog.Logger) *reader {
	whole := context.WithoutCancel(ctx)
	ctx, stop := context.WithCancel(whole)
	receives, cut := context.WithCancel(whole)
	r := &reader{
		config: c, queue: q, payloads: payloads, decoder: d, log: log.With(slog.String("queue", messaging.QueueName(c.Queue))),
		arrivals: make(chan []*message, 2*c.Pollers), press: make(chan struct{}, 1),
		drained: make(chan struct{}), closing: make(chan struct{}), failed: make(chan struct{}), stop: stop, cut: cut, flight: newFlight(c.InFlight),
	}
	workers := c.Pollers
	if messaging.IsFIFO(c.Queue) {
		workers = 1 // what is released must be released in its order
	}
	r.answers = startAnswers(whole, q, r.flight, workers, r.log)
	for range c.Pollers {
		r.pollers.Go(func() { r.poll(ctx, receives) })
	}
	r.keeping.Go(func() { r.keep(ctx) })
	r.keeping.Go(func() {
		r.pollers.Wait()
		close(r.drained)
	})
	return r
}

// Read gives the messages that come within the linger of the first as one chunk.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	for {
		if err := ctx.Err(); err != nil {
			return record.Chunk{}, err
		}
		if isClosed(r.closing) {
			return record.Chunk{}, errClosed
		}
		select {
		case first := <-r.arrivals:
			return r.chunk(r.gather(ctx, first))
		default:
		}
		select {
		case first := <-r.arrivals:
			return r.chunk(r.gather(ctx, first))
		case <-r.press:
			if c, ok := r.full(); ok {
				return c, nil
			}
		case <-r.failed:
			return record.Chunk{}, r.failure
		case <-r.drained:
			if len(r.arrivals) == 0 && !isClosed(r.failed) && !isClosed(r.closing) {
				return record.Chunk{}, io.EOF
			}
		case <-ctx.Done():
		case <-r.closing:
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

// full gives an empty chunk that closes the group, once for what the group holds.
func (r *reader) full() (record.Chunk, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsettled) == 0 || r.pressed || r.closed {
		return record.Chunk{}, false
	}
	r.pressed = true
	r.unsettled = append(r.unsettled, nil)
	return record.Chunk{Full: true, ReadAt: time.Now()}, true
}

// gather waits for more messages: until the linger is over or there are enough. What ends the read does not lose those that are there.
func (r *reader) gather(ctx context.Context, first []*message) []*message {
	all, rows, bytes := first, 0, 0
	add := func(some []*message) {
		for _, m := range some {
			if m.lost != nil {
				r.decoder.lost(&m.Message, m.lost)
				rows++
			} else {
				rows += r.decoder.add(&m.Message)
			}
			bytes += m.size
			r.flight.slim(m) // the rest of it may wait for hours
		}
	}
	add(first)
	timer := time.NewTimer(r.config.Linger)
	defer timer.Stop()
	for rows < maxRows && bytes < maxBytes {
		select {
		case more := <-r.arrivals:
			all = append(all, more...)
			add(more)
			continue
		case <-timer.C:
		case <-r.drained:
			if len(r.arrivals) > 0 {
				continue
			}
		case <-r.press:
		case <-ctx.Done():
		case <-r.closing:
		}
		break
	}
	r.flight.taken(bytes)
	return all
}

// chunk gives what the messages hold, and keeps them until they are settled.
func (r *reader) chunk(all []*message) (record.Chunk, error) {
	chunk, err := r.decoder.take()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil && r.closed {
		err = errClosed
	}
	if err != nil {
		chunk.Release()
		r.stopped = append(r.stopped, all...)
		return record.Chunk{}, err
	}
	r.unsettled = append(r.unsettled, all)
	chunk.Full = r.flight.full()
	r.pressed = chunk.Full
	return chunk, nil
}

// Settle deletes the messages of the oldest unsettled chunk, or lets them come again: what a stop leaves when the reader closes.
// With none it is what recovery rolled forward: those messages come again by themselves.
func (r *reader) Settle(_ context.Context, _ record.Position, refused error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsettled) == 0 {
		return nil
	}
	all := r.unsettled[0]
	r.unsettled = r.unsettled[1:]
	switch {
	case refused == nil:
		r.answers.delete(all)
	case errors.Is(refused, sources.ErrStopped):
		r.stopped = append(r.stopped, all...)
	default:
		r.answers.refuse(all)
	}
	return nil
}

// receiveGrace is how long a receive that is under way may still answer when its reader ends: of what it has taken and cannot tell any
// more nobody knows, and it stays hidden for the whole of its time.
const receiveGrace = 500 * time.Millisecond

// Close lets what was not settled come again, and waits for the answers.
func (r *reader) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	close(r.closing)
	r.stop()
	late := time.AfterFunc(receiveGrace, r.cut)
	r.pollers.Wait()
	late.Stop()
	r.cut()
	r.reading.Lock() // a Read under way may hold messages
	defer r.reading.Unlock()
	r.letGo()
	r.answers.finish()
	r.keeping.Wait()
	r.end()
	return nil
}

// letGo shows all that was not settled to others, in its order.
func (r *reader) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers.release(r.stopped)
	for _, all := range r.unsettled {
		r.answers.refuse(all)
	}
	for len(r.arrivals) > 0 {
		r.answers.release(<-r.arrivals)
	}
	r.answers.release(r.ungiven)
	r.stopped, r.unsettled, r.ungiven = nil, nil, nil
}
