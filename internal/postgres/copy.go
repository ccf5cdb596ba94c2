package postgres

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// Copier writes rows of batches as COPY ... FROM STDIN takes them in its text format, so that the table has the values that the
// batches were read from (https://www.postgresql.org/docs/15/sql-copy.html). It is for one goroutine.
type Copier struct {
	layout *Layout
	given  []int // fields of the layout that are given: the server computes the others
	schema *record.Schema
	source []int // of each given field, the column of the batch; -1: none
	raw    []int // and the one that holds what it could not; -1: none
	room   []byte
}

// Copier makes one for a table, which has columns that are given.
func (l *Layout) Copier() *Copier {
	c := &Copier{layout: l}
	for i, f := range l.source {
		if !l.table.Columns[i].Generated {
			c.given = append(c.given, f)
		}
	}
	return c
}

// SQL is the statement.
func (c *Copier) SQL() string {
	names := make([]string, len(c.given))
	for i, f := range c.given {
		field, _ := c.layout.fields.At(f)
		names[i] = quote(field.Name)
	}
	return "copy " + c.layout.table.Quoted() + " (" + strings.Join(names, ", ") + ") from stdin"
}

// bind finds the columns of batches of a schema.
func (c *Copier) bind(s *record.Schema) error {
	c.schema, c.source, c.raw = s, c.source[:0], c.raw[:0]
	for _, g := range c.given {
		f, raw := c.layout.fields.At(g)
		at := s.Index(f.Name)
		if at >= 0 {
			if have := &s.Fields[at]; !gather.SameType(have, f) {
				return &fault.Error{
					Class: fault.Fatal, Code: codeType, Place: s.Stream + ", column " + f.Name,
					Err: fmt.Errorf("the column is %s in the table and %s in the rows", f.TypeName(), have.TypeName()),
				}
			}
		}
		c.source, c.raw = append(c.source, at), append(c.raw, s.Index(raw))
	}
	return nil
}

var errNotUnfit = errors.New("what stands beside it is no value of the server")

// Append appends the rows of a batch.
func (c *Copier) Append(dst []byte, b *record.Batch) ([]byte, error) {
	if c.schema != b.Schema {
		if err := c.bind(b.Schema); err != nil {
			return dst, err
		}
	}
	for row := range b.Rows {
		for i, g := range c.given {
			if i > 0 {
				dst = append(dst, '\t')
			}
			f, _ := c.layout.fields.At(g)
			codec := &c.layout.codecs[g]
			switch at, raw := c.source[i], c.raw[i]; {
			case raw >= 0 && b.Columns[raw].IsValid(row):
				text, err := codec.unfit(b.Columns[raw].Text(row))
				if err != nil {
					return dst, &fault.Error{Class: fault.Fatal, Code: codeUnfit, Place: b.Schema.Stream + ", column " + f.Name, Err: err}
				}
				dst = appendCopied(dst, text)
			case at < 0 || !b.Columns[at].IsValid(row):
				dst = append(dst, `\N`...)
			case codec.op == opText:
				dst = appendCopied(dst, b.Columns[at].Text(row))
			default:
				c.room = codec.printed(c.room[:0], f, &b.Columns[at], row)
				dst = appendCopied(dst, c.room)
			}
		}
		dst = append(dst, '\n')
	}
	return dst, nil
}

// unfit gives the text of a value that its column could not hold. That of a text is its bytes, which were no UTF-8.
func (c *codec) unfit(text []byte) ([]byte, error) {
	if !c.verify {
		return text, nil
	}
	digits, ok := strings.CutPrefix(string(text), `\x`)
	if !ok {
		return text, nil
	}
	out, err := hex.DecodeString(digits)
	if err != nil {
		return nil, errNotUnfit
	}
	return out, nil
}

// appendCopied escapes what COPY would take for the end of a value or of a row.
func appendCopied(dst, text []byte) []byte {
	from := 0
	for i, b := range text {
		if b > '\r' && b != '\\' {
			continue
		}
		var as byte
		switch b {
		case '\\':
			as = '\\'
		case '\n':
			as = 'n'
		case '\r':
			as = 'r'
		case '\t':
			as = 't'
		default:
			continue
		}
		dst = append(append(dst, text[from:i]...), '\\', as)
		from = i + 1
	}
	return append(dst, text[from:]...)
}

// printed appends a value as the server takes it. It has one.
func (c *codec) printed(dst []byte, f *record.Field, col *record.Column, row int) []byte {
	if col.Const {
		row = 0
	}
	switch c.op {
	case opBool:
		if col.Ints[row] != 0 {
			return append(dst, 't')
		}
		return append(dst, 'f')
	case opFloat32, opFloat64:
		switch v := col.Floats[row]; {
		case math.IsInf(v, 1):
			return append(dst, "Infinity"...)
		case math.IsInf(v, -1):
			return append(dst, "-Infinity"...)
		}
	case opBytea:
		return hex.AppendEncode(append(dst, `\x`...), col.Text(row))
	case opWKB:
		return hex.AppendEncode(dst, col.Text(row))
	case opList:
		return c.printedList(dst, f, col, row)
	case opStruct:
		return c.printedStruct(dst, f, col, row)
	case opHstore:
		return printedHstore(dst, col, row)
	default: // as record prints it
	}
	return record.AppendText(dst, f, col, row)
}

func (c *codec) printedList(dst []byte, f *record.Field, col *record.Column, row int) []byte {
	dst = append(dst, '{')
	var room []byte
	for e := int(col.Offsets[row]); e < int(col.Offsets[row+1]); e++ {
		if e > int(col.Offsets[row]) {
			dst = append(dst, ',')
		}
		if !col.Children[0].IsValid(e) {
			dst = append(dst, "NULL"...)
			continue
		}
		room = c.parts[0].printed(room[:0], &f.Fields[0], &col.Children[0], e)
		dst = quoteElement(dst, room)
	}
	return append(dst, '}')
}

func (c *codec) printedStruct(dst []byte, f *record.Field, col *record.Column, row int) []byte {
	dst = append(dst, '(')
	var room []byte
	for i := range c.parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		if !col.Children[i].IsValid(row) {
			continue
		}
		room = c.parts[i].printed(room[:0], &f.Fields[i], &col.Children[i], row)
		dst = quoteMember(dst, room)
	}
	return append(dst, ')')
}

func printedHstore(dst []byte, col *record.Column, row int) []byte {
	entries := &col.Children[0]
	for e := int(col.Offsets[row]); e < int(col.Offsets[row+1]); e++ {
		if e > int(col.Offsets[row]) {
			dst = append(dst, ',')
		}
		dst = append(quoteEntry(dst, entries.Children[0].Text(e)), "=>"...)
		if !entries.Children[1].IsValid(e) {
			dst = append(dst, "NULL"...)
			continue
		}
		dst = quoteEntry(dst, entries.Children[1].Text(e))
	}
	return dst
}
