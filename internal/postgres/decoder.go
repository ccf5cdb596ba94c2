package postgres

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
)

// Value is a column of a tuple of the log.
type Value struct {
	Kind byte // 'n' null, 't' text, 'u' not sent, for an update has not touched it
	Data []byte
}

// Decoder gathers rows in columns. It is for one goroutine; its batches are for any.
type Decoder struct {
	*gather.Rows

	layout *Layout
	one    gather.Block // for rows that do not come in blocks
}

// Decoder makes a decoder for rows of the layout.
func (l *Layout) Decoder() *Decoder {
	d := &Decoder{Rows: l.fields.Rows(), layout: l}
	d.one.Spans = make([]gather.Span, len(l.source)*gather.BlockStride)
	return d
}

// Binary takes one row of a select list of Layout.Select, in binary; nil is NULL. Nothing of values is kept. A row that cannot be
// held is not taken; the error then wraps a RowError.
func (d *Decoder) Binary(values [][]byte) error {
	if len(values) != len(d.layout.source) {
		return d.otherWidth(len(values))
	}
	d.one.Buf = d.one.Buf[:0]
	for i, v := range values {
		n := int32(-1)
		if v != nil {
			n = int32(len(v)) //nolint:gosec // a message is below 2 GiB
		}
		d.one.Spans[i*gather.BlockStride] = gather.Span{At: int32(len(d.one.Buf)), N: n} //nolint:gosec // the same
		d.one.Buf = append(d.one.Buf, v...)
	}
	d.one.Buf = slices.Grow(d.one.Buf, gather.Slack)
	d.one.Buf = d.one.Buf[:len(d.one.Buf)+gather.Slack]
	return d.block(&d.one, 0, 1, nil)
}

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
		c := d.codec(column)
		text, err := c.render(nil, v)
		return text, v != nil && err == nil
	})
	if refused == nil {
		return d.poison(r)
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
		if bad, err := d.column(f, b.Buf, b.Column(c, from, to)); err != nil {
			return bad, err
		}
	}
	return 0, nil
}

func (d *Decoder) codec(column int) *codec { return &d.layout.codecs[d.layout.source[column]] }

// Text takes one tuple of the log, a value for each column of the table. Errors are those of Binary.
func (d *Decoder) Text(values []Value) error {
	if len(values) != len(d.layout.source) {
		return d.otherWidth(len(values))
	}
	for i := range values {
		if err := d.textValue(d.layout.source[i], &values[i]); err != nil {
			d.Cut()
			return d.poison(d.Refusal(err, d.layout.names, func(column int) ([]byte, bool) { return values[column].Data, values[column].Kind == 't' }))
		}
	}
	d.Count++
	return nil
}

func (d *Decoder) textValue(f int, v *Value) error {
	switch v.Kind {
	case 'n':
		d.Null(f, d.Count)
	case 'u':
		d.Null(f, d.Count)
		d.Columns[f].SetAbsent(d.Count)
	case 't':
		if err := d.layout.codecs[f].text(&d.Columns[f], v.Data, d.Count); err != nil {
			return d.oddText(f, d.Count, v.Data, err)
		}
	default:
		return &gather.ColumnError{Field: f, Err: fmt.Errorf("a value of kind %q in the log", v.Kind)}
	}
	return nil
}

// odd appends a null slot for a value in binary that has failed, and puts the value beside.
func (d *Decoder) odd(f, row int, v []byte, err error) error {
	if err := d.beside(f, row, v, err); err != nil {
		return err
	}
	d.Null(f, row)
	return nil
}

// beside keeps a value in binary as text.
func (d *Decoder) beside(f, row int, v []byte, err error) error {
	if !errors.Is(err, gather.ErrOdd) {
		return &gather.ColumnError{Field: f, Err: err}
	}
	text, err := d.layout.codecs[f].render(nil, v)
	if err != nil {
		return &gather.ColumnError{Field: f, Err: err}
	}
	return d.Beside(f, row, text)
}

func (d *Decoder) oddText(f, row int, v []byte, err error) error {
	if !errors.Is(err, gather.ErrOdd) {
		return &gather.ColumnError{Field: f, Err: err}
	}
	if err := d.Beside(f, row, v); err != nil {
		return err
	}
	d.Null(f, row)
	return nil
}

// poison makes an error of a refusal, which names stream, key and column.
func (d *Decoder) poison(r *gather.RowError) error {
	e := d.Poison(r)
	if errors.Is(r.Err, errHuge) {
		e.Code, e.Remedy = codeHuge, hugeRemedy
	}
	return e
}
