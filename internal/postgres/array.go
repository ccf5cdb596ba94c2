package postgres

import (
	"encoding/binary"
	"strconv"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// maxDimensions is MAXDIM of PostgreSQL.
const maxDimensions = 6

// array is an array in binary (src/backend/utils/adt/arrayfuncs.c, array_send).
type array struct {
	lengths, lower []int
	count          int // elements
	elements       []byte
}

func readArray(v []byte) (a array, err error) {
	const head, dimension = 12, 8 // dimensions, a flag, the type of the elements; length and lower bound
	if len(v) < head {
		return a, errMalformed
	}
	n := int(binary.BigEndian.Uint32(v))
	v = v[head:]
	if n > maxDimensions || len(v) < n*dimension {
		return a, errMalformed
	}
	a.count = min(n, 1)
	for range n {
		length := int(binary.BigEndian.Uint32(v))
		if length < 1 || length > len(v) {
			return a, errMalformed
		}
		a.lengths = append(a.lengths, length)
		a.lower = append(a.lower, int(int32(binary.BigEndian.Uint32(v[4:])))) //nolint:gosec // signed
		a.count *= length
		v = v[dimension:]
	}
	if a.count > len(v)/4 { // each has at least its length
		return a, errMalformed
	}
	a.elements = v
	return a, nil
}

// plain says why it is no list: it has several dimensions, or does not begin at 1.
func (a array) plain() error {
	if len(a.lengths) > 1 || len(a.lower) == 1 && a.lower[0] != 1 {
		return gather.ErrOdd
	}
	return nil
}

// next takes one value with its length off v; nil is NULL, and what has no bytes is not nil.
func next(v []byte) (value, rest []byte, err error) {
	if len(v) < 4 {
		return nil, nil, errMalformed
	}
	n := int(int32(binary.BigEndian.Uint32(v))) //nolint:gosec // signed
	v = v[4:]
	switch {
	case n == -1:
		return nil, v, nil
	case n < 0 || n > len(v):
		return nil, nil, errMalformed
	}
	return v[:n:n], v[n:], nil
}

// renderArray appends an array as array_out does.
func (c *codec) renderArray(dst, v []byte) ([]byte, error) {
	a, err := readArray(v)
	if err != nil {
		return dst, err
	}
	if len(a.lengths) == 0 {
		return append(dst, "{}"...), nil
	}
	if a.shifted() {
		for i, length := range a.lengths {
			dst = strconv.AppendInt(append(dst, '['), int64(a.lower[i]), 10)
			dst = strconv.AppendInt(append(dst, ':'), int64(a.lower[i]+length-1), 10)
			dst = append(dst, ']')
		}
		dst = append(dst, '=')
	}
	dst, rest, err := c.renderDimension(dst, a.lengths, a.elements)
	if err == nil && len(rest) > 0 {
		err = errMalformed
	}
	return dst, err
}

func (a array) shifted() bool {
	for _, l := range a.lower {
		if l != 1 {
			return true
		}
	}
	return false
}

func (c *codec) renderDimension(dst []byte, lengths []int, v []byte) (_, rest []byte, err error) {
	dst = append(dst, '{')
	for i := range lengths[0] {
		if i > 0 {
			dst = append(dst, ',')
		}
		if len(lengths) > 1 {
			dst, v, err = c.renderDimension(dst, lengths[1:], v)
		} else {
			var element []byte
			if element, v, err = next(v); err == nil {
				dst, err = c.renderElement(dst, element)
			}
		}
		if err != nil {
			return dst, nil, err
		}
	}
	return append(dst, '}'), v, nil
}

func (c *codec) renderElement(dst, element []byte) ([]byte, error) {
	if element == nil {
		return append(dst, "NULL"...), nil
	}
	text, err := c.parts[0].render(nil, element)
	if err == nil && len(dst)+len(text) > maxText {
		err = errHuge
	}
	if err != nil {
		return dst, err
	}
	return quoteElement(dst, text), nil
}

// quoteElement quotes what array_out quotes.
func quoteElement(dst, text []byte) []byte {
	quoted := len(text) == 0 || len(text) == 4 && asciiEqual(text, "null")
	for _, b := range text {
		switch b {
		case '"', '\\', '{', '}', ',', ' ', '\t', '\n', '\r', '\v', '\f':
			quoted = true
		}
	}
	if !quoted {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, b := range text {
		if b == '"' || b == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, b)
	}
	return append(dst, '"')
}

func asciiEqual(text []byte, lower string) bool {
	for i := range text {
		if text[i]|0x20 != lower[i] {
			return false
		}
	}
	return true
}

// renderRecord appends a composite as record_out does.
func (c *codec) renderRecord(dst, v []byte) ([]byte, error) {
	if len(v) < 4 || int(binary.BigEndian.Uint32(v)) != len(c.parts) {
		return dst, errMalformed
	}
	v = v[4:]
	dst = append(dst, '(')
	for i := range c.parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		if len(v) < 4 {
			return dst, errMalformed
		}
		var member []byte
		var err error
		if member, v, err = next(v[4:]); err != nil {
			return dst, err
		}
		if member == nil {
			continue
		}
		text, err := c.parts[i].render(nil, member)
		if err != nil {
			return dst, err
		}
		dst = quoteMember(dst, text)
	}
	return append(dst, ')'), nil
}

// quoteMember quotes what record_out quotes.
func quoteMember(dst, text []byte) []byte {
	quoted := len(text) == 0
	for _, b := range text {
		switch b {
		case '"', '\\', '(', ')', ',', ' ', '\t', '\n', '\r', '\v', '\f':
			quoted = true
		}
	}
	if !quoted {
		return append(dst, text...)
	}
	dst = append(dst, '"')
	for _, b := range text {
		if b == '"' || b == '\\' {
			dst = append(dst, b)
		}
		dst = append(dst, b)
	}
	return append(dst, '"')
}

// hstore is one that is being appended to a column.
type hstore struct {
	codec    *codec
	dst      *record.Column
	from, at int
}

func (c *codec) hstore(dst *record.Column) *hstore {
	from := int(dst.Offsets[len(dst.Offsets)-1])
	return &hstore{codec: c, dst: dst, from: from, at: from}
}

func (h *hstore) add(key, value []byte, null bool) error {
	entry, fields := h.dst.Children[0].Children, h.codec.field.Fields[0].Fields
	err := h.codec.parts[0].text(&entry[0], key, h.at)
	switch {
	case err != nil:
	case null:
		entry[1].AppendZero(&fields[1])
		entry[1].SetNull(h.at)
	default:
		err = h.codec.parts[1].text(&entry[1], value, h.at)
	}
	h.at++
	return err
}

func (h *hstore) end() {
	h.dst.Offsets = append(h.dst.Offsets, uint32(h.at)) //nolint:gosec // Decoder keeps below 4 GiB
}

func (h *hstore) takeBack(err error) error {
	entry := &h.dst.Children[0]
	for i := range entry.Children {
		if len(entry.Children[i].Offsets) > h.from {
			entry.Children[i].Truncate(&h.codec.field.Fields[0].Fields[i], h.from)
		}
	}
	return err
}

// renderHstore appends an hstore as hstore_out does.
func renderHstore(dst, v []byte) ([]byte, error) {
	if len(v) < 4 {
		return dst, errMalformed
	}
	v = v[4:]
	for first := true; len(v) > 0; first = false {
		if !first {
			dst = append(dst, ", "...)
		}
		key, rest, err := next(v)
		if err != nil || key == nil {
			return dst, errMalformed
		}
		var value []byte
		if value, v, err = next(rest); err != nil {
			return dst, err
		}
		dst = append(quoteEntry(dst, key), "=>"...)
		if value == nil {
			dst = append(dst, "NULL"...)
		} else {
			dst = quoteEntry(dst, value)
		}
	}
	return dst, nil
}

func quoteEntry(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, b := range text {
		if b == '"' || b == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, b)
	}
	return append(dst, '"')
}
