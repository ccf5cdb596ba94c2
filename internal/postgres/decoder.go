package postgres

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

const (
	// spares is how many sets of columns wait to be used again.
	spares = 4
	// maxSpare is the memory that such a set may have.
	maxSpare = 32 << 20
	// maxRaw is how much of a refused row is kept.
	maxRaw = 64 << 10
)

// Value is a column of a tuple of the log.
type Value struct {
	Kind byte // 'n' null, 't' text, 'u' not sent, for an update has not touched it
	Data []byte
}

// Decoder gathers rows in columns. It is for one goroutine; its batches are for any.
type Decoder struct {
	layout  *Layout
	schema  *record.Schema
	raw     []bool // the fields that have a __raw column in schema
	rows    int
	columns []record.Column  // of the layout's fields
	odds    []oddValue       // ascending by row within a field
	kept    int              // bytes of odds
	unfit   map[string]int64 // see Unfit
	one     block            // for rows that do not come in blocks
	spare   *spareColumns
}

// oddValue is a value that its column cannot hold.
type oddValue struct {
	field, row int
	text       []byte
}

// RowError is a row that cannot be held: it says why and what.
type RowError struct {
	Column string
	Key    []string // as texts, without what cannot be read
	Raw    []byte   // the values as the server prints them, as JSON, or the beginning of it
	Err    error
}

// Error says why.
func (r *RowError) Error() string { return r.Err.Error() }

// Unwrap gives the reason.
func (r *RowError) Unwrap() error { return r.Err }

// spareColumns are columns whose batches were released.
type spareColumns struct {
	mu   sync.Mutex
	sets [][]record.Column
}

func (s *spareColumns) take() []record.Column {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sets) == 0 {
		return nil
	}
	set := s.sets[len(s.sets)-1]
	s.sets = s.sets[:len(s.sets)-1]
	return set
}

func (s *spareColumns) give(set []record.Column) {
	size := 0
	for i := range set {
		size += set[i].Size()
	}
	if size > maxSpare {
		return
	}
	for i := range set {
		set[i].Clear()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.sets) < spares {
		s.sets = append(s.sets, set)
	}
}

// Decoder makes a decoder for rows of the layout.
func (l *Layout) Decoder() *Decoder {
	d := &Decoder{layout: l, schema: l.Schema, raw: slices.Clone(l.raw), spare: &spareColumns{}}
	d.one.spans = make([]span, len(l.source)*blockStride)
	d.start()
	return d
}

// start takes memory for the next rows.
func (d *Decoder) start() {
	d.rows, d.odds, d.kept = 0, nil, 0
	if d.columns = d.spare.take(); d.columns == nil {
		d.columns = make([]record.Column, len(d.layout.fields))
	}
	for i := range d.columns {
		if f := &d.layout.fields[i]; f.column >= 0 {
			d.columns[i].Prepare(&f.Field)
		}
	}
}

// Schema is that of the batches to come: the layout's, and a <column>__raw column for each column that has met a value that it
// cannot hold.
func (d *Decoder) Schema() *record.Schema { return d.schema }

// Rows counts what was gathered.
func (d *Decoder) Rows() int { return d.rows }

// Bytes is the memory of what was gathered.
func (d *Decoder) Bytes() int {
	n := d.rows*d.layout.width + d.kept
	for _, f := range d.layout.varying {
		n += held(&d.columns[f])
	}
	return n
}

// held is the memory of the values of a column.
func held(c *record.Column) int {
	n := 8*(len(c.Ints)+len(c.Floats)) + 16*len(c.Wide) + 4*len(c.Offsets) + len(c.Bytes)
	for i := range c.Children {
		n += held(&c.Children[i])
	}
	return n
}

// Binary takes one row of a select list of Layout.Select, in binary; nil is NULL. Nothing of values is kept. A row that cannot be
// held is not taken; the error then wraps a RowError.
func (d *Decoder) Binary(values [][]byte) error {
	if len(values) != len(d.layout.source) {
		return d.otherWidth(len(values))
	}
	d.one.buf = d.one.buf[:0]
	for i, v := range values {
		n := int32(-1)
		if v != nil {
			n = int32(len(v)) //nolint:gosec // a message is below 2 GiB
		}
		d.one.spans[i*blockStride] = span{int32(len(d.one.buf)), n} //nolint:gosec // the same
		d.one.buf = append(d.one.buf, v...)
	}
	d.one.buf = slices.Grow(d.one.buf, slack)
	d.one.buf = d.one.buf[:len(d.one.buf)+slack]
	return d.block(&d.one, 0, 1, nil)
}

func (d *Decoder) otherWidth(n int) error {
	return &fault.Error{
		Class: fault.Retryable, Code: codeChanged, Place: d.schema.Stream, Err: fmt.Errorf("a row of %d values for %d columns", n, len(d.layout.source)),
		Remedy: "the table was changed; it is read anew",
	}
}

// block takes rows [from,to) of a block. Rows that cannot be held go to refused, or are an error when that is nil.
func (d *Decoder) block(b *block, from, to int, refused func(*RowError) error) error {
	if from == to {
		return nil
	}
	bad, err := d.fields(b, from, to)
	if err == nil {
		d.rows += to - from
		return nil
	}
	d.cut()
	if err := d.block(b, from, from+bad, refused); err != nil {
		return err
	}
	r := d.refusal(err, func(column int) ([]byte, bool) {
		v := b.value(column, from+bad)
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
func (d *Decoder) fields(b *block, from, to int) (bad int, err error) {
	for c, f := range d.layout.source {
		if len(d.columns[f].Bytes) > math.MaxUint32-len(b.buf) {
			return 0, &columnError{f, errors.New("more than 4 GiB of text in one batch")}
		}
		if bad, err := d.column(f, b.buf, b.column(c, from, to)); err != nil {
			return bad, err
		}
	}
	return 0, nil
}

// columnError is an error of one field.
type columnError struct {
	field int
	err   error
}

func (e *columnError) Error() string { return e.err.Error() }

func (d *Decoder) codec(column int) *codec { return &d.layout.fields[d.layout.source[column]].codec }

// cut takes back what was decoded of rows that are not counted.
func (d *Decoder) cut() {
	for i := range d.columns {
		if f := &d.layout.fields[i]; f.column >= 0 && d.columns[i].Slots(&f.Field) > d.rows {
			d.columns[i].Truncate(&f.Field, d.rows)
		}
	}
	d.odds = slices.DeleteFunc(d.odds, func(o oddValue) bool { return o.row >= d.rows })
}

// Text takes one tuple of the log, a value for each column of the table. Errors are those of Binary.
func (d *Decoder) Text(values []Value) error {
	if len(values) != len(d.layout.source) {
		return d.otherWidth(len(values))
	}
	for i := range values {
		if err := d.textValue(d.layout.source[i], &values[i]); err != nil {
			d.cut()
			return d.poison(d.refusal(err, func(column int) ([]byte, bool) { return values[column].Data, values[column].Kind == 't' }))
		}
	}
	d.rows++
	return nil
}

func (d *Decoder) textValue(f int, v *Value) error {
	switch v.Kind {
	case 'n':
		d.null(f, d.rows)
	case 'u':
		d.null(f, d.rows)
		d.columns[f].SetAbsent(d.rows)
	case 't':
		if err := d.layout.fields[f].codec.text(&d.columns[f], v.Data, d.rows); err != nil {
			return d.oddText(f, d.rows, v.Data, err)
		}
	default:
		return &columnError{f, fmt.Errorf("a value of kind %q in the log", v.Kind)}
	}
	return nil
}

// null appends a slot without a value.
func (d *Decoder) null(f, row int) {
	d.columns[f].AppendZero(&d.layout.fields[f].Field)
	d.columns[f].SetNull(row)
}

// odd appends a null slot for a value in binary that has failed, and puts the value beside.
func (d *Decoder) odd(f, row int, v []byte, err error) error {
	if err := d.beside(f, row, v, err); err != nil {
		return err
	}
	d.null(f, row)
	return nil
}

// beside keeps a value in binary as text.
func (d *Decoder) beside(f, row int, v []byte, err error) error {
	if !errors.Is(err, errOdd) {
		return &columnError{f, err}
	}
	text, err := d.layout.fields[f].codec.render(nil, v)
	if err != nil {
		return &columnError{f, err}
	}
	return d.keep(f, row, text)
}

func (d *Decoder) oddText(f, row int, v []byte, err error) error {
	if !errors.Is(err, errOdd) {
		return &columnError{f, err}
	}
	if err := d.keep(f, row, v); err != nil {
		return err
	}
	d.null(f, row)
	return nil
}

// keep keeps the text of a value that its column cannot hold; text that is no UTF-8 as \x and hexadecimal digits.
func (d *Decoder) keep(f, row int, text []byte) error {
	if !d.layout.fields[f].Nullable {
		return &columnError{f, fmt.Errorf("%w, and it is of the key: %.100q", errOdd, text)}
	}
	if d.layout.options.FailUnrepresentable {
		return &columnError{f, fmt.Errorf("%w: %.100q", errOdd, text)}
	}
	if !utf8.Valid(text) {
		text = fmt.Appendf(nil, `\x%x`, text)
	}
	if !d.raw[f] {
		raw := slices.Clone(d.raw)
		raw[f] = true
		schema, err := d.layout.schema(raw)
		if err != nil {
			return &columnError{f, err}
		}
		d.schema, d.raw = schema, raw
	}
	d.odds = append(d.odds, oddValue{field: f, row: row, text: slices.Clone(text)})
	d.kept += len(text)
	return nil
}

// Batches gives what was gathered, as one batch or none, with what set says of the rows, and leaves the decoder empty.
func (d *Decoder) Batches(set func(rows int, s *record.System)) ([]*record.Batch, error) {
	if d.rows == 0 {
		return nil, nil
	}
	for _, o := range d.odds {
		if d.unfit == nil {
			d.unfit = map[string]int64{}
		}
		d.unfit[d.layout.fields[o.field].raw]++
	}
	own := d.columns
	columns := make([]record.Column, 0, len(d.schema.Fields))
	for i := range own {
		f := &d.layout.fields[i]
		if f.column < 0 { // the table has it no more
			columns = append(columns, nothing(&f.Field))
			continue
		}
		own[i].Pad(&f.Field, d.rows)
		columns = append(columns, own[i])
	}
	for f, has := range d.raw {
		if has {
			columns = append(columns, d.rawColumn(f))
		}
	}
	var sys record.System
	set(d.rows, &sys)
	spare := d.spare
	b, err := record.NewBatch(d.schema, d.rows, columns, sys, func() { spare.give(own) })
	d.start()
	if err != nil {
		return nil, fault.Stop(err)
	}
	return []*record.Batch{b}, nil
}

// Unfit counts the values that their columns could not hold, by the columns that have them as text, since it was last asked. It is nil
// when there were none.
func (d *Decoder) Unfit() map[string]int64 {
	out := d.unfit
	d.unfit = nil
	return out
}

// nothing is a column that is null in every row.
func nothing(f *record.Field) record.Column {
	var c record.Column
	c.Prepare(f)
	c.AppendZero(f)
	c.Valid, c.Const = []uint64{0}, true
	return c
}

// rawColumn makes the __raw column of a field.
func (d *Decoder) rawColumn(f int) record.Column {
	field := record.Field{Kind: record.String}
	var c record.Column
	c.Prepare(&field)
	row := 0
	for _, o := range d.odds {
		if o.field != f {
			continue
		}
		for ; row < o.row; row++ {
			c.AppendText(nil)
			c.SetNull(row)
		}
		c.AppendText(o.text)
		row++
	}
	if row == 0 {
		return nothing(&field)
	}
	for ; row < d.rows; row++ {
		c.AppendText(nil)
		c.SetNull(row)
	}
	c.Pad(&field, d.rows)
	return c
}
