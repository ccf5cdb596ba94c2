package postgres

import (
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// LayoutOptions say what a layout has to keep.
type LayoutOptions struct {
	Stream              string         // "": that of the table
	Kept                *record.Schema // the schema that the stream had, which may have __raw columns; nil: none
	FailUnrepresentable bool           // a value that its column cannot hold is an error instead
}

// Layout says how the rows of a table become records of its stream. It does not change, and any number of decoders may share it.
type Layout struct {
	Schema *record.Schema // Decoder.Schema has the __raw columns that come later

	table  *Table
	fields *gather.Fields
	codecs []codec // of the fields
	source []int   // the field of each column of the table
	names  []string
	notes  []string
}

// NewLayout makes the layout of a table. Key columns are not nullable, all others are, whatever the table says, so that a
// NOT NULL that comes or goes changes nothing. With a kept schema its columns come first, in its order: those that the table has no more
// are null, wider types widen them, narrower ones are held in them. Another type or another key is an error.
func NewLayout(t *Table, o LayoutOptions) (*Layout, error) {
	if o.Stream == "" {
		o.Stream = t.Stream()
	}
	l := &Layout{table: t}
	if len(t.Columns) == 0 {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: codeNoColumns, Place: o.Stream, Err: fmt.Errorf("%s has no columns", t.Quoted()),
			Remedy: "leave it out with a glob that begins with !",
		}
	}
	var err error
	l.fields, err = gather.New(gather.Options{
		Stream: o.Stream, Key: t.Key, Codes: codes, Kept: o.Kept, FailUnrepresentable: o.FailUnrepresentable,
	}, func(name string) bool { return t.Column(name) != nil })
	if err != nil {
		return nil, err
	}
	for i := range t.Columns {
		if err := l.place(i); err != nil {
			return nil, err
		}
	}
	if err := l.fields.Seal(); err != nil {
		return nil, err
	}
	l.Schema = l.fields.Schema
	return l, nil
}

// place gives a column of the table its field.
func (l *Layout) place(column int) error {
	col := &l.table.Columns[column]
	key := slices.Contains(l.table.Key, col.Name)
	c := codecOf(&col.Type)
	if key && (c.op == opList || c.op == opStruct || c.op == opHstore) {
		c = textCodec(&col.Type) // a key is compared as text
	}
	if l.table.anyBytes {
		c = c.verified()
	}
	f, held, err := l.fields.Place(column, named(c.field, col.Name, !key), col.TypeName)
	if err != nil {
		return err
	}
	if held.Kind == record.Decimal && c.op != opXID8 { // as wide as the field
		wider := decimalCodec(record.Field{Kind: held.Kind, Precision: held.Precision, Scale: held.Scale})
		wider.note, wider.verify = c.note, c.verify
		c = wider
	}
	for len(l.codecs) <= f {
		l.codecs = append(l.codecs, codec{})
	}
	l.codecs[f] = c
	l.source, l.names = append(l.source, f), append(l.names, col.Name)
	if c.note != "" {
		l.notes = append(l.notes, fmt.Sprintf("%s %s: %s", col.Name, col.TypeName, c.note))
	}
	return nil
}

// Notes say what is not held as its type suggests, a line a column.
func (l *Layout) Notes() []string { return l.notes }

// Select is the select list: an expression for each column of the table, in its order.
func (l *Layout) Select() string {
	out := make([]string, len(l.source))
	for i, f := range l.source {
		out[i] = l.codecs[f].sql(l.names[i])
	}
	return strings.Join(out, ", ")
}

// KeyCasts are the types of the key, as a cast of a text parameter needs them, such as "::pg_catalog.int8". That of a char(n) fills up
// with blanks, which its text does not have.
func (l *Layout) KeyCasts() []string {
	const header = 4 // that a length counts itself
	casts := make([]string, len(l.table.Key))
	for i, name := range l.table.Key {
		t := &l.table.Column(name).Type
		casts[i] = "::" + quote(t.Schema) + "." + quote(t.Name)
		if t.Schema == "pg_catalog" && t.Name == "bpchar" && t.Modifier > header {
			casts[i] += fmt.Sprintf("(%d)", t.Modifier-header)
		}
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
