package form

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// submission is a checked record that waits to become durable.
type submission struct {
	values []schemas.Value
	key    string // "" when the request has none
	hash   string
	id     string
	at     int64 // microseconds since 1970 UTC
	state  atomic.Int32
	done   chan error // one answer
}

// The states of a submission: it is either taken by a reader or withdrawn by its request.
const (
	inQueue int32 = iota
	taken
	withdrawn
)

var (
	errStopping = errors.New("the form is stopping")
	errFull     = errors.New("too many requests wait")
	errLate     = errors.New("it took too long to make the record durable")
)

// submit waits until the record is durable.
func (s *Source) submit(ctx context.Context, sub *submission) error {
	select {
	case s.queue <- sub:
	default:
		return errFull
	}
	timer := time.NewTimer(s.config.Wait)
	defer timer.Stop()
	select {
	case err := <-sub.done:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	if sub.state.CompareAndSwap(inQueue, withdrawn) {
		return errLate
	}
	select { // it is on its way: its fate is known soon, and the client should hear it
	case err := <-sub.done:
		return err
	case <-time.After(s.config.Wait):
		return errLate
	}
}

// maxRows is how many requests a chunk holds at most: they share one transaction.
const maxRows = 1000

// reader gives the requests that wait as chunks, and answers them as they settle.
type reader struct {
	source *Source
	once   sync.Once
	closed chan struct{}

	mu      sync.Mutex
	pending [][]*submission // read and not settled, by chunk
}

// Read waits for a request, and takes all that wait with it: while one group becomes durable the next gathers.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	for {
		if err := ctx.Err(); err != nil {
			return record.Chunk{}, err
		}
		select {
		case first := <-r.source.queue:
			if chunk := r.take(first); len(chunk) > 0 {
				return r.source.chunk(chunk), nil
			}
		case <-ctx.Done():
			return record.Chunk{}, ctx.Err()
		case <-r.closed:
			return record.Chunk{}, errStopping
		}
	}
}

func (r *reader) take(first *submission) []*submission {
	var chunk []*submission
	for sub := first; sub != nil; {
		if sub.state.CompareAndSwap(inQueue, taken) {
			chunk = append(chunk, sub)
		}
		sub = nil
		if len(chunk) < maxRows {
			select {
			case sub = <-r.source.queue:
			default:
			}
		}
	}
	if len(chunk) > 0 {
		r.mu.Lock()
		r.pending = append(r.pending, chunk)
		r.mu.Unlock()
	}
	return chunk
}

// chunk makes two batches: the records, and the keys of those that have one.
func (s *Source) chunk(chunk []*submission) record.Chunk {
	now := time.Now()
	games, keys := record.NewBuilder(s.schema, len(chunk)), record.NewBuilder(s.keys, len(chunk))
	for _, sub := range chunk {
		s.config.Table.Append(games, sub.values)
		s.describe(games.System(), sub)
		if sub.key == "" {
			continue
		}
		keys.String(0, sub.key)
		keys.String(1, sub.hash)
		keys.String(2, sub.id)
		keys.Next()
		s.describe(keys.System(), sub)
	}
	out := record.Chunk{ReadAt: now}
	for _, b := range []*record.Builder{games, keys} {
		if b.Rows() > 0 {
			sys := b.System()
			sys.Ops, sys.Source, sys.IngestTime = []record.Op{record.Insert}, "form."+s.config.Table.Name, now.UnixMicro()
			out.Batches = append(out.Batches, b.Batch(nil))
		}
	}
	return out
}

// describe adds what the system knows of a record. Its key is new, so that any version is right; the time it came is one
// that a person can read.
func (s *Source) describe(sys *record.System, sub *submission) {
	sys.Versions.Lo = append(sys.Versions.Lo, uint64(sub.at)) //nolint:gosec // after 1970
	sys.EventTimes = append(sys.EventTimes, sub.at)
}

// Settle answers the requests of the oldest chunk.
func (r *reader) Settle(_ context.Context, _ record.Position, err error) error {
	r.mu.Lock()
	var chunk []*submission
	if len(r.pending) > 0 {
		chunk, r.pending = r.pending[0], r.pending[1:]
	}
	r.mu.Unlock()
	for _, sub := range chunk {
		sub.done <- err
	}
	return nil
}

// Close ends a Read under way and refuses what was read and not settled.
func (r *reader) Close() error {
	r.once.Do(func() { close(r.closed) })
	r.mu.Lock()
	pending := r.pending
	r.pending = nil
	r.mu.Unlock()
	for _, chunk := range pending {
		for _, sub := range chunk {
			sub.done <- errStopping
		}
	}
	return nil
}
