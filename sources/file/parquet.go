package file

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// valuesAtOnce is how many values of a column are taken from the library at a time.
const valuesAtOnce = 1024

// parquetReader reads a lane of a Parquet file, column after column.
type parquetReader struct {
	in      *input
	layout  *layout
	file    *os.File
	parquet *parquet.File
	table   *table
	columns []stored
	cursors []pageCursor
	values  []parquet.Value

	row      int64 // the next one, in the file
	end      int64 // of the lane
	group    int   // that the cursors are in; -1: none
	groupEnd int64
	failed   error
	closed   chan struct{}
	reading  sync.Mutex
}

// pageCursor stands in the pages of a column.
type pageCursor struct {
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
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
	columns, err := s.bindParquet(l, in, schema)
	if err != nil {
		return nil, err
	}
	r := &parquetReader{
		in: in, layout: l, table: newTable(schema, lane, in), columns: columns, cursors: make([]pageCursor, len(columns)),
		values: make([]parquet.Value, valuesAtOnce), row: from, end: to, group: -1, closed: make(chan struct{}),
	}
	r.file, r.parquet, err = openFile(in)
	if err != nil {
		return nil, err
	}
	return r, nil
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
	for r.row >= r.groupEnd {
		if err := r.enter(); err != nil {
			return record.Chunk{}, err
		}
	}
	rows := int(min(r.groupEnd-r.row, r.rowsAtOnce()))
	bad := map[int]*problem{}
	for column := range r.columns {
		if err := r.fill(column, rows, bad); err != nil {
			return record.Chunk{}, err
		}
	}
	r.table.rows = 0
	for i := range int64(rows) {
		r.table.next(r.row+i+1, r.row+i+1)
	}
	now := time.Now()
	b, err := r.table.batch(now)
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
	g := r.layout.groups[r.group]
	return max(1, min(maxRows, maxBytes/max(1, g.plain/max(1, g.rows))))
}

// enter opens the columns of the row group that the next row stands in.
func (r *parquetReader) enter() error {
	var begin int64
	for i, g := range r.layout.groups {
		end := begin + g.rows
		if r.row < end {
			r.group, r.groupEnd = i, end
			break
		}
		begin = end
	}
	chunks := r.parquet.RowGroups()[r.group].ColumnChunks()
	for i := range r.cursors {
		err := r.guard(i, func() error {
			r.cursors[i].close()
			r.cursors[i].pages = chunks[r.columns[i].leaf].Pages()
			if r.row == begin {
				return nil
			}
			return r.cursors[i].pages.SeekToRow(r.row - begin)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// guard says which column an error, or a panic of the library over a damaged page, concerns.
func (r *parquetReader) guard(column int, do func() error) (err error) {
	defer func() {
		if lost := recover(); lost != nil {
			err = fmt.Errorf("%v", lost)
		}
		if err != nil {
			where := fmt.Sprintf("%s, column %s, row group %d", r.in.path, r.columns[column].name, r.group)
			err = stop(codeDamaged, where, fixAndRestart, fmt.Errorf("a page is damaged: %w", err))
		}
	}()
	return do()
}

// fill sets a column of so many rows; what is wrong with a row goes to bad.
func (r *parquetReader) fill(column, rows int, bad map[int]*problem) error {
	t, c := r.table, &r.cursors[column]
	from := &r.columns[column]
	return r.guard(column, func() error {
		for row := 0; row < rows; {
			n, err := c.read(r.values[:min(rows-row, len(r.values))])
			if err != nil {
				return err
			}
			for i := range r.values[:n] {
				t.rows = row
				if err := t.value(column, from, &r.values[i]); err != nil {
					t.zero(column)
					if bad[row] == nil {
						bad[row] = &problem{code: codeOf(err), column: t.schema.Fields[column].Name, err: err}
					}
				}
				row++
			}
		}
		return nil
	})
}

// read gives some values, one at least.
func (c *pageCursor) read(values []parquet.Value) (int, error) {
	for {
		if c.values == nil {
			c.release()
			page, err := c.pages.ReadPage()
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return 0, err
			}
			c.page, c.values = page, page.Values()
		}
		n, err := c.values.ReadValues(values)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return 0, err
			}
			c.values = nil // the page stays until its values were taken
		}
		if n > 0 {
			return n, nil
		}
	}
}

// release gives the memory of a page back, once its values were taken.
func (c *pageCursor) release() {
	if c.page != nil {
		parquet.Release(c.page)
		c.page = nil
	}
}

func (c *pageCursor) close() {
	c.release()
	if c.pages != nil {
		_ = c.pages.Close() // it was only read
	}
	*c = pageCursor{}
}

// Settle has nothing to do: files stay.
func (r *parquetReader) Settle(context.Context, record.Position, error) error { return nil }

// Close lets go of the file.
func (r *parquetReader) Close() error {
	close(r.closed)
	r.reading.Lock()
	defer r.reading.Unlock()
	for i := range r.cursors {
		r.cursors[i].close()
	}
	return r.file.Close()
}

// value sets what a Parquet file stores. On an error it has set nothing.
func (t *table) value(column int, from *stored, v *parquet.Value) error {
	if v.IsNull() {
		return t.null(column)
	}
	f, c := &t.schema.Fields[column], &t.columns[column]
	switch from.field.Kind {
	case record.Float32:
		c.Floats = append(c.Floats, float64(v.Float()))
	case record.Float64:
		c.Floats = append(c.Floats, v.Double())
	case record.Bool:
		n := int64(0)
		if v.Boolean() {
			n = 1
		}
		return t.whole(column, n, 0)
	case record.String, record.Bytes:
		if from.form == uuid {
			var text [36]byte
			return t.text(column, appendUUID(text[:0], v.ByteArray()), true)
		}
		return t.text(column, v.ByteArray(), false)
	case record.Timestamp, record.LocalTimestamp:
		n, ok := micros(from.form, v)
		if !ok {
			return fmt.Errorf("%s cannot be kept to the microsecond", v)
		}
		c.Ints = append(c.Ints, n)
	case record.Decimal:
		switch from.form {
		case bigEnd:
			w, ok := bigEndian(v.ByteArray())
			if !ok {
				return fmt.Errorf("a decimal of %d bytes is no %s", len(v.ByteArray()), f.TypeName())
			}
			return t.decimal(column, w, f.Scale-from.field.Scale)
		case unsigned:
			return t.decimal(column, record.Int128{Lo: v.Uint64()}, f.Scale)
		default:
			return t.whole(column, wholeOf(v), f.Scale-from.field.Scale)
		}
	default:
		if from.form == unsigned {
			return t.whole(column, int64(v.Uint32()), f.Scale)
		}
		return t.whole(column, wholeOf(v), f.Scale)
	}
	return nil
}

func wholeOf(v *parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

// whole sets an integer, with so many zeros behind it where the column is a decimal.
func (t *table) whole(column int, n int64, zeros int) error {
	f, c := &t.schema.Fields[column], &t.columns[column]
	switch {
	case f.Kind == record.Decimal && (zeros > 0 || f.Wide() || n >= powers[f.Precision] || n <= -powers[f.Precision]):
		return t.decimal(column, record.Int128{Hi: n >> 63, Lo: uint64(n)}, zeros) //nolint:gosec // two's complement
	case f.Kind == record.Int32 && int64(int32(n)) != n: //nolint:gosec // that is the question
		return misfit(f, fmt.Appendf(nil, "%d", n))
	}
	c.Ints = append(c.Ints, n)
	return nil
}

// decimal sets an unscaled decimal with so many zeros behind it.
func (t *table) decimal(column int, w record.Int128, zeros int) error {
	f, c := &t.schema.Fields[column], &t.columns[column]
	high, low := uint64(w.Hi), w.Lo //nolint:gosec // two's complement
	negative := w.Hi < 0
	if negative {
		high, low = negate(high, low)
	}
	limitHigh, limitLow := uint64(0), uint64(1)
	for range f.Precision - zeros {
		limitHigh, limitLow = tenfold(limitHigh, limitLow)
	}
	if f.Precision < zeros || high > limitHigh || high == limitHigh && low >= limitLow {
		return fmt.Errorf("the value does not fit %s", f.TypeName())
	}
	for range zeros {
		high, low = tenfold(high, low)
	}
	if negative {
		high, low = negate(high, low)
	}
	if f.Wide() {
		c.Wide = append(c.Wide, record.Int128{Hi: int64(high), Lo: low}) //nolint:gosec // below 10^38
	} else {
		c.Ints = append(c.Ints, int64(low)) //nolint:gosec // below 10^18
	}
	return nil
}

func tenfold(high, low uint64) (uint64, uint64) {
	h, l := bits.Mul64(low, 10)
	return high*10 + h, l
}

func negate(high, low uint64) (uint64, uint64) {
	l, borrow := bits.Sub64(0, low, 0)
	h, _ := bits.Sub64(0, high, borrow)
	return h, l
}

// bigEndian reads a number of any length that fits 128 bits.
func bigEndian(v []byte) (w record.Int128, ok bool) {
	if len(v) == 0 {
		return w, false
	}
	sign := byte(int8(v[0]) >> 7) //nolint:gosec // all bits are the sign's
	for len(v) > 16 {
		if v[0] != sign || byte(int8(v[1])>>7) != sign { //nolint:gosec // as above
			return w, false
		}
		v = v[1:]
	}
	high, low := uint64(0), uint64(0)
	if sign != 0 {
		high, low = ^high, ^low
	}
	for _, b := range v {
		high, low = high<<8|low>>56, low<<8|uint64(b)
	}
	return record.Int128{Hi: int64(high), Lo: low}, true
}

// julianEpoch is 1970-01-01 as astronomers count days.
const julianEpoch = 2_440_588

// micros gives microseconds since 1970.
func micros(f form, v *parquet.Value) (int64, bool) {
	const most = int64(1) << 62
	switch f {
	case millis:
		n := v.Int64()
		return n * 1000, n > -most/1000 && n < most/1000
	case nanos:
		n := v.Int64()
		return n / 1000, n%1000 == 0
	case julian:
		i := v.Int96()
		of := int64(uint64(i[1])<<32 | uint64(i[0])) //nolint:gosec // nanoseconds of a day
		day := int64(int32(i[2])) - julianEpoch      //nolint:gosec // of 32 bits with a sign
		return day*secondsADay*microsASecond + of/1000, of%1000 == 0
	default:
		return v.Int64(), true
	}
}

func appendUUID(dst, v []byte) []byte {
	for i, b := range v {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, []byte{b})
	}
	return dst
}
