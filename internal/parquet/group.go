package parquet

import (
	"errors"
	"fmt"
	"math"

	"github.com/acequia-io/acequia/record"

	"github.com/parquet-go/parquet-go/format"
)

var errRows = errors.New("the columns of a row group have different numbers of rows")

// Rows names rows of a column: [Lo,Hi), or those of Pick in its order, when that is not nil.
type Rows struct {
	Lo, Hi int
	Pick   []uint32
}

// Put takes rows of a column.
type Put func(column *record.Column, rows Rows) error

// WriteGroup writes a row group of so many rows column after column, so that only one has to be in memory: for each field
// in turn values gives put its rows, in any number of pieces. The limits of Options hold for pages; the group is as large as
// it is. Rows that cannot be stored are an error, as of Write, but one that spoils the file.
func (w *Writer) WriteGroup(rows int, values func(field int, put Put) error) error {
	w.endGroup()
	if len(w.groups) > math.MaxInt16 {
		w.fail(errGroups)
	}
	if w.err != nil || rows == 0 {
		return w.err
	}
	g := w.newGroup(rows)
	for i, next := 0, 0; i < len(w.fields) && w.err == nil; i++ {
		from := next
		for next < len(w.columns) && w.columns[next].top == i {
			next++
		}
		put := 0
		w.lend(&w.columns[from])
		err := values(i, func(column *record.Column, rows Rows) error {
			s := span{lo: rows.Lo, hi: rows.Hi, pick: rows.Pick}
			put += s.len()
			return w.putRows(i, w.columns[from:next], column, s)
		})
		if err == nil && put != rows {
			err = fmt.Errorf("column %s: %d of %d: %w", w.fields[i].Name, put, rows, errRows)
		}
		if err != nil {
			w.fail(err)
			return w.err
		}
		for k := from; k < next; k++ {
			w.columns[k].flush(w.work[0])
			w.endChunk(&w.columns[k], &g)
			w.keep(&w.columns[k])
		}
	}
	w.fail(w.work[0].err)
	w.groups = append(w.groups, g)
	w.total += int64(rows)
	return w.err
}

// putRows takes rows of one field.
func (w *Writer) putRows(field int, leaves []column, values *record.Column, rows span) error {
	if !w.o.Checked {
		one, at, n := append([]record.Column(nil), *values), 0, rows.len()
		step := n // what is picked is looked at row by row
		if rows.pick != nil {
			step = 1
		}
		for ; at < n; at += step {
			if err := check(w.fields[field:field+1], one, rows.at(at), rows.at(at)+step); err != nil {
				return fmt.Errorf("write rows: %s", err) //nolint:errorlint // as Write
			}
		}
	}
	for at, most := 0, rows.len(); at < most && w.err == nil; {
		n := min(most-at, w.o.PageRows)
		for i := range leaves {
			leaves[i].write(w.work[0], values, rows.part(at, n))
		}
		at += n
		w.fail(w.work[0].err)
	}
	return w.err
}

// lend gives a column the memory that the chunk before it was made in: chunks of a group follow each other.
func (w *Writer) lend(c *column) {
	if w.spare.held > c.chunk.held {
		c.chunk, w.spare = w.spare, blocks{}
	}
}

// keep takes it back.
func (w *Writer) keep(c *column) {
	if c.chunk.held > w.spare.held {
		w.spare, c.chunk = c.chunk, blocks{}
		w.spare.reset()
	}
}

func (w *Writer) newGroup(rows int) format.RowGroup {
	return format.RowGroup{NumRows: int64(rows), FileOffset: w.offset, Ordinal: int16(len(w.groups))} //nolint:gosec // checked by the caller
}

// endChunk gives a chunk to the output.
func (w *Writer) endChunk(c *column, g *format.RowGroup) {
	m := c.metadata()
	start := w.offset
	if c.used[asDictionary] > 0 {
		m.DictionaryPageOffset = w.offset
		head, body := c.dictPage(w.work[0])
		w.write(head)
		w.write(body)
	}
	m.DataPageOffset = w.offset
	for k := range c.pages {
		c.pages[k].offset += int(w.offset)
	}
	for _, b := range c.chunk.all[:min(c.chunk.last+1, len(c.chunk.all))] {
		w.write(b)
	}
	m.TotalCompressedSize, m.TotalUncompressedSize = w.offset-start, int64(c.raw)
	g.TotalByteSize += m.TotalUncompressedSize
	g.TotalCompressedSize += m.TotalCompressedSize
	g.Columns = append(g.Columns, format.ColumnChunk{MetaData: m})
	w.pages = append(w.pages, append([]page(nil), c.pages...))
	c.resetChunk()
}
