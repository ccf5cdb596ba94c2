package postgres

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
)

// StreamOptions say when StreamInto hands on.
type StreamOptions struct {
	Lead    int                          // the first expressions of the select list that are no columns
	Leads   func(values [][]byte) error  // given those of each row, also of one that is refused, valid for the call only
	Rows    int                          // Full is called at so many rows; 0: never
	Bytes   int                          // and at so many bytes, after at most 128 rows more; 0: never
	Full    func() error                 // takes the batches; the rows whose Leads were called are in them
	Refused func(*gather.RowError) error // rows that cannot be held; nil: they are an error
}

// Stream runs one statement and hands the values of each row to row, in binary and in place: they are valid for the call only. Its
// arguments are text; the SQL casts them. When row gives an error, or ctx ends, the connection is closed. A row has at most 256 MiB.
func (c *Conn) Stream(ctx context.Context, sql string, args []string, row func(values [][]byte) error) error {
	return c.rows(ctx, sql, args, &valueTaker{take: row}, c.Config().Database)
}

// valueTaker hands on the values of each row.
type valueTaker struct {
	values [][]byte
	take   func(values [][]byte) error
}

func (t *valueTaker) describe([]pgproto3.FieldDescription) error { return nil }

func (t *valueTaker) flush([]byte) error { return nil }

func (t *valueTaker) row(buf []byte, at, end int) error {
	v := buf[at:end]
	if len(v) < 2 {
		return errMalformed
	}
	n := int(binary.BigEndian.Uint16(v))
	t.values, v = t.values[:0], v[2:]
	for range n {
		value, rest, err := next(v)
		if err != nil {
			return err
		}
		t.values, v = append(t.values, value), rest
	}
	return t.take(t.values)
}

func (t *valueTaker) huge(_ []byte, size int) error {
	return &fault.Error{Class: fault.Poison, Code: codeHuge, Err: hugeRow(size), Remedy: hugeRemedy}
}

// errHuge is a row that is not taken for its length.
var errHuge = fmt.Errorf("a row has more than %d MiB", maxRow>>20)

const hugeRemedy = "leave its table out, or read a view without the large column"

func hugeRow(size int) error { return fmt.Errorf("%w: %d", errHuge, size>>20) }

// StreamInto is Stream into a decoder: the fastest way. A row that is too long is refused like one that cannot be held.
func (c *Conn) StreamInto(ctx context.Context, sql string, args []string, d *Decoder, o StreamOptions) error {
	return c.rows(ctx, sql, args, newBlockTaker(d, &o), d.layout.table.Quoted())
}

// blockTaker gathers where the values of rows lie, and decodes them column by column.
type blockTaker struct {
	d       *Decoder
	o       *StreamOptions
	b       gather.Block
	columns int // with the leads
	rows    int // in b
	leads   [][]byte
}

func newBlockTaker(d *Decoder, o *StreamOptions) *blockTaker {
	t := &blockTaker{d: d, o: o, columns: o.Lead + len(d.layout.source), leads: make([][]byte, o.Lead)}
	t.b.Spans = make([]gather.Span, t.columns*gather.BlockStride)
	return t
}

// describe compares the columns with those that the layout was made for: a table may change between the two.
func (t *blockTaker) describe(columns []pgproto3.FieldDescription) error {
	if len(columns) != t.columns {
		return t.d.otherWidth(len(columns) - t.o.Lead)
	}
	for i, col := range columns[t.o.Lead:] {
		want, c := &t.d.layout.table.Columns[i], t.d.codec(i)
		oid, modifier := want.Type.OID, want.Type.Modifier
		if c.cast {
			oid, modifier = pgtype.TextOID, -1
		}
		number := c.op == opNarrow || c.op == opWide
		if col.DataTypeOID != oid || number && col.TypeModifier != -1 && col.TypeModifier != modifier {
			return &fault.Error{
				Class: fault.Retryable, Code: codeChanged, Place: t.d.Schema().Stream + ", column " + want.Name,
				Err:    fmt.Errorf("its type is no more %s", want.TypeName),
				Remedy: "the table was changed; it is looked at anew",
			}
		}
	}
	return nil
}

func (t *blockTaker) row(buf []byte, at, end int) error {
	if end-at < 2 || int(binary.BigEndian.Uint16(buf[at:])) != t.columns {
		return errMalformed
	}
	at += 2
	spans := t.b.Spans[t.rows:]
	for c := range t.columns {
		if at+4 > end {
			return errMalformed
		}
		n := int(int32(binary.BigEndian.Uint32(buf[at:]))) //nolint:gosec // signed
		at += 4
		spans[c*gather.BlockStride] = gather.Span{At: int32(at), N: int32(n)} //nolint:gosec // a buffer is below 2 GiB
		at += max(n, 0)
	}
	if at != end {
		return errMalformed
	}
	if t.o.Leads != nil {
		t.b.Buf = buf
		for c := range t.leads {
			t.leads[c] = t.b.Value(c, t.rows)
		}
		if err := t.o.Leads(t.leads); err != nil {
			return err
		}
	}
	if t.rows++; t.rows == gather.BlockRows || t.o.Rows > 0 && t.d.Count+t.rows >= t.o.Rows {
		return t.flush(buf)
	}
	return nil
}

func (t *blockTaker) flush(buf []byte) error {
	if t.rows == 0 {
		return nil
	}
	b := gather.Block{Buf: buf, Spans: t.b.Spans[t.o.Lead*gather.BlockStride:]}
	rows := t.rows
	t.rows = 0
	if err := t.d.block(&b, 0, rows, t.o.Refused); err != nil {
		return err
	}
	runtime.Gosched() // see parquet.Writer
	if t.o.Full != nil && (t.o.Rows > 0 && t.d.Count >= t.o.Rows || t.o.Bytes > 0 && t.d.Bytes() >= t.o.Bytes) {
		return t.o.Full()
	}
	return nil
}

// huge refuses a row by the values at its beginning.
func (t *blockTaker) huge(head []byte, size int) error {
	values := make([][]byte, 0, t.columns)
	for v := head[2:]; len(values) < t.columns; {
		value, rest, err := next(v)
		if err != nil {
			break // the value does not end here
		}
		values, v = append(values, value), rest
	}
	if t.o.Leads != nil && len(values) >= t.o.Lead {
		if err := t.o.Leads(values[:t.o.Lead]); err != nil {
			return err
		}
	}
	values = values[min(t.o.Lead, len(values)):]
	r := t.d.Refusal(hugeRow(size), t.d.layout.names, func(column int) ([]byte, bool) {
		if column >= len(values) || values[column] == nil {
			return nil, false
		}
		text, err := t.d.codec(column).render(nil, values[column])
		return text, err == nil
	})
	if t.o.Refused == nil {
		return t.d.poison(r)
	}
	return t.o.Refused(r)
}
