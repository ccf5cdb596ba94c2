package mysql

import (
	"context"
	"fmt"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
)

// Lead says how the first expressions of a select list, which are no columns, are sent: the width of a whole number, or 0 for a text.
type Lead int

// StreamOptions say when StreamInto hands on.
type StreamOptions struct {
	Lead    []Lead                       // the first expressions of the select list that are no columns
	Leads   func(values [][]byte) error  // given those of each row, also of one that is refused, valid for the call only
	Rows    int                          // Full is called at so many rows; 0: never
	Bytes   int                          // and at so many bytes, after at most 128 rows more; 0: never
	Full    func() error                 // takes the batches; the rows whose Leads were called are in them
	Refused func(*gather.RowError) error // rows that cannot be held; nil: they are an error
}

// ReadMark begins what StreamInto runs, so that the server's list of statements tells them from what writes.
const ReadMark = "/* acequia */ "

// StreamInto runs one statement, whose rows have the leads and the columns of the decoder's layout, into it. When a function of the
// options gives an error, or ctx ends, the connection is closed. A row that is longer than 256 MiB is refused like one that cannot be held.
func (c *Conn) StreamInto(ctx context.Context, sql string, d *Decoder, o StreamOptions) error {
	return c.rows(ctx, ReadMark+sql, newBlockTaker(d, &o), d.layout.table.Quoted())
}

// blockTaker gathers where the values of rows lie, and decodes them column by column.
type blockTaker struct {
	d      *Decoder
	o      *StreamOptions
	b      gather.Block
	widths []int // of the values, with those of the leads; 0: the length is sent with it
	rows   int   // in b
	leads  [][]byte
}

func newBlockTaker(d *Decoder, o *StreamOptions) *blockTaker {
	t := &blockTaker{d: d, o: o, leads: make([][]byte, len(o.Lead))}
	for _, w := range o.Lead {
		t.widths = append(t.widths, int(w))
	}
	for i := range d.layout.codecs {
		t.widths = append(t.widths, d.layout.codecs[i].width)
	}
	t.b.Spans = make([]gather.Span, len(t.widths)*gather.BlockStride)
	return t
}

// widthOf gives how a type of a result is sent (https://dev.mysql.com/doc/dev/mysql-server/latest/field__types_8h.html).
func widthOf(kind byte) int {
	switch kind {
	case 1: // TINY
		return 1
	case 2, 13: // SHORT, YEAR
		return 2
	case 3, 4, 9: // LONG, FLOAT, INT24
		return 4
	case 5, 8: // DOUBLE, LONGLONG
		return 8
	}
	return 0
}

// describe compares the columns with those that the layout was made for: a table may change between the two.
func (t *blockTaker) describe(columns []column) error {
	if len(columns) != len(t.widths) {
		return t.d.otherWidth(len(columns) - len(t.o.Lead))
	}
	for i, col := range columns {
		same := widthOf(col.kind) == t.widths[i]
		name := "a lead"
		if at := i - len(t.o.Lead); at >= 0 {
			c := &t.d.layout.codecs[at]
			name = t.d.layout.names[at]
			same = same && (c.op != opInt && c.op != opUint && c.op != opUint64 || col.unsigned != c.signed) && (c.op != opBytes || col.binary)
		}
		if !same {
			return &fault.Error{
				Class: fault.Retryable, Code: codeChanged, Place: t.d.Schema().Stream + ", column " + name,
				Err: fmt.Errorf("its values are sent as type %d", col.kind), Remedy: "the table was changed; it is looked at anew",
			}
		}
	}
	return nil
}

// row finds the values: a byte, the bits of those that are NULL, and then one after the other.
func (t *blockTaker) row(buf []byte, at, end int) error {
	const skipped = 2 // of the bits
	nulls := at + 1
	at = nulls + (len(t.widths)+skipped+7)/8
	if at > end {
		return errMalformed
	}
	spans := t.b.Spans[t.rows:]
	for c, width := range t.widths {
		bit := c + skipped
		if buf[nulls+bit>>3]>>(bit&7)&1 == 1 {
			spans[c*gather.BlockStride] = gather.Span{N: -1}
			continue
		}
		if width == 0 {
			n, size, ok := lengthOf(buf[at:end])
			if !ok {
				return errMalformed
			}
			width, at = n, at+size
		}
		spans[c*gather.BlockStride] = gather.Span{At: int32(at), N: int32(width)} //nolint:gosec // a buffer is below 2 GiB
		if at += width; at > end {
			return errMalformed
		}
	}
	if at != end {
		return errMalformed
	}
	if err := t.lead(buf); err != nil {
		return err
	}
	if t.rows++; t.rows == gather.BlockRows || t.o.Rows > 0 && t.d.Count+t.rows >= t.o.Rows {
		return t.flush(buf)
	}
	return nil
}

// lead hands on the leads of the row that was found last.
func (t *blockTaker) lead(buf []byte) error {
	if t.o.Leads == nil {
		return nil
	}
	t.b.Buf = buf
	for c := range t.leads {
		t.leads[c] = t.b.Value(c, t.rows)
	}
	return t.o.Leads(t.leads)
}

func (t *blockTaker) flush(buf []byte) error {
	if t.rows == 0 {
		return nil
	}
	b := gather.Block{Buf: buf, Spans: t.b.Spans[len(t.o.Lead)*gather.BlockStride:]}
	rows := t.rows
	t.rows = 0
	if err := t.d.block(&b, 0, rows, t.o.Refused); err != nil {
		return err
	}
	if t.o.Full != nil && (t.o.Rows > 0 && t.d.Count >= t.o.Rows || t.o.Bytes > 0 && t.d.Bytes() >= t.o.Bytes) {
		return t.o.Full()
	}
	return nil
}

// huge refuses a row by the values at its beginning.
func (t *blockTaker) huge(head []byte, size int) error {
	values := t.begun(head)
	if t.o.Leads != nil && len(values) >= len(t.o.Lead) {
		if err := t.o.Leads(values[:len(t.o.Lead)]); err != nil {
			return err
		}
	}
	values = values[min(len(t.o.Lead), len(values)):]
	r := t.d.Refusal(hugeRow(size), t.d.layout.names, func(column int) ([]byte, bool) {
		if column >= len(values) || values[column] == nil {
			return nil, false
		}
		text, err := t.d.layout.codecs[column].render(values[column])
		return text, err == nil
	})
	if t.o.Refused == nil {
		return hugeFault(r, t.d.Schema().Stream)
	}
	return t.o.Refused(r)
}

// begun gives the values that end within the beginning of a row.
func (t *blockTaker) begun(head []byte) (values [][]byte) {
	const skipped = 2
	at := 1 + (len(t.widths)+skipped+7)/8
	for c, width := range t.widths {
		bit := c + skipped
		switch {
		case 1+bit>>3 >= len(head):
			return values
		case head[1+bit>>3]>>(bit&7)&1 == 1:
			values = append(values, nil)
			continue
		case width == 0:
			if at >= len(head) {
				return values
			}
			n, size, ok := lengthOf(head[at:])
			if !ok {
				return values
			}
			width, at = n, at+size
		}
		if at+width > len(head) {
			return values
		}
		values, at = append(values, head[at:at+width]), at+width
	}
	return values
}
