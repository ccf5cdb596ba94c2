package postgres

import (
	"context"
	"io"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// snapshot opens the read of a table without a key. It cannot go on in the middle, since nothing says which rows were read: what is
// there of an attempt that was cut off is of an epoch that never completes, and the table is read anew.
func (s *Source) snapshot(ctx context.Context, t *table, from record.Position) (sources.Reader, error) {
	if from != "" {
		err := s.with(ctx, func(c *postgres.Conn) error { return s.again(ctx, c, t, "its snapshot was cut off") })
		if err != nil {
			return nil, err
		}
		return ended{}, nil
	}
	layout, err := s.layout(t)
	if err != nil {
		return nil, err
	}
	rows := 0
	position := func(b *record.Batch) record.Position {
		rows += b.Rows
		return record.Position(strconv.Itoa(rows))
	}
	return s.stream(ctx, t, layout, "select "+layout.Select()+" from "+t.Quoted(), nil, position), nil
}

// ended is the reader of a lane that has nothing to give.
type ended struct{}

func (ended) Read(context.Context) (record.Chunk, error)           { return record.Chunk{}, io.EOF }
func (ended) Settle(context.Context, record.Position, error) error { return nil }
func (ended) Close() error                                         { return nil }

// completion gives the one record that says that a stream was read to its end in this epoch: everything of epochs before is gone.
type completion struct {
	source *Source
	table  *table
	epoch  uint16
	done   bool
}

// completed is the position after that record.
const completed record.Position = "complete"

// Read gives the record once. A snapshot that was begun anew meanwhile is not complete.
func (r *completion) Read(context.Context) (record.Chunk, error) {
	if r.done {
		return record.Chunk{}, io.EOF
	}
	r.done = true
	layout, err := r.source.layout(r.table)
	if err != nil {
		return record.Chunk{}, err
	}
	b := record.NewBuilder(layout.Schema, 1)
	b.Next()
	r.table.system(0, record.Truncate, time.Now())(1, b.System())
	return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}, To: completed, ReadAt: time.Now()}, nil
}

// Settle notes when a table without a key was last read whole.
func (r *completion) Settle(ctx context.Context, _ record.Position, err error) error {
	if err != nil {
		return nil //nolint:nilerr // it is read again
	}
	r.table.note.Done = time.Now().UTC()
	return r.source.save(ctx, r.table)
}

// Close does nothing.
func (*completion) Close() error { return nil }
