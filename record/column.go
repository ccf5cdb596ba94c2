package record

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// Int128 is a signed 128-bit integer: the unscaled value of a decimal of more than 18 digits.
type Int128 struct {
	Hi int64
	Lo uint64
}

// Column holds the values of one field, one slot a row; a null or absent row keeps a slot (zero, empty). Which of the
// slices is used follows from the field's kind. A column of a batch is immutable.
type Column struct {
	Ints     []int64
	Floats   []float64
	Wide     []Int128
	Offsets  []uint32 // slots+1 entries, the first 0: where a value starts in Bytes, or a list in Children[0]
	Bytes    []byte
	Versions Versions
	Children []Column // of a list: its elements; of a struct: its members, one slot a row each
	Valid    []uint64 // bitmap, 1: has a value; nil: no nulls
	Absent   []uint64 // bitmap, 1: the source did not send the value (it is not null); nil: none
	Const    bool     // slot 0 stands for every row of the batch
}

// IsValid says whether a row has a value.
func (c *Column) IsValid(row int) bool {
	if c.Const {
		row = 0
	}
	return c.Valid == nil || c.Valid[row>>6]>>(row&63)&1 == 1
}

// IsAbsent says whether the source did not send the value of a row.
func (c *Column) IsAbsent(row int) bool {
	if c.Const {
		row = 0
	}
	return c.Absent != nil && c.Absent[row>>6]>>(row&63)&1 == 1
}

// Int is the value of a row held in Ints.
func (c *Column) Int(row int) int64 {
	if c.Const {
		row = 0
	}
	return c.Ints[row]
}

// Float is the value of a row held in Floats.
func (c *Column) Float(row int) float64 {
	if c.Const {
		row = 0
	}
	return c.Floats[row]
}

// Text is the value of a row held in Bytes; it must not be changed.
func (c *Column) Text(row int) []byte {
	if c.Const {
		row = 0
	}
	return c.Bytes[c.Offsets[row]:c.Offsets[row+1]:len(c.Bytes)]
}

// Leading gives the first 16 bytes of v as two little-endian words, zero where v is shorter: together with its length they
// are v when that has at most 16 bytes. It looks at what is behind v, up to its capacity, and so takes no branch by the
// length, which no processor could foresee.
func Leading(v []byte) (a, b uint64) {
	n := len(v)
	if cap(v) < 16 {
		v = append(make([]byte, 0, 16), v...)
	}
	w := v[:16]
	return binary.LittleEndian.Uint64(w) & low(n), binary.LittleEndian.Uint64(w[8:]) & low(max(n-8, 0))
}

// low is a mask of the n lowest bytes.
func low(n int) uint64 { return ^uint64(0) >> (64 - 8*uint(min(n, 8))) }

// AppendText appends a value held in Bytes.
func (c *Column) AppendText(v []byte) {
	if len(c.Offsets) == 0 {
		c.Offsets = append(c.Offsets, 0)
	}
	c.Bytes = append(c.Bytes, v...)
	c.Offsets = append(c.Offsets, uint32(len(c.Bytes))) //nolint:gosec // a batch is far below 4 GiB
}

// SetNull clears the bit of a row in Valid, making the bitmap when there is none. The row has its slot already.
func (c *Column) SetNull(row int) {
	for len(c.Valid)*64 <= row {
		c.Valid = append(c.Valid, ^uint64(0))
	}
	c.Valid[row>>6] &^= 1 << (row & 63)
}

// SetAbsent sets the bit of a row in Absent. The row has its slot already, and is null for who does not ask.
func (c *Column) SetAbsent(row int) {
	c.SetNull(row)
	for len(c.Absent)*64 <= row {
		c.Absent = append(c.Absent, 0)
	}
	c.Absent[row>>6] |= 1 << (row & 63)
}

// Nulls counts the rows of [lo,hi) that have no value.
func (c *Column) Nulls(lo, hi int) int {
	if c.Valid == nil || lo >= hi {
		return 0
	}
	if c.Const {
		if c.Valid[0]&1 == 1 {
			return 0
		}
		return hi - lo
	}
	n := 0
	for i := lo; i < hi; {
		k := min(64-i&63, hi-i)
		w := c.Valid[i>>6] >> (i & 63)
		if k < 64 {
			w &= 1<<k - 1
		}
		n += k - bits.OnesCount64(w)
		i += k
	}
	return n
}

// Size is the memory that the column holds, in bytes.
func (c *Column) Size() int {
	n := 8*(cap(c.Ints)+cap(c.Floats)+cap(c.Valid)+cap(c.Absent)) + 16*cap(c.Wide) + 4*cap(c.Offsets) + cap(c.Bytes) +
		8*(cap(c.Versions.Hi)+cap(c.Versions.Lo)) + 4*cap(c.Versions.Index)
	for i := range c.Children {
		n += c.Children[i].Size()
	}
	return n
}

// Constant gives a column of one slot that stands for every row of a batch.
func Constant(text string) Column {
	return Column{Offsets: []uint32{0, uint32(len(text))}, Bytes: []byte(text), Const: true} //nolint:gosec // short
}

// Clear takes all slots out and keeps the memory for others. Nothing may still look at it.
func (c *Column) Clear() {
	c.Ints, c.Floats, c.Wide, c.Bytes = c.Ints[:0], c.Floats[:0], c.Wide[:0], c.Bytes[:0]
	if c.Offsets = c.Offsets[:0]; cap(c.Offsets) > 0 {
		c.Offsets = append(c.Offsets, 0)
	}
	v := &c.Versions
	v.Epoch, v.Hi, v.Lo, v.Index = 0, v.Hi[:0], v.Lo[:0], v.Index[:0]
	for i := range c.Children {
		c.Children[i].Clear()
	}
	c.Valid, c.Absent, c.Const = nil, nil, false
}

// Gather appends the given rows of src, in their order. Both columns are of field f; dst is not Const and has
// before slots so far.
func (c *Column) Gather(f Field, src *Column, rows []int32, before int) {
	c.Prepare(&f)
	switch {
	case f.Kind == Float32 || f.Kind == Float64:
		c.Floats = gathered(c.Floats, src.Floats, rows, src.Const)
	case f.Wide():
		c.Wide = gathered(c.Wide, src.Wide, rows, src.Const)
	case f.Kind == String || f.Kind == Bytes:
		c.gatherTexts(src, rows)
	case f.Kind == VersionText:
		for _, r := range rows {
			c.Versions.append(src.Versions.At(int(src.slot(r))))
		}
	case f.Kind == List:
		c.gatherLists(f, src, rows)
	case f.Kind == Struct:
		members := rows
		if src.Const {
			members = make([]int32, len(rows))
		}
		for i, m := range f.Fields {
			c.Children[i].Gather(m, &src.Children[i], members, before)
		}
	default:
		c.Ints = gathered(c.Ints, src.Ints, rows, src.Const)
	}
	c.gatherBitmaps(src, rows, before)
}

// gathered appends the values of the chosen rows.
func gathered[T any](dst, src []T, rows []int32, constant bool) []T {
	dst = slices.Grow(dst, len(rows))
	if constant {
		for range rows {
			dst = append(dst, src[0])
		}
		return dst
	}
	for _, r := range rows {
		dst = append(dst, src[r])
	}
	return dst
}

// gatherTexts reserves what it needs, then copies the chosen texts.
func (c *Column) gatherTexts(src *Column, rows []int32) {
	size := 0
	for _, r := range rows {
		s := src.slot(r)
		size += int(src.Offsets[s+1] - src.Offsets[s])
	}
	if len(c.Offsets) == 0 {
		c.Offsets = append(make([]uint32, 0, len(rows)+1), 0)
	}
	c.Offsets, c.Bytes = slices.Grow(c.Offsets, len(rows)), slices.Grow(c.Bytes, size)
	for _, r := range rows {
		s := src.slot(r)
		c.Bytes = append(c.Bytes, src.Bytes[src.Offsets[s]:src.Offsets[s+1]]...)
		c.Offsets = append(c.Offsets, uint32(len(c.Bytes))) //nolint:gosec // as AppendText
	}
}

func (c *Column) gatherBitmaps(src *Column, rows []int32, before int) {
	if src.Valid != nil {
		for i, r := range rows {
			if !src.IsValid(int(r)) {
				c.SetNull(before + i)
			}
		}
	}
	if src.Absent != nil {
		for i, r := range rows {
			if src.IsAbsent(int(r)) {
				c.SetAbsent(before + i)
			}
		}
	}
	c.pad(before + len(rows))
}

func (c *Column) gatherLists(f Field, src *Column, rows []int32) {
	var elements []int32
	for _, r := range rows {
		s := src.slot(r)
		for e := src.Offsets[s]; e < src.Offsets[s+1]; e++ {
			elements = append(elements, int32(e)) //nolint:gosec // below the batch's size
		}
	}
	at := c.Offsets[len(c.Offsets)-1]
	if len(elements) > 0 { // else the children may have no columns of their own
		c.Children[0].Gather(f.Fields[0], &src.Children[0], elements, int(at))
	}
	for _, r := range rows {
		s := src.slot(r)
		at += src.Offsets[s+1] - src.Offsets[s]
		c.Offsets = append(c.Offsets, at)
	}
}

func (c *Column) slot(row int32) int32 {
	if c.Const {
		return 0
	}
	return row
}

func (v *Versions) append(x Version) {
	v.Epoch = x.Epoch
	v.Hi, v.Lo, v.Index = append(v.Hi, x.Hi), append(v.Lo, x.Lo), append(v.Index, x.Index)
}
