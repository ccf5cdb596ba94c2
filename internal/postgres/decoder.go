package postgres

import (
	"errors"
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// Value is a column of a tuple of the log.
type Value struct {
	Kind byte // 'n' null, 't' text, 'u' not sent, for an update has not touched it, 'b' binary
	Data []byte
}

// Decoder gathers rows in columns. It is for one goroutine.
type Decoder struct {
	layout  *Layout
	schema  *record.Schema
	raw     []string // the __raw columns of schema
	rows    int
	columns []record.Column // of the layout's fields
	odd     []oddValue      // in the order of their rows
}

// oddValue is a value that its column cannot hold.
type oddValue struct {
	field, row int
	text       []byte
}

// start takes new memory.
func (d *Decoder) start() {
	d.columns, d.rows, d.odd = make([]record.Column, len(d.layout.fields)), 0, nil
}

// Schema is that of the batches to come: the layout's, and a <column>__raw column for each column that has met a value that it
// cannot hold.
func (d *Decoder) Schema() *record.Schema { return d.schema }

// Rows counts what was gathered.
func (d *Decoder) Rows() int { return d.rows }

// Bytes is the memory of what was gathered.
func (d *Decoder) Bytes() int {
	n := 0
	for i := range d.columns {
		c := &d.columns[i]
		n += 8*(len(c.Ints)+len(c.Floats)+len(c.Valid)) + 16*len(c.Wide) + 4*len(c.Offsets) + len(c.Bytes)
	}
	return n
}

// Binary takes one row of a select list of Layout.Select, in binary; nil is NULL. Nothing of values is kept.
func (d *Decoder) Binary(values [][]byte) error {
	if len(values) != len(d.layout.source) {
		return fmt.Errorf("%d values for %d columns", len(values), len(d.layout.source))
	}
	for i, v := range values {
		f := d.layout.source[i]
		if v == nil {
			d.null(f)
			continue
		}
		c := &d.layout.fields[f].codec
		err := c.binary(&d.columns[f], v)
		if errors.Is(err, errOdd) {
			var text []byte
			if text, err = c.render(nil, v); err == nil {
				err = d.keep(f, text)
			}
		}
		if err != nil {
			return d.fail(f, err)
		}
	}
	d.next()
	return nil
}

// Text takes one tuple of the log, a value for each column of the table.
func (d *Decoder) Text(values []Value) error {
	if len(values) != len(d.layout.source) {
		return fmt.Errorf("%d values for %d columns", len(values), len(d.layout.source))
	}
	for i, v := range values {
		f := d.layout.source[i]
		var err error
		switch v.Kind {
		case 'n':
			d.null(f)
		case 'u':
			d.null(f)
			d.columns[f].SetAbsent(d.rows)
		case 't':
			err = d.layout.fields[f].codec.text(&d.columns[f], v.Data)
			if errors.Is(err, errOdd) {
				err = d.keep(f, v.Data)
			}
		default:
			err = fmt.Errorf("a value of kind %q", v.Kind)
		}
		if err != nil {
			return d.fail(f, err)
		}
	}
	d.next()
	return nil
}

// next ends a row: columns that the table has no more are null.
func (d *Decoder) next() {
	for f := range d.layout.fields {
		if d.layout.fields[f].column < 0 {
			d.null(f)
		}
	}
	d.rows++
}

// keep puts a value beside its column.
func (d *Decoder) keep(f int, text []byte) error {
	if !d.layout.fields[f].Nullable || d.layout.options.FailUnrepresentable {
		return fmt.Errorf("%w: %s", errOdd, text)
	}
	d.null(f)
	d.odd = append(d.odd, oddValue{field: f, row: d.rows, text: slices.Clone(text)})
	return nil
}

// fail takes back what was gathered of the row.
func (d *Decoder) fail(f int, err error) error {
	return &fault.Error{Class: fault.Poison, Code: "ACQ-PG-021", Place: d.schema.Stream + ", column " + d.layout.fields[f].Name, Err: err}
}

// null appends a slot without a value.
func (d *Decoder) null(f int) {
	c, field := &d.columns[f], d.layout.fields[f].Field
	switch {
	case field.Kind == record.Float32 || field.Kind == record.Float64:
		c.Floats = append(c.Floats, 0)
	case field.Wide():
		c.Wide = append(c.Wide, record.Int128{})
	case field.Kind == record.String || field.Kind == record.Bytes:
		c.AppendText(nil)
	default:
		c.Ints = append(c.Ints, 0)
	}
	c.SetNull(d.rows)
}

// Batches gives what was gathered, with what set says of the rows, and leaves the decoder empty.
func (d *Decoder) Batches(set func(rows int, s *record.System)) ([]*record.Batch, error) {
	if d.rows == 0 {
		return nil, nil
	}
	for _, o := range d.odd {
		if name := d.layout.fields[o.field].Name + RawSuffix; !slices.Contains(d.raw, name) {
			d.raw = append(d.raw, name)
		}
	}
	schema, err := d.layout.schema(d.raw)
	if err != nil {
		return nil, err
	}
	if schema.ID() != d.schema.ID() {
		d.schema = schema
	}
	columns := d.columns
	for i := range columns {
		pad(&columns[i], d.rows)
	}
	for _, f := range d.schema.Fields[len(columns):] {
		columns = append(columns, d.rawColumn(f.Name))
	}
	var sys record.System
	set(d.rows, &sys)
	b, err := record.NewBatch(d.schema, d.rows, columns, sys, nil)
	d.start()
	if err != nil {
		return nil, fault.Stop(err)
	}
	return []*record.Batch{b}, nil
}

// pad makes the bitmaps cover all rows.
func pad(c *record.Column, rows int) {
	for c.Valid != nil && len(c.Valid)*64 < rows {
		c.Valid = append(c.Valid, ^uint64(0))
	}
	for c.Absent != nil && len(c.Absent)*64 < rows {
		c.Absent = append(c.Absent, 0)
	}
}

// rawColumn makes a __raw column of what was kept.
func (d *Decoder) rawColumn(name string) (c record.Column) {
	next := 0
	for row := range d.rows {
		for next < len(d.odd) && (d.odd[next].row < row || d.layout.fields[d.odd[next].field].Name+RawSuffix != name) {
			next++
		}
		if next < len(d.odd) && d.odd[next].row == row {
			c.AppendText(d.odd[next].text)
			continue
		}
		c.AppendText(nil)
		c.SetNull(row)
	}
	pad(&c, d.rows)
	return c
}
