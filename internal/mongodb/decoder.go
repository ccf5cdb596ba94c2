package mongodb

import (
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// maxRaw is how much of a refused document is kept.
const maxRaw = 64 << 10

// errOdd is of a value that its column cannot hold.
var errOdd = errors.New("the column cannot hold the value")

// Decoder gathers documents in columns. It is for one goroutine; its batches are for any.
type Decoder struct {
	layout  *Layout
	schema  *record.Schema
	raw     []bool // as in Layout, of schema
	rows    int
	bytes   int
	columns []record.Column // of the layout's fields
	filled  []int           // by field: the row, counted from 1, that was given a value last
	odds    []oddValue      // ascending by row within a field
	rest    []byte          // of the document that is read
	unfit   map[string]int64
}

// oddValue is what goes into the column beside a field, or into that of the rest.
type oddValue struct {
	field, row int
	text       []byte
}

// RowError is a document that cannot be held: it says why and what.
type RowError struct {
	Column string
	Key    string // as AppendKey writes it; "": it cannot be read
	Raw    []byte // the document in canonical Extended JSON, or the beginning of it
	Err    error
}

// Error says why.
func (r *RowError) Error() string { return r.Err.Error() }

// Unwrap gives the reason.
func (r *RowError) Unwrap() error { return r.Err }

// Decoder makes a decoder for documents of the layout.
func (l *Layout) Decoder() *Decoder {
	d := &Decoder{layout: l, schema: l.Schema, raw: slices.Clone(l.raw)}
	d.start()
	return d
}

func (d *Decoder) start() {
	d.rows, d.bytes, d.odds = 0, 0, nil
	d.columns = make([]record.Column, len(d.layout.fields))
	d.filled = make([]int, len(d.layout.fields))
	for i := range d.columns {
		if f := &d.layout.fields[i]; !f.gone {
			d.columns[i].Prepare(&f.Field)
		}
	}
}

// Schema is that of the batches to come: the layout's, and a column beside each that has met a value that it cannot hold.
func (d *Decoder) Schema() *record.Schema { return d.schema }

// Rows counts what was gathered.
func (d *Decoder) Rows() int { return d.rows }

// Bytes is about the memory of what was gathered: the size of the documents.
func (d *Decoder) Bytes() int { return d.bytes }

// Add takes one document, of which nothing is kept. One that cannot be held is not taken; the error is a RowError then.
func (d *Decoder) Add(doc []byte) error {
	d.rest = d.rest[:0]
	err := d.document(d.layout.root, doc, true)
	if err == nil {
		err = d.finish()
	}
	if err != nil {
		d.cut()
		return d.refusal(doc, err)
	}
	d.bytes += len(doc)
	d.rows++
	return nil
}

// AddKey takes a row that holds an _id and nothing else, such as that of a delete.
func (d *Decoder) AddKey(id Value) error {
	err := d.value(d.layout.key, id)
	if err == nil {
		d.fill()
		d.rows++
		return nil
	}
	d.cut()
	r := &RowError{Column: KeyColumn, Err: err}
	if key, err := AppendKey(nil, id); err == nil {
		r.Key = string(key)
	}
	return r
}

// document takes the fields of a document that have columns, and writes the others into rest.
func (d *Decoder) document(n *node, doc []byte, whole bool) error {
	opened, next := false, 0
	spare := func() {
		if opened {
			d.rest = append(d.rest, ',')
			return
		}
		opened = true
		if whole {
			d.rest = append(d.rest, '{')
		}
	}
	var e element
	all := walk(doc)
	for all.next(&e) {
		var err error
		at, taken := n.find(e.name, next)
		if taken {
			next = at + 1
			taken, err = d.child(&n.children[at], e, spare, &opened)
		}
		if err == nil && !taken {
			spare()
			err = d.spareField(e)
		}
		if err != nil {
			return err
		}
	}
	if whole && opened {
		d.rest = append(d.rest, '}')
	}
	return all.err
}

// child takes a field that has columns; not taken: its name stands twice, or it is no document where others have one.
func (d *Decoder) child(c *child, e element, spare func(), opened *bool) (taken bool, err error) {
	switch {
	case c.node == nil && d.filled[c.field] <= d.rows:
		return true, d.value(c.field, e.Value)
	case c.node != nil && e.Type == bson.TypeEmbeddedDocument && len(e.Data) > emptyDocument:
		return true, d.inner(c.node, e, spare, opened)
	}
	return false, nil
}

// emptyDocument is the size of a document without fields.
const emptyDocument = 5

// inner takes a document whose fields have columns. What is left of it stands in rest under its name.
func (d *Decoder) inner(n *node, e element, spare func(), opened *bool) error {
	before, was := len(d.rest), *opened
	spare()
	var err error
	if d.rest, err = appendString(d.rest, e.name); err != nil {
		return err
	}
	d.rest = append(d.rest, ':', '{')
	open := len(d.rest)
	if err := d.document(n, e.Data, false); err != nil {
		return err
	}
	if len(d.rest) == open {
		d.rest, *opened = d.rest[:before], was
		return nil
	}
	d.rest = append(d.rest, '}')
	return nil
}

// spareField writes a field that has no column.
func (d *Decoder) spareField(e element) (err error) {
	if d.rest, err = appendString(d.rest, e.name); err == nil {
		d.rest, err = AppendJSON(append(d.rest, ':'), e.Value)
	}
	return err
}

// columnError is an error of one field.
type columnError struct {
	field int
	err   error
}

func (e *columnError) Error() string { return e.err.Error() }

// value takes a value of a field.
func (d *Decoder) value(field int, v Value) error {
	f, c := &d.layout.fields[field], &d.columns[field]
	d.filled[field] = d.rows + 1
	if v.Type == bson.TypeNull && field != d.layout.key {
		d.null(field)
		return nil
	}
	odd, err := f.format.append(c, v)
	switch {
	case err != nil:
		return &columnError{field, err}
	case !odd:
		return nil
	case field == d.layout.key:
		return &columnError{field, fmt.Errorf("%w: it is a %s", errKey, typeName(v.Type))}
	}
	text, err := AppendJSON(nil, v)
	if err != nil {
		return &columnError{field, err}
	}
	if d.layout.options.FailUnrepresentable {
		return &columnError{field, fmt.Errorf("%w: %.100s", errOdd, text)}
	}
	d.null(field)
	return d.keep(field, text)
}

// null appends a slot without a value.
func (d *Decoder) null(field int) {
	d.columns[field].AppendZero(&d.layout.fields[field].Field)
	d.columns[field].SetNull(d.rows)
}

// keep puts a text beside a field.
func (d *Decoder) keep(field int, text []byte) error {
	if !d.raw[field] {
		raw := slices.Clone(d.raw)
		raw[field] = true
		schema, err := d.layout.schema(raw)
		if err != nil {
			return &columnError{field, err}
		}
		d.schema, d.raw = schema, raw
	}
	d.odds = append(d.odds, oddValue{field, d.rows, text})
	return nil
}

// finish ends a row: fields that the document has not are null.
func (d *Decoder) finish() error {
	if d.filled[d.layout.key] <= d.rows {
		return &columnError{d.layout.key, errors.New("the document has no _id")}
	}
	d.fill()
	if len(d.rest) == 0 {
		return nil
	}
	return d.keep(len(d.layout.fields), slices.Clone(d.rest))
}

func (d *Decoder) fill() {
	for f, row := range d.filled {
		if row <= d.rows && !d.layout.fields[f].gone {
			d.null(f)
			d.filled[f] = d.rows + 1
		}
	}
}

// cut takes back what was decoded of a row that is not counted.
func (d *Decoder) cut() {
	for i := range d.columns {
		f := &d.layout.fields[i]
		d.filled[i] = min(d.filled[i], d.rows)
		if !f.gone && d.columns[i].Slots(&f.Field) > d.rows {
			d.columns[i].Truncate(&f.Field, d.rows)
		}
	}
	d.odds = slices.DeleteFunc(d.odds, func(o oddValue) bool { return o.row >= d.rows })
}

// refusal describes a document that failed.
func (d *Decoder) refusal(doc []byte, err error) *RowError {
	r := &RowError{Err: err}
	if e, ok := errors.AsType[*columnError](err); ok {
		r.Err = e.err
		if r.Column = d.layout.rest; e.field < len(d.layout.fields) {
			r.Column = d.layout.fields[e.field].Name
		}
	}
	if id, ok := Field(doc, KeyColumn); ok {
		if key, err := AppendKey(nil, id); err == nil {
			r.Key = string(key)
		}
	}
	raw, err := AppendJSON(nil, Value{bson.TypeEmbeddedDocument, doc})
	if err != nil { // it is no BSON, or has a text that JSON does not take
		raw = fmt.Appendf(nil, "%x", doc[:min(len(doc), maxRaw/2)])
	}
	r.Raw = raw[:min(len(raw), maxRaw)]
	return r
}

// Poison makes an error of a refusal, which names stream, key and column.
func (r *RowError) Poison(stream string) error {
	place := stream
	if r.Key != "" {
		place += ", key " + r.Key
	}
	if r.Column != "" {
		place += ", column " + r.Column
	}
	e := &fault.Error{Class: fault.Poison, Code: codeUnfit, Place: place, Err: r}
	switch {
	case errors.Is(r.Err, errOdd):
		e.Remedy = "on_unrepresentable: text keeps such values as canonical Extended JSON beside the column"
	case errors.Is(r.Err, errKey):
		e.Remedy = "take _id out of schemas: then the column holds keys of any type, and tells which"
	}
	return e
}

// Batch gives what was gathered, with what set says of the rows, and leaves the decoder empty; nil: nothing was gathered.
func (d *Decoder) Batch(set func(rows int, s *record.System)) (*record.Batch, error) {
	if d.rows == 0 {
		return nil, nil //nolint:nilnil // said above
	}
	for _, o := range d.odds {
		if o.field == len(d.layout.fields) {
			continue
		}
		if d.unfit == nil {
			d.unfit = map[string]int64{}
		}
		d.unfit[d.layout.fields[o.field].raw]++
	}
	columns := make([]record.Column, 0, len(d.schema.Fields))
	for i := range d.columns {
		f := &d.layout.fields[i]
		if f.gone {
			columns = append(columns, nothing(&f.Field))
			continue
		}
		d.columns[i].Pad(&f.Field, d.rows)
		columns = append(columns, d.columns[i])
	}
	for f, has := range d.raw {
		if has {
			columns = append(columns, d.rawColumn(f))
		}
	}
	var sys record.System
	set(d.rows, &sys)
	b, err := record.NewBatch(d.schema, d.rows, columns, sys, nil)
	d.start()
	if err != nil {
		return nil, fault.Stop(err)
	}
	return b, nil
}

// Unfit counts the values that their columns could not hold, by the columns beside, since it was last asked; nil: none.
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

// rawColumn makes the column beside a field.
func (d *Decoder) rawColumn(field int) record.Column {
	of := record.Field{Kind: record.String}
	var c record.Column
	c.Prepare(&of)
	row := 0
	null := func(until int) {
		for ; row < until; row++ {
			c.AppendText(nil)
			c.SetNull(row)
		}
	}
	for _, o := range d.odds {
		if o.field == field {
			null(o.row)
			c.AppendText(o.text)
			row++
		}
	}
	if row == 0 {
		return nothing(&of)
	}
	null(d.rows)
	c.Pad(&of, d.rows)
	return c
}
