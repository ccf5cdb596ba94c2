package postgres

import (
	"cmp"
	"context"
	"io"
	"strconv"
	"time"

	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// snapshot opens the read of a table without a key. It cannot go on in the middle, since nothing says which rows were read: what is
// there of an attempt that was cut off is of an epoch that never completes, and the table is read anew.
func (s *Source) snapshot(ctx context.Context, t *table, lane string, after record.Position) (sources.Reader, error) {
	if after != "" {
		return tabular.Ended{}, s.mustBegin(ctx, t, "its snapshot was cut off, and without a key it cannot go on")
	}
	rows := 0
	reader := s.stream(ctx, t, query{
		lane: lane, snapshot: s.exported(t),
		sql: func(l selected) (string, []string) { return "select " + l.list + " from " + from(t.Table), nil },
		position: func(b *record.Batch) record.Position {
			rows += b.Rows
			return record.Position(strconv.Itoa(rows))
		},
	})
	return &counted{stream: reader, rows: &rows}, nil
}

// mustBegin notes durably that a table must be read anew, so that its lanes may end though not all of it was read.
func (s *Source) mustBegin(ctx context.Context, t *table, why string) error {
	return s.change(ctx, t.stream, t.note.Epoch, func(n *note) bool {
		n.Anew = why
		return true
	})
}

// completion gives the one record that says that a stream was read to its end in this epoch: everything of epochs before is gone.
type completion struct {
	source *Source
	table  *table
	done   bool
}

// completed is the position after that record.
const completed record.Position = "complete"

// Read gives the record once. What was read is not complete when the table must be read anew. When the table was last read whole is
// noted before the end is given: after a crash nobody tells a lane that has ended what was durable.
func (r *completion) Read(ctx context.Context) (record.Chunk, error) {
	now := r.source.table(r.table.stream)
	if now == nil || now.note.Epoch != r.table.note.Epoch || now.note.Anew != "" {
		return record.Chunk{}, io.EOF
	}
	if r.done {
		err := r.source.change(ctx, r.table.stream, r.table.note.Epoch, func(n *note) bool {
			n.Done = time.Now().UTC()
			return true
		})
		return record.Chunk{}, cmp.Or(err, io.EOF)
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

// Settle has nothing to confirm.
func (*completion) Settle(context.Context, record.Position, error) error { return nil }

// Close does nothing.
func (*completion) Close() error { return nil }
