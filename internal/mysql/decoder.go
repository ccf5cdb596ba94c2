package mysql

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
)

// Decoder gathers rows in columns. It is for one goroutine; its batches are for any.
type Decoder struct {
	*gather.Rows

	layout *Layout
}

// Decoder makes a decoder for rows of the layout.
func (l *Layout) Decoder() *Decoder { return &Decoder{Rows: l.fields.Rows(), layout: l} }

func (d *Decoder) otherWidth(n int) error {
	return &fault.Error{
		Class: fault.Retryable, Code: codeChanged, Place: d.Schema().Stream, Err: fmt.Errorf("a row of %d values for %d columns", n, len(d.layout.source)),
		Remedy: "the table was changed; it is read anew",
	}
}

// block takes rows [from,to) of a block. Rows that cannot be held go to refused, or are an error when that is nil.
func (d *Decoder) block(b *gather.Block, from, to int, refused func(*gather.RowError) error) error {
	if from == to {
		return nil
	}
	bad, err := d.fields(b, from, to)
	if err == nil {
		d.Count += to - from
		return nil
	}
	d.Cut()
	if err := d.block(b, from, from+bad, refused); err != nil {
		return err
	}
	r := d.Refusal(err, d.layout.names, func(column int) ([]byte, bool) {
		v := b.Value(column, from+bad)
		if v == nil {
			return nil, false
		}
		text, err := d.layout.codecs[column].render(v)
		return text, err == nil
	})
	if refused == nil {
		return d.Poison(r)
	}
	if err := refused(r); err != nil {
		return err
	}
	return d.block(b, from+bad+1, to, refused)
}

// fields decodes column by column; the row that fails is counted from from.
func (d *Decoder) fields(b *gather.Block, from, to int) (bad int, err error) {
	for c, f := range d.layout.source {
		if len(d.Columns[f].Bytes) > math.MaxUint32-len(b.Buf) {
			return 0, &gather.ColumnError{Field: f, Err: errors.New("more than 4 GiB of text in one batch")}
		}
		if bad, err := d.column(f, &d.layout.codecs[c], b.Buf, b.Column(c, from, to)); err != nil {
			return bad, err
		}
	}
	return 0, nil
}

// column decodes the values of one column into field f. When one cannot be held and is refused, it gives its place in at.
func (d *Decoder) column(f int, c *codec, buf []byte, at []gather.Span) (bad int, err error) {
	switch c.op {
	case opText, opBytes:
		d.Texts(f, buf, at)
		return 0, nil
	case opInt, opUint:
		return d.integers(f, c, buf, at)
	case opNarrow:
		return d.narrows(f, c, buf, at)
	case opDate, opDateTime, opMoment:
		return d.days(f, c, buf, at)
	case opUint64, opFloat32, opFloat64, opWide, opNumeric, opBit, opBit64, opTime, opGeometry:
	}
	for i, s := range at {
		if s.N < 0 {
			d.Null(f, d.Count+i)
			continue
		}
		if err := c.value(&d.Columns[f], buf[s.At:s.At+s.N:s.At+s.N]); err != nil {
			return i, &gather.ColumnError{Field: f, Err: err}
		}
	}
	return 0, nil
}

// gap is for the slot of row i, which is zero already: NULL, or a value that is odd or malformed.
func (d *Decoder) gap(f, i int, c *codec, buf []byte, s gather.Span) error {
	if s.N < 0 {
		d.Columns[f].SetNull(d.Count + i)
		return nil
	}
	text, err := c.render(buf[s.At : s.At+s.N : s.At+s.N])
	if err == nil {
		err = d.Beside(f, d.Count+i, text)
	} else {
		err = &gather.ColumnError{Field: f, Err: err}
	}
	if err != nil {
		return err
	}
	d.Columns[f].SetNull(d.Count + i)
	return nil
}

// Values takes one row of binary values, one for each column of the table; nil is NULL. Nothing of them is kept. A row that cannot be
// held is not taken; the error then wraps a gather.RowError.
func (d *Decoder) Values(values [][]byte) error {
	if len(values) != len(d.layout.source) {
		return d.otherWidth(len(values))
	}
	b := gather.Block{Spans: make([]gather.Span, len(values)*gather.BlockStride)}
	for i, v := range values {
		n := int32(-1)
		if v != nil {
			n = int32(len(v)) //nolint:gosec // a row is below 2 GiB
		}
		b.Spans[i*gather.BlockStride] = gather.Span{At: int32(len(b.Buf)), N: n} //nolint:gosec // the same
		b.Buf = append(b.Buf, v...)
	}
	b.Buf = append(b.Buf, slices.Repeat([]byte{0}, gather.Slack)...)
	return d.block(&b, 0, 1, nil)
}
