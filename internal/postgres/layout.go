package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// RawSuffix ends the name of the column that takes, as text, what a column cannot hold.
const RawSuffix = "__raw"

// LayoutOptions say what a layout has to keep.
type LayoutOptions struct {
	Stream              string         // "": that of the table
	Raw                 []string       // the <column>__raw columns that the stream has already
	Kept                *record.Schema // the schema that the stream had; nil: none
	FailUnrepresentable bool           // a value that its column cannot hold is an error instead
}

// Layout says how the rows of a table become records of its stream. It does not change.
type Layout struct {
	Schema *record.Schema // without the __raw columns that come later: see Decoder.Schema

	table   *Table
	options LayoutOptions
	fields  []fieldLayout // of the schema, without __raw columns
	source  []int         // the field of each column of the table
	raw     []string      // the __raw columns of Schema
	notes   []string
}

// fieldLayout is a field of the schema: a column of the table, or one that it had.
type fieldLayout struct {
	record.Field
	codec  codec
	column int // of the table; -1: dropped
}

// NewLayout makes the layout of a table. Key columns are not nullable, all others are, whatever the table says, so that a
// NOT NULL that comes or goes changes nothing.
func NewLayout(t *Table, o LayoutOptions) (*Layout, error) {
	if o.Stream == "" {
		o.Stream = t.Stream()
	}
	l := &Layout{table: t, options: o}
	for i := range t.Columns {
		c := codecOf(&t.Columns[i].Type)
		f := c.field
		f.Name, f.Nullable = t.Columns[i].Name, !slices.Contains(t.Key, t.Columns[i].Name)
		if c.note != "" {
			l.notes = append(l.notes, fmt.Sprintf("%s %s is kept as %s", f.Name, t.Columns[i].TypeName, c.note))
		}
		l.source = append(l.source, len(l.fields))
		l.fields = append(l.fields, fieldLayout{Field: f, codec: c, column: i})
	}
	if len(l.fields) == 0 {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-PG-020", Place: o.Stream, Err: fmt.Errorf("%s has no columns", t.Quoted()),
			Remedy: "leave it out with a glob that begins with !",
		}
	}
	schema, err := l.schema(o.Raw)
	l.Schema, l.raw = schema, o.Raw
	return l, err
}

// schema makes the schema with some __raw columns behind the others, in the order of their columns.
func (l *Layout) schema(raw []string) (*record.Schema, error) {
	fields := make([]record.Field, 0, len(l.fields)+len(raw))
	for i := range l.fields {
		fields = append(fields, l.fields[i].Field)
	}
	for i := range l.fields {
		if name := l.fields[i].Name + RawSuffix; slices.Contains(raw, name) {
			fields = append(fields, record.Field{Name: name, Kind: record.String, Nullable: true})
		}
	}
	s, err := record.NewSchema(l.options.Stream, l.table.Key, fields...)
	if err != nil {
		return nil, fault.Stop(err)
	}
	return s, nil
}

// Notes say what is not held as the type suggests, a line each.
func (l *Layout) Notes() []string { return l.notes }

// Select is the select list: an expression for each column of the table, in its order.
func (l *Layout) Select() string {
	out := make([]string, len(l.source))
	for i, f := range l.source {
		out[i] = l.fields[f].codec.sql(l.fields[f].Name)
	}
	return strings.Join(out, ", ")
}

// KeyCasts are the types of the key, as a cast of a text parameter needs them: "::int8".
func (l *Layout) KeyCasts() []string {
	casts := make([]string, len(l.table.Key))
	for i, name := range l.table.Key {
		t := &l.table.Column(name).Type
		casts[i] = "::" + quote(t.Schema) + "." + quote(t.Name)
	}
	return casts
}

// KeyText gives the key of a row as texts from which the casts of KeyCasts make the same values; nil without a key.
func (l *Layout) KeyText(b *record.Batch, row int) []string {
	if len(b.Schema.Key) == 0 {
		return nil
	}
	texts := make([]string, len(b.Schema.Key))
	for i, k := range b.Schema.Key {
		f, c := &b.Schema.Fields[k], &b.Columns[k]
		if f.Kind == record.Bytes {
			texts[i] = fmt.Sprintf(`\x%x`, c.Text(row))
			continue
		}
		texts[i] = string(record.AppendText(nil, f, c, row))
	}
	return texts
}

// Decoder makes a decoder for rows of the layout.
func (l *Layout) Decoder() *Decoder {
	d := &Decoder{layout: l, schema: l.Schema, raw: slices.Clone(l.raw)}
	d.start()
	return d
}
