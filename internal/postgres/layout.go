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
	Kept                *record.Schema // the schema that the stream had, which may have __raw columns; nil: none
	FailUnrepresentable bool           // a value that its column cannot hold is an error instead
}

// Layout says how the rows of a table become records of its stream. It does not change, and any number of decoders may share it.
type Layout struct {
	Schema *record.Schema // Decoder.Schema has the __raw columns that come later

	table   *Table
	options LayoutOptions
	fields  []fieldLayout // of the schema, without __raw columns
	source  []int         // the field of each column of the table
	raw     []bool        // the fields that have a __raw column in Schema
	notes   []string
	width   int   // bytes that a row takes in the fields of fixed width
	varying []int // the other fields
}

// fieldLayout is a field of the schema: a column of the table, or one that it had.
type fieldLayout struct {
	record.Field
	codec  codec
	column int    // of the table; -1: dropped
	raw    string // the name of its __raw column
}

// NewLayout makes the layout of a table. Key columns are not nullable, all others are, whatever the table says, so that a
// NOT NULL that comes or goes changes nothing. With a kept schema its columns come first, in its order: those that the table has no more
// are null, wider types widen them, narrower ones are held in them. Another type or another key is an error.
func NewLayout(t *Table, o LayoutOptions) (*Layout, error) {
	if o.Stream == "" {
		o.Stream = t.Stream()
	}
	l := &Layout{table: t, options: o}
	if len(t.Columns) == 0 {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: codeNoColumns, Place: o.Stream, Err: fmt.Errorf("%s has no columns", t.Quoted()),
			Remedy: "leave it out with a glob that begins with !",
		}
	}
	if err := l.keep(o.Kept); err != nil {
		return nil, err
	}
	l.source = make([]int, len(t.Columns))
	for i := range t.Columns {
		if err := l.place(i); err != nil {
			return nil, err
		}
	}
	l.nameRaw()
	l.raw = make([]bool, len(l.fields))
	for i := range l.fields {
		l.raw[i] = slices.Contains(o.Raw, l.fields[i].raw) || o.Kept != nil && o.Kept.Index(l.fields[i].raw) >= 0
		switch f := &l.fields[i]; {
		case f.column < 0:
		case f.Kind == record.String || f.Kind == record.Bytes || f.Kind == record.List || f.Kind == record.Struct:
			l.varying = append(l.varying, i)
		case f.Wide():
			l.width += 16
		default:
			l.width += 8
		}
	}
	var err error
	l.Schema, err = l.schema(l.raw)
	return l, err
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
	f := slices.IndexFunc(l.fields, func(f fieldLayout) bool { return f.Name == col.Name })
	if f < 0 {
		f = len(l.fields)
		l.fields = append(l.fields, fieldLayout{Field: named(c.field, col.Name, !key)})
	} else if err := l.widen(&l.fields[f], &c, col); err != nil {
		return err
	}
	l.fields[f].codec, l.fields[f].column = c, column
	l.source[column] = f
	if c.note != "" {
		l.notes = append(l.notes, fmt.Sprintf("%s %s: %s", col.Name, col.TypeName, c.note))
	}
	return nil
}

// nameRaw names the __raw columns, none of which may be a column.
func (l *Layout) nameRaw() {
	for i := range l.fields {
		name := l.fields[i].Name + RawSuffix
		for slices.ContainsFunc(l.fields, func(f fieldLayout) bool { return f.Name == name }) {
			name += "_"
		}
		l.fields[i].raw = name
	}
}

// schema makes the schema, with the __raw columns of some fields behind the others, in the order of their fields.
func (l *Layout) schema(raw []bool) (*record.Schema, error) {
	fields := make([]record.Field, 0, len(l.fields)+len(raw))
	for i := range l.fields {
		fields = append(fields, l.fields[i].Field)
	}
	for i := range l.fields {
		if raw[i] {
			fields = append(fields, record.Field{Name: l.fields[i].raw, Kind: record.String, Nullable: true})
		}
	}
	s, err := record.NewSchema(l.options.Stream, l.table.Key, fields...)
	if err != nil {
		return nil, fault.Stop(err)
	}
	return s, nil
}

// Notes say what is not held as its type suggests, a line a column.
func (l *Layout) Notes() []string { return l.notes }

// Select is the select list: an expression for each column of the table, in its order.
func (l *Layout) Select() string {
	out := make([]string, len(l.source))
	for i, f := range l.source {
		out[i] = l.fields[f].codec.sql(l.fields[f].Name)
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
