package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// Reread is a source of records that are read again beside the lanes of a pipeline: all of a stream, or those with given keys.
// Its lane never ends, so that the next time goes on with it: Drained tells when everything is durable.
type Reread struct {
	lane   string
	stream string
	parts  int
	read   func(ctx context.Context, part int, each func(*record.Batch) error) error

	once    sync.Once
	drained chan struct{}

	mu    sync.Mutex
	first []int64 // number of the first chunk of each part that was begun
}

var (
	_ sources.Source = (*Reread)(nil)
	_ sources.Reader = (*rereader)(nil)
)

// Again makes a pipeline that reads streams of another again.
func Again(p routers.Pipeline, from *Reread) routers.Pipeline {
	p.Source, p.Slots, p.StopAfter = from, 1, 0
	p.Limits.Idle = rereadIdle
	return p
}

// rereadIdle is how long a group waits for more.
const rereadIdle = 100 * time.Millisecond

// Keys reads the records with some keys again. A key that is not there when it is looked up twice becomes the delete of it.
// Records are updates, so that a step which does not let them pass any more deletes them.
func Keys(tables sources.Tables, schema *record.Schema, sink string, keys *record.Batch) *Reread {
	return &Reread{
		lane: "repair/" + schema.Stream + "/" + sink, stream: schema.Stream, parts: (keys.Rows + keysOfLookup - 1) / keysOfLookup, drained: make(chan struct{}),
		read: func(ctx context.Context, part int, each func(*record.Batch) error) error {
			rows := make([]int32, min(keysOfLookup, keys.Rows-part*keysOfLookup))
			for i := range rows {
				rows[i] = int32(part*keysOfLookup + i) //nolint:gosec // rows of a batch
			}
			return again(ctx, tables, schema, keys.Select(rows), each)
		},
	}
}

// Whole reads a stream again as it is now.
func Whole(ctx context.Context, tables sources.Tables, schema *record.Schema) (*Reread, error) {
	parts, err := tables.Split(ctx, schema.Stream, rowsOfRange)
	if err != nil {
		return nil, fmt.Errorf("divide %s: %w", schema.Stream, err)
	}
	return &Reread{
		lane: "sync/" + schema.Stream, stream: schema.Stream, parts: len(parts), drained: make(chan struct{}),
		read: func(ctx context.Context, part int, each func(*record.Batch) error) error {
			return tables.Scan(ctx, schema.Stream, parts[part], func(b *record.Batch) error { return each(updates(b)) })
		},
	}, nil
}

// Changed reads the records of a stream that were changed since a time.
func Changed(tables sources.Since, schema *record.Schema, since time.Time) *Reread {
	return &Reread{
		lane: "since/" + schema.Stream, stream: schema.Stream, parts: 1, drained: make(chan struct{}),
		read: func(ctx context.Context, _ int, each func(*record.Batch) error) error {
			return tables.ScanSince(ctx, schema.Stream, since, func(b *record.Batch) error { return each(updates(b)) })
		},
	}
}

// updates gives the records as updates, with a reference for the callee.
func updates(b *record.Batch) *record.Batch {
	out := b.With(b.Schema, b.Columns)
	out.System.Ops = []record.Op{record.Update}
	return out
}

// again looks keys up, and those that are not found once more.
func again(ctx context.Context, tables sources.Tables, schema *record.Schema, keys *record.Batch, each func(*record.Batch) error) error {
	marker, _ := tables.(sources.Marker)
	for attempt := range 2 {
		var mark record.System
		if marker != nil {
			var err error
			if mark, err = marker.Mark(ctx, schema.Stream); err != nil {
				return err
			}
		}
		found := map[uint64]bool{}
		err := tables.Lookup(ctx, schema.Stream, keys, func(b *record.Batch) error {
			for _, h := range keyHashes(b, b.Schema.Key) {
				found[h] = true
			}
			return each(updates(b))
		})
		if err != nil {
			return err
		}
		var rows []int32
		for row, h := range keyHashes(keys, keys.Schema.Key) {
			if !found[h] {
				rows = append(rows, int32(row))
			}
		}
		if keys = keys.Select(rows); keys.Rows == 0 {
			return nil
		}
		if attempt == 1 {
			if marker == nil {
				return &fault.Error{
					Class: fault.Fatal, Code: codeGone, Place: schema.Stream,
					Err:    fmt.Errorf("%d records are gone, and the source cannot say as of when", keys.Rows),
					Remedy: "read the stream anew: its deletes come with that",
				}
			}
			return each(deletes(schema, keys, mark))
		}
	}
	return nil
}

// keyHashes hashes the keys of records.
func keyHashes(b *record.Batch, key []int) []uint64 {
	out := make([]uint64, b.Rows)
	for i, k := range key {
		addColumn(out, &b.Schema.Fields[k], &b.Columns[k], keySeed(i, b.Schema.Fields[k].Kind))
	}
	finish(out)
	return out
}

// deletes makes the deletes of keys: all other columns are null.
func deletes(schema *record.Schema, keys *record.Batch, mark record.System) *record.Batch {
	b := record.NewBuilder(schema, keys.Rows)
	for range keys.Rows {
		b.Next()
	}
	*b.System() = mark
	b.System().Ops = []record.Op{record.Delete}
	out := b.Batch(nil)
	columns := append([]record.Column{}, out.Columns...)
	for i, k := range schema.Key {
		columns[k] = keys.Columns[i]
	}
	return out.With(schema, columns)
}

// Drained is closed when all is durable.
func (r *Reread) Drained() <-chan struct{} { return r.drained }

// Lanes gives the one lane.
func (r *Reread) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: r.lane, Streams: []string{r.stream}, Replayable: true}}, nil
}

// rereadPrefix tells positions of a lane; the number of a chunk follows.
const rereadPrefix = "reread/"

// Open begins with the part that was not durable at a position. What an earlier run has not made durable is not known any more.
func (r *Reread) Open(ctx context.Context, _ sources.Lane, from record.Position) (sources.Reader, error) {
	n := int64(0)
	if from != "" {
		text, ok := strings.CutPrefix(string(from), rereadPrefix)
		var err error
		if n, err = strconv.ParseInt(text, 10, 64); err != nil || !ok {
			return nil, fault.Stop(fmt.Errorf("%q is no position of a lane that is read again", from))
		}
	}
	r.mu.Lock()
	part := 0
	for i, first := range r.first {
		if first <= n {
			part = i
		}
	}
	r.first = r.first[:part]
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	out := &rereader{Reread: r, next: n, settled: n, cancel: cancel, chunks: make(chan record.Chunk), ended: make(chan struct{}), closed: make(chan struct{})}
	out.reading.Go(func() { out.run(ctx, part) })
	return out, nil
}

type rereader struct {
	*Reread
	next    int64 // number of the last chunk that was read
	cancel  context.CancelFunc
	chunks  chan record.Chunk
	ended   chan struct{} // closed when err is set
	closed  chan struct{}
	err     error // io.EOF: all was read
	reading sync.WaitGroup
	settled int64
}

// run reads the parts.
func (r *rereader) run(ctx context.Context, part int) {
	defer close(r.ended)
	for ; part < r.parts; part++ {
		r.mu.Lock()
		r.first = append(r.first, r.next)
		r.mu.Unlock()
		r.err = r.read(ctx, part, func(b *record.Batch) error {
			r.mu.Lock()
			r.next++
			to := record.Position(rereadPrefix + strconv.FormatInt(r.next, 10))
			r.mu.Unlock()
			select {
			case r.chunks <- record.Chunk{Batches: []*record.Batch{b}, To: to, ReadAt: time.Now()}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if r.err != nil {
			return
		}
	}
	r.err = io.EOF
}

// Read gives the next records; at the end it waits.
func (r *rereader) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case chunk := <-r.chunks:
		return chunk, nil
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	case <-r.ended:
	}
	if !errors.Is(r.err, io.EOF) {
		return record.Chunk{}, r.err
	}
	r.note(0)
	select {
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	case <-r.closed:
		return record.Chunk{}, errors.New("the reader is closed")
	}
}

// note tells when all that was read is durable.
func (r *rereader) note(settled int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.settled = max(r.settled, settled)
	select {
	case <-r.ended:
		if r.settled >= r.next && errors.Is(r.err, io.EOF) {
			r.once.Do(func() { close(r.drained) })
		}
	default:
	}
}

// Settle notes what is durable.
func (r *rereader) Settle(_ context.Context, upTo record.Position, err error) error {
	text, ok := strings.CutPrefix(string(upTo), rereadPrefix)
	if err != nil || !ok {
		return nil //nolint:nilerr // it is read again
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err == nil {
		r.note(n)
	}
	return err
}

// Close ends the reads.
func (r *rereader) Close() error {
	close(r.closed)
	r.cancel()
	r.reading.Wait()
	return nil
}
