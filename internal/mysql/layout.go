package mysql

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
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
	codecs []codec // of the table's columns
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
	if len(t.Columns) == 0 {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: codeNoColumns, Place: o.Stream, Err: fmt.Errorf("%s has no columns", t.Quoted()),
			Remedy: "leave it out with a glob that begins with !",
		}
	}
	l := &Layout{table: t, codecs: make([]codec, len(t.Columns)), source: make([]int, len(t.Columns))}
	var err error
	l.fields, err = gather.New(gather.Options{
		Stream: o.Stream, Key: t.Key, Codes: codes, Kept: o.Kept, FailUnrepresentable: o.FailUnrepresentable,
	}, func(name string) bool { return t.Column(name) != nil })
	if err != nil {
		return nil, err
	}
	for i := range t.Columns {
		col := &t.Columns[i]
		c := codecOf(&col.Type)
		now := c.field
		now.Name, now.Nullable = col.Name, !slices.Contains(t.Key, col.Name)
		at, held, err := l.fields.Place(i, now, col.Type.Name)
		if err != nil {
			return nil, err
		}
		if !c.fit(held) {
			return nil, l.fields.OtherType(held, now, col.Type.Name)
		}
		l.codecs[i], l.source[i] = c, at
		l.names = append(l.names, col.Name)
		if c.note != "" {
			l.notes = append(l.notes, fmt.Sprintf("%s %s: %s", col.Name, col.Type.Name, c.note))
		}
	}
	if err := l.fields.Seal(); err != nil {
		return nil, err
	}
	l.Schema = l.fields.Schema
	return l, nil
}

// Notes say what is not held as its type suggests, a line a column.
func (l *Layout) Notes() []string { return l.notes }

// Select is the select list: the columns of the table, in its order, of which alias is what a FROM calls it.
func (l *Layout) Select(alias string) string {
	out := make([]string, len(l.names))
	for i, name := range l.names {
		out[i] = alias + "." + Quote(name)
	}
	return strings.Join(out, ", ")
}

// KeyText gives the key of a row as texts, of which KeyLiteral makes values; nil without a key.
func (l *Layout) KeyText(b *record.Batch, row int) []string {
	if len(b.Schema.Key) == 0 {
		return nil
	}
	texts := make([]string, len(b.Schema.Key))
	for i, k := range b.Schema.Key {
		f, c := &b.Schema.Fields[k], &b.Columns[k]
		if f.Kind == record.Bytes {
			texts[i] = hex.EncodeToString(c.Text(row))
			continue
		}
		texts[i] = string(record.AppendText(nil, f, c, row))
	}
	return texts
}

// keyColumn gives a column of the key, and how it is read.
func (l *Layout) keyColumn(i int) (*Column, *codec) {
	at := slices.Index(l.names, l.table.Key[i])
	return &l.table.Columns[at], &l.codecs[at]
}

// KeyName is a column of the key, which rows are ordered by.
func (l *Layout) KeyName(alias string, i int) string {
	return alias + "." + Quote(l.table.Key[i])
}

// KeyLiteral makes of a text of KeyText what KeyName is compared with, in the order that rows have by it: members of an ENUM or a SET
// are ordered by their numbers, and so they are when they are compared with a number.
func (l *Layout) KeyLiteral(i int, text string) string {
	column, c := l.keyColumn(i)
	switch c.op {
	case opInt, opUint, opUint64, opNarrow, opWide, opNumeric, opBit, opBit64, opFloat64:
		return text
	case opFloat32: // as it is compared: not the number of few digits, but the one that is stored
		f, _ := strconv.ParseFloat(text, 32) // we wrote it
		return strconv.FormatFloat(f, 'g', -1, 64)
	case opBytes, opGeometry:
		if text == "" {
			return "_binary ''"
		}
		return "_binary 0x" + text
	case opDateTime, opMoment:
		return "'" + strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z") + "'"
	case opText, opDate, opTime:
	}
	if n := column.Type.Labels; len(n) > 0 {
		return strconv.FormatUint(memberNumber(&column.Type, text), 10)
	}
	return Literal(text)
}

// KeyIs is the condition that a column of the key has a text of KeyText, and no other that the server takes for equal: those that differ
// in case, accents or blanks under its collation.
func (l *Layout) KeyIs(alias string, i int, text string) string {
	column, c := l.keyColumn(i)
	name := alias + "." + Quote(column.Name)
	if c.op != opText {
		return name + " = " + l.KeyLiteral(i, text)
	}
	is := name + " = " + Literal(text)
	if column.Type.Charset != "" {
		is += fmt.Sprintf(" AND CAST(CONVERT(%s USING utf8mb4) AS BINARY) = 0x%x", name, text)
		if text == "" {
			is = strings.TrimSuffix(is, "0x") + "_binary ''"
		}
	}
	return is
}

// memberNumber is the number of a member of an ENUM, counted from 1, or the bits of a SET's.
func memberNumber(t *Type, text string) (n uint64) {
	if t.Data == "enum" {
		return uint64(slices.Index(t.Labels, text) + 1) //nolint:gosec // 0 is the text that is no member
	}
	if text == "" {
		return 0
	}
	for one := range strings.SplitSeq(text, ",") {
		if i := slices.Index(t.Labels, one); i >= 0 {
			n |= 1 << i
		}
	}
	return n
}
