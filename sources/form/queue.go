package form

import (
	"encoding/hex"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// What may wait for a reader: past either, requests get 503.
const (
	maxQueued      = 10_000
	maxQueuedBytes = 32 << 20
)

// ticket is a record on its way, and what its request waits for.
type ticket struct {
	id   string
	at   int64  // microseconds since 1970: its time, and its version
	key  string // the form's name and the Idempotency-Key; "": none
	hash hash

	done chan struct{} // closed when id and err stand
	err  error

	// of the queue, under its lock
	taken, gone bool
	row, keyRow int
}

// queue holds what was sent and not yet read, in columns: a reader takes all of it as one chunk.
type queue struct {
	table *schemas.Table
	keys  *record.Schema
	ready chan struct{} // has an entry after something was put
	full  chan struct{} // has an entry after the expected number waited

	mu       sync.Mutex
	items    *record.Builder
	answers  *record.Builder
	tickets  []*ticket
	bytes    int
	oldest   time.Time
	expected int
}

func newQueue(table *schemas.Table, keys *record.Schema) *queue {
	return &queue{
		table: table, keys: keys, ready: make(chan struct{}, 1), full: make(chan struct{}, 1),
		items: record.NewBuilder(table.Schema(), 0), answers: record.NewBuilder(keys, 0),
	}
}

// put adds a record, or says that there is no room.
func (q *queue) put(t *ticket, values []schemas.Value, size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.tickets) >= maxQueued || q.bytes+size > maxQueuedBytes {
		return false
	}
	if len(q.tickets) == 0 {
		q.oldest = time.Now()
	}
	t.row, t.keyRow = q.items.Rows(), -1
	q.table.Append(q.items, values)
	mark(q.items, t.at)
	q.items.System().EventIDs.AppendText([]byte(t.id))
	if t.key != "" {
		t.keyRow = q.answers.Rows()
		q.answers.String(0, t.key)
		q.answers.String(1, hex.EncodeToString(t.hash[:]))
		q.answers.String(2, t.id)
		q.answers.Next()
		mark(q.answers, t.at)
		q.answers.System().EventIDs.AppendText([]byte(t.id)) // the same as its item's: by it the items sink knows what belongs together
	}
	q.tickets = append(q.tickets, t)
	q.bytes += size
	signal(q.ready)
	if len(q.tickets) == q.expected {
		signal(q.full)
	}
	return true
}

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// mark notes the time of the last row, which is its version too: its key is new, so that any version is right.
func mark(b *record.Builder, stamp int64) {
	sys := b.System()
	sys.EventTimes = append(sys.EventTimes, stamp)
	sys.Versions.Lo = append(sys.Versions.Lo, uint64(stamp)) //nolint:gosec // after 1970
}

// take gives all that waits as batches, with its tickets: answers first, so that the items sink knows which records have one.
func (q *queue) take() ([]*record.Batch, []*ticket) {
	q.mu.Lock()
	items, answers, tickets := q.items, q.answers, q.tickets
	if len(tickets) == 0 {
		q.mu.Unlock()
		return nil, nil
	}
	q.items, q.answers = record.NewBuilder(q.table.Schema(), len(tickets)), record.NewBuilder(q.keys, answers.Rows())
	q.tickets, q.bytes = make([]*ticket, 0, len(tickets)), 0
	var rows, keyRows []int
	for _, t := range tickets {
		if t.taken = !t.gone; t.taken {
			continue
		}
		rows = append(rows, t.row)
		if t.keyRow >= 0 {
			keyRows = append(keyRows, t.keyRow)
		}
	}
	q.mu.Unlock()
	tickets = slices.DeleteFunc(tickets, func(t *ticket) bool { return !t.taken })
	var batches []*record.Batch
	for _, part := range []struct {
		builder *record.Builder
		gone    []int
	}{{answers, keyRows}, {items, rows}} {
		if part.builder.Rows() == len(part.gone) {
			continue
		}
		sys := part.builder.System()
		sys.Ops, sys.Source, sys.IngestTime = []record.Op{record.Insert}, "form."+q.table.Name, time.Now().UnixMicro()
		batch := part.builder.Batch(nil)
		if len(part.gone) > 0 {
			batch = batch.Without(part.gone)
		}
		batches = append(batches, batch)
	}
	return batches, tickets
}

// abandon takes a record back that no reader has taken.
func (q *queue) abandon(t *ticket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if t.taken {
		return false
	}
	t.gone = true
	return true
}

// waiting counts the records that no reader has taken, and tells since when the first waits.
func (q *queue) waiting() (int, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tickets), q.oldest
}

// expect is waiting, and has full signalled when n records wait.
func (q *queue) expect(n int) (int, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-q.full:
	default:
	}
	q.expected = n
	return len(q.tickets), q.oldest
}
