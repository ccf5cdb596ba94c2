package form

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/acequia-io/acequia/record"
)

var errClosed = errors.New("the reader of the form is closed")

// reader reads what is sent. Its position never moves, for there is nothing to read again: chunks are settled in their
// order.
type reader struct {
	source  *Source
	closing chan struct{}
	last    int // records of the last chunk; of Read alone
	most    int // requests at once, of late; of Read alone

	mu        sync.Mutex
	unsettled [][]*ticket
	closed    bool
}

// Read gives all that waits as one chunk: the answers under keys, and the records. The items sink writes an answer and its record in one
// transaction.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	for {
		if err := ctx.Err(); err != nil {
			return record.Chunk{}, err
		}
		if err := r.gather(ctx); err != nil {
			return record.Chunk{}, err
		}
		chunk, err := r.take()
		if err != nil || len(chunk.Batches) > 0 {
			return chunk, err
		}
		select {
		case <-r.source.queue.ready:
		case <-ctx.Done():
		case <-r.closing:
		}
	}
}

// The records of a busy form gather, so that more of them share a transaction and its fsync.
const (
	busy   = 8 // records of the last chunk
	moment = 6 * time.Millisecond
)

// gather waits, if the form is busy, until half of its requests wait: they are written while the other half is read and
// answered. It waits for a moment at most, for those that sent the other requests may be gone.
func (r *reader) gather(ctx context.Context) error {
	r.most = max(int(r.source.posts.Load()), r.most-r.most/16)
	enough := r.most / 2
	n, oldest := r.source.queue.expect(enough)
	if r.last < busy || n == 0 || n >= enough {
		return nil
	}
	rest := moment - time.Since(oldest)
	if rest <= 0 {
		return nil
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.source.queue.full:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.closing:
	}
	return nil
}

func (r *reader) take() (record.Chunk, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return record.Chunk{}, errClosed
	}
	batches, tickets := r.source.queue.take()
	if len(batches) == 0 {
		return record.Chunk{}, nil
	}
	r.last = len(tickets)
	r.unsettled = append(r.unsettled, tickets)
	r.source.waiting.Add(int64(len(tickets)))
	return record.Chunk{Batches: batches, ReadAt: time.Now()}, nil
}

// Settle answers the requests of the oldest unsettled chunk. With none it is what recovery rolled forward: those
// requests died with their process.
func (r *reader) Settle(_ context.Context, _ record.Position, err error) error {
	r.mu.Lock()
	if len(r.unsettled) == 0 {
		r.mu.Unlock()
		return nil
	}
	tickets := r.unsettled[0]
	r.unsettled = r.unsettled[1:]
	r.mu.Unlock()
	r.answer(tickets, err)
	return nil
}

func (r *reader) answer(tickets []*ticket, err error) {
	r.source.waiting.Add(-int64(len(tickets)))
	for _, t := range tickets {
		r.source.finish(t, err)
	}
}

// Close refuses what was read and not settled; what was not read waits for the next reader.
func (r *reader) Close() error {
	r.mu.Lock()
	unsettled, closed := r.unsettled, r.closed
	r.unsettled, r.closed = nil, true
	r.mu.Unlock()
	if closed {
		return nil
	}
	close(r.closing)
	for _, tickets := range unsettled {
		r.answer(tickets, errClosed)
	}
	return nil
}
