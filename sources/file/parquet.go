package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// parquetReader reads a lane of a Parquet file, column after column.
type parquetReader struct {
	in     *input
	layout *layout
	file   *os.File
	rows   *parquet.Reader
	wanted []parquet.Wanted
	table  *table

	row     int64 // the next one, in the file
	end     int64 // of the lane
	failed  error
	closed  chan struct{}
	reading sync.Mutex
}

func (s *Source) openParquet(in *input, lane string, start int64, at place, schema *record.Schema) (*parquetReader, error) {
	l, err := s.layout(in)
	if err != nil {
		return nil, err
	}
	from, to, ok := l.lane(start, s.piece)
	changed := !ok
	if at.kind != "" {
		changed = changed || at.kind != "p" || at.mark != in.size || at.line != int64(len(l.groups)) || at.at < from || at.at > to
		from = at.at
	}
	if changed {
		return nil, stop(codeChanged, in.path, "a Parquet file must not change once it is read: give the new one another name",
			fmt.Errorf("it is not the file that lane %s began with", lane))
	}
	wanted, err := s.bindParquet(l, in, schema)
	if err != nil {
		return nil, err
	}
	r := &parquetReader{in: in, layout: l, wanted: wanted, table: newTable(schema, lane, in), row: from, end: to, closed: make(chan struct{})}
	r.table.given = true
	f, p, err := openFile(in)
	if err != nil {
		return nil, err
	}
	r.file, r.rows = f, parquet.NewReader(p, wanted)
	if from < to {
		if err := r.rows.Seek(r.groupOf(from)); err != nil {
			return nil, errors.Join(r.damaged(err), r.rows.Close(), f.Close())
		}
	}
	return r, nil
}

// groupOf gives the row group of a row, and its number there.
func (r *parquetReader) groupOf(row int64) (int, int64) {
	for i, g := range r.layout.groups {
		if row < g.Rows {
			return i, row
		}
		row -= g.Rows
	}
	return len(r.layout.groups), 0
}

// Read gives the next rows.
func (r *parquetReader) Read(ctx context.Context) (record.Chunk, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	select {
	case <-r.closed:
		return record.Chunk{}, errClosed
	default:
	}
	switch {
	case ctx.Err() != nil:
		return record.Chunk{}, ctx.Err()
	case r.failed != nil:
		return record.Chunk{}, r.failed
	case r.row >= r.end:
		return record.Chunk{}, io.EOF
	}
	chunk, err := r.chunk()
	if err != nil {
		r.failed = err
	}
	return chunk, err
}

func (r *parquetReader) chunk() (record.Chunk, error) {
	t := r.table
	rows, misfits, err := r.rows.Read(t.columns, int(min(r.end-r.row, r.rowsAtOnce())))
	if err != nil {
		return record.Chunk{}, r.damaged(err)
	}
	bad := map[int]*problem{}
	for _, m := range misfits {
		r.refuse(bad, m.Row, m.Column, m.Err)
	}
	for i := range r.wanted {
		if r.wanted[i].Field.Kind != t.schema.Fields[i].Kind {
			r.parse(i, rows, bad)
		}
	}
	t.rows = 0
	for i := range int64(rows) {
		t.next(r.row+i+1, r.row+i+1)
	}
	now := time.Now()
	b, err := t.batch(now)
	if err != nil {
		return record.Chunk{}, err
	}
	chunk := record.Chunk{Batches: []*record.Batch{b}, ReadAt: now}
	if len(bad) > 0 {
		chunk = r.sort(b, bad, now)
	}
	r.row += int64(rows)
	chunk.To = place{"p", r.row, int64(len(r.layout.groups)), r.in.size}.position()
	return chunk, nil
}

// refuse keeps what is wrong with a row; the first of its columns counts.
func (r *parquetReader) refuse(bad map[int]*problem, row, column int, err error) {
	switch {
	case errors.Is(err, parquet.ErrUTF8):
		err = errUTF8
	case errors.Is(err, parquet.ErrNull):
		err = errNoKey
	}
	name := r.table.schema.Fields[column].Name
	if have := bad[row]; have == nil || r.table.schema.Index(have.column) > column {
		bad[row] = &problem{code: codeOf(err), column: name, err: err}
	}
}

// parse makes values of a column of texts.
func (r *parquetReader) parse(column, rows int, bad map[int]*problem) {
	t := r.table
	texts := t.columns[column]
	t.columns[column] = record.Column{}
	for row := range rows {
		t.rows = row
		if !texts.IsValid(row) {
			if t.null(column) != nil { // it was refused already
				t.zero(column)
			}
			continue
		}
		if err := t.text(column, texts.Text(row), true); err != nil {
			t.zero(column)
			r.refuse(bad, row, column, err)
		}
	}
}

// sort takes the rows with bad values out of a batch.
func (r *parquetReader) sort(b *record.Batch, bad map[int]*problem, now time.Time) record.Chunk {
	var rows []int
	for row := range bad {
		rows = append(rows, row)
	}
	slices.Sort(rows)
	chunk := record.Chunk{ReadAt: now}
	for _, row := range rows {
		p := bad[row]
		number := r.row + int64(row) + 1
		refused := r.table.refused(number, number)
		refused.Column, refused.Raw = p.column, b.AppendJSON(nil, row)
		refused.Err = &fault.Error{
			Class: fault.Poison, Code: p.code, Place: fmt.Sprintf("%s, row %d", r.in.path, number),
			Err: fmt.Errorf("column %s: %w", p.column, p.err), Remedy: remedy(p.code),
		}
		chunk.Refused = append(chunk.Refused, refused)
	}
	if len(rows) < b.Rows {
		chunk.Batches = []*record.Batch{b.Without(rows)}
	}
	b.Release()
	return chunk
}

// rowsAtOnce bounds a batch by what the row group says of the size of its rows.
func (r *parquetReader) rowsAtOnce() int64 {
	group, _ := r.groupOf(r.row)
	g := r.layout.groups[group]
	return max(1, min(maxRows, maxBytes/max(1, g.Plain/max(1, g.Rows))))
}

// damaged says in which file, column and row group.
func (r *parquetReader) damaged(err error) error {
	where := r.in.path
	if d, ok := errors.AsType[*parquet.DamagedError](err); ok {
		where = fmt.Sprintf("%s, column %s, row group %d", where, d.Column, d.Group)
		err = fmt.Errorf("a page is damaged: %w", d.Err)
	}
	return stop(codeDamaged, where, fixAndRestart, err)
}

// Settle has nothing to do: files stay.
func (r *parquetReader) Settle(context.Context, record.Position, error) error { return nil }

// Close lets go of the file.
func (r *parquetReader) Close() error {
	close(r.closed)
	r.reading.Lock()
	defer r.reading.Unlock()
	return errors.Join(r.rows.Close(), r.file.Close())
}
