package mysql

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// Inserter writes rows of batches as an INSERT takes them, so that the table has the values that the batches were read from. Its literals
// are for a session whose sql_mode has neither NO_BACKSLASH_ESCAPES nor ANSI_QUOTES. It is for one goroutine.
type Inserter struct {
	layout *Layout
	given  []int // columns of the table that are given: the server computes the others
	schema *record.Schema
	source []int // of each given column, that of the batch; -1: none
	raw    []int // and the one that holds what it could not; -1: none
	room   []byte
}

// Inserter makes one for the layout's table.
func (l *Layout) Inserter() *Inserter {
	n := &Inserter{layout: l}
	for i := range l.table.Columns {
		if !l.table.Columns[i].Generated {
			n.given = append(n.given, i)
		}
	}
	return n
}

// Head is what the statement begins with; rows follow, with commas between them.
func (n *Inserter) Head() string {
	names := make([]string, len(n.given))
	for i, c := range n.given {
		names[i] = Quote(n.layout.names[c])
	}
	return "INSERT INTO " + n.layout.table.Quoted() + " (" + strings.Join(names, ", ") + ") VALUES "
}

// bind finds the columns of batches of a schema.
func (n *Inserter) bind(s *record.Schema) error {
	n.schema, n.source, n.raw = s, n.source[:0], n.raw[:0]
	for _, c := range n.given {
		f, raw := n.layout.fields.At(n.layout.source[c])
		at := s.Index(f.Name)
		if at >= 0 {
			if have := &s.Fields[at]; !gather.SameType(have, f) {
				return &fault.Error{
					Class: fault.Fatal, Code: codeType, Place: s.Stream + ", column " + f.Name,
					Err: fmt.Errorf("the column is %s in the table and %s in the rows", f.TypeName(), have.TypeName()),
				}
			}
		}
		n.source, n.raw = append(n.source, at), append(n.raw, s.Index(raw))
	}
	return nil
}

// Append appends a row of a batch, in its parentheses.
func (n *Inserter) Append(dst []byte, b *record.Batch, row int) ([]byte, error) {
	if n.schema != b.Schema {
		if err := n.bind(b.Schema); err != nil {
			return dst, err
		}
	}
	dst = append(dst, '(')
	for i, c := range n.given {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch at, raw := n.source[i], n.raw[i]; {
		case raw >= 0 && b.Columns[raw].IsValid(row):
			dst = appendQuoted(dst, b.Columns[raw].Text(row))
		case at < 0 || !b.Columns[at].IsValid(row):
			dst = append(dst, "NULL"...)
		default:
			var err error
			if dst, err = n.value(dst, &n.layout.codecs[c], &b.Schema.Fields[at], &b.Columns[at], row); err != nil {
				return dst, &fault.Error{Class: fault.Fatal, Code: codeUnfit, Place: b.Schema.Stream + ", column " + b.Schema.Fields[at].Name, Err: err}
			}
		}
	}
	return append(dst, ')'), nil
}

// value appends a value, which is there.
func (n *Inserter) value(dst []byte, c *codec, f *record.Field, col *record.Column, row int) ([]byte, error) {
	switch c.op {
	case opInt, opUint, opUint64, opBit, opBit64, opNarrow, opWide:
		return record.AppendText(dst, f, col, row), nil
	case opFloat32, opFloat64: // a FLOAT by the digits of the number that is stored; with an exponent, or it would be a decimal
		if col.Const {
			row = 0
		}
		return strconv.AppendFloat(dst, col.Floats[row], 'e', -1, 64), nil
	case opBytes:
		return appendQuoted(append(dst, "_binary"...), col.Text(row)), nil
	case opGeometry:
		inner, err := fromEWKB(n.room[:0], col.Text(row))
		n.room = inner
		return appendQuoted(append(dst, "_binary"...), inner), err
	case opDate, opDateTime, opMoment:
		n.room = bytes.TrimSuffix(record.AppendText(n.room[:0], f, col, row), []byte("Z"))
		return appendQuoted(dst, bytes.Replace(n.room, []byte("T"), []byte(" "), 1)), nil
	case opText, opNumeric, opTime:
	}
	return appendQuoted(dst, col.Text(row)), nil
}

// appendQuoted appends a text between quotes. No byte of a character of utf8mb4 but the first is below 0x80, so that bytes can be looked
// at one by one.
func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '\'')
	from := 0
	for i, b := range text {
		if b != '\'' && b != '\\' && b != 0 {
			continue
		}
		as := b
		if b == 0 {
			as = '0'
		}
		dst = append(append(dst, text[from:i]...), '\\', as)
		from = i + 1
	}
	return append(append(dst, text[from:]...), '\'')
}

// fromEWKB undoes geometry: a SRID, and well-known binary without one.
func fromEWKB(dst, v []byte) ([]byte, error) {
	const head, withSRID = 1 + 4, 0x20000000
	if len(v) < head || v[0] > 1 {
		return dst, errMalformed
	}
	order := binary.AppendByteOrder(binary.LittleEndian)
	read := binary.LittleEndian.Uint32
	if v[0] == 0 {
		order, read = binary.BigEndian, binary.BigEndian.Uint32
	}
	kind, rest, srid := read(v[1:]), v[head:], uint32(0)
	if kind&withSRID != 0 {
		if len(rest) < 4 {
			return dst, errMalformed
		}
		kind, srid, rest = kind&^withSRID, read(rest), rest[4:]
	}
	dst = append(binary.LittleEndian.AppendUint32(dst, srid), v[0])
	return append(order.AppendUint32(dst, kind), rest...), nil
}
