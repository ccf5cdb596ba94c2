package canonical

import (
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

const (
	asItIs  int32 = -1
	refused int32 = -2
)

// rewrite gives the column with canonical values and whether it differs, or the rows that it refuses. Nothing is copied
// before the first value that changes.
func (h *Handler) rewrite(b *record.Batch, in *record.Column) (record.Column, bool, error) {
	var bad fault.Rows
	var out record.Column
	var seen memory
	slots := b.Rows
	if in.Const {
		slots = min(slots, 1)
	}
	for row := range slots {
		v := in.Text(row)
		option, same := asItIs, true
		if in.IsValid(row) {
			option, same = seen.option(h, v)
		}
		if option == refused {
			bad.Bad = append(bad.Bad, h.refuse(b, in, row)...)
		}
		want := v
		if !same {
			if out.Offsets == nil {
				out.Bytes = append(make([]byte, 0, len(in.Bytes)), in.Bytes[:in.Offsets[row]]...)
				out.Offsets = append(make([]uint32, 0, len(in.Offsets)), in.Offsets[:row+1]...)
			}
			out.Bytes = append(out.Bytes, h.options[option]...)
			want = nil
		}
		if out.Offsets != nil {
			out.Bytes = append(out.Bytes, want...)
			out.Offsets = append(out.Offsets, uint32(len(out.Bytes))) //nolint:gosec // a batch is far below 4 GiB
		}
	}
	out.Valid, out.Absent, out.Const = in.Valid, in.Absent, in.Const
	return out, out.Offsets != nil, bad.Or()
}

// memory holds what a few short values of the batch became: most columns that have a canonical spelling have few values,
// and a look at one place is cheaper than the look-up of a map.
type memory [64]struct {
	a, b   uint64 // the value
	size   int    // of the value, and one
	option int32
	same   bool // the value is spelled as its option
}

// option says which option a value becomes, and whether the value changes by it.
func (m *memory) option(h *Handler, v []byte) (option int32, same bool) {
	if len(v) > 16 {
		option = h.option(v)
		return option, option < 0 || string(v) == h.options[option]
	}
	a, b := record.Leading(v)
	place := &m[(a^b)*0x9E3779B97F4A7C15>>58]
	if place.a != a || place.b != b || place.size != len(v)+1 {
		option = h.option(v)
		place.a, place.b, place.size = a, b, len(v)+1
		place.option, place.same = option, option < 0 || string(v) == h.options[option]
	}
	return place.option, place.same
}

// option says which option a value becomes.
func (h *Handler) option(v []byte) int32 {
	if i, ok := h.exact[string(v)]; ok {
		return i
	}
	var room [64]byte
	if i, ok := h.folded[string(appendFolded(room[:0], v))]; ok {
		return i
	}
	switch h.unknown {
	case Keep:
		return asItIs
	case Default:
		return h.other
	}
	return refused
}

// refuse gives the rows that a slot's value makes bad: the slot's own, or all of a constant column. Deletes and
// truncates pass: without them a record would stay for ever.
func (h *Handler) refuse(b *record.Batch, in *record.Column, slot int) []fault.Row {
	const most = 40 // bytes of the value that an error shows
	v := in.Text(slot)
	text := fmt.Sprintf("%q", v)
	if len(v) > most {
		text = fmt.Sprintf("%q and %d bytes more", v[:most], len(v)-most)
	}
	err := fault.Poisoned(fmt.Errorf("%s is not one of the %d options", text, len(h.options)))
	first, end := slot, slot+1
	if in.Const {
		end = b.Rows
	}
	var bad []fault.Row
	for row := first; row < end; row++ {
		if op := b.System.Op(row); op != record.Delete && op != record.Truncate {
			bad = append(bad, fault.Row{Index: row, Column: h.column, Err: err})
		}
	}
	return bad
}

// appendFolded appends a value without what does not count: letter case, white space and hyphens.
func appendFolded(dst, v []byte) []byte {
	for len(v) > 0 {
		c, n := utf8.DecodeRune(v)
		v = v[n:]
		switch {
		case c < utf8.RuneSelf:
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			if c > ' ' && c != '-' {
				dst = append(dst, byte(c))
			}
		case unicode.IsSpace(c) || unicode.Is(unicode.Pd, c):
		default:
			dst = utf8.AppendRune(dst, unicode.ToLower(unicode.ToUpper(c)))
		}
	}
	return dst
}
