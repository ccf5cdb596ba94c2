// Package block encodes rows of columns as bytes: the sorter's scratch file and messages on a bus hold them. What is written
// here stays readable: docs/reference/wire.md describes it, and a test in internal/wire holds it to bytes of old.
package block

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/acequia-io/acequia/record"
)

// A block is rows, column by column. A column is a byte of flags, the bitmaps that it has, and its values; numbers as the
// least and differences of 0, 1, 2, 4 or 8 bytes.
const (
	hasValid  = 1
	hasAbsent = 2
	isConst   = 4 // one slot for all rows
	noWords   = 255
)

// Append appends rows [lo,hi) of columns.
func Append(dst []byte, fields []record.Field, columns []record.Column, lo, hi int) []byte {
	for i, f := range fields {
		dst = appendColumn(dst, f, &columns[i], lo, hi)
	}
	return dst
}

func appendColumn(dst []byte, f record.Field, c *record.Column, lo, hi int) []byte {
	var flags byte
	if c.Const {
		flags, lo, hi = isConst, 0, 1
	}
	if c.Valid != nil {
		flags |= hasValid
	}
	if c.Absent != nil {
		flags |= hasAbsent
	}
	dst = append(dst, flags)
	if c.Valid != nil {
		dst = appendBits(dst, c.Valid, lo, hi)
	}
	if c.Absent != nil {
		dst = appendBits(dst, c.Absent, lo, hi)
	}
	if lo == hi {
		return dst
	}
	switch {
	case f.Kind == record.Float32 || f.Kind == record.Float64:
		for _, v := range c.Floats[lo:hi] {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
		return dst
	case f.Wide():
		for _, v := range c.Wide[lo:hi] {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v.Hi)) //nolint:gosec // its bits
			dst = binary.LittleEndian.AppendUint64(dst, v.Lo)
		}
		return dst
	case f.Kind == record.String || f.Kind == record.Bytes:
		dst = appendLengths(dst, c.Offsets[lo:hi+1])
		return append(dst, c.Bytes[c.Offsets[lo]:c.Offsets[hi]]...)
	case f.Kind == record.VersionText:
		v := &c.Versions
		dst = binary.LittleEndian.AppendUint16(dst, v.Epoch)
		dst = appendWords(dst, part(v.Hi, lo, hi))
		dst = appendWords(dst, part(v.Lo, lo, hi))
		return appendWords(dst, part(v.Index, lo, hi))
	case f.Kind == record.List:
		dst = appendLengths(dst, c.Offsets[lo:hi+1])
		return Append(dst, f.Fields, c.Children, int(c.Offsets[lo]), int(c.Offsets[hi]))
	case f.Kind == record.Struct:
		return Append(dst, f.Fields, c.Children, lo, hi)
	}
	return appendWords(dst, c.Ints[lo:hi])
}

// part gives entries [lo,hi) of words that may be missing, which is zero for every row, or one that stands for every row:
// then no differences are written.
func part[T any](words []T, lo, hi int) []T {
	if len(words) <= 1 {
		return words
	}
	return words[lo:hi]
}

func appendBits(dst []byte, bitmap []uint64, lo, hi int) []byte {
	for r := lo; r < hi; r += 8 {
		w := bitmap[r>>6] >> (r & 63)
		if r&63 > 56 && r>>6+1 < len(bitmap) {
			w |= bitmap[r>>6+1] << (64 - r&63)
		}
		if n := hi - r; n < 8 {
			w &= 1<<n - 1
		}
		dst = append(dst, byte(w)) //nolint:gosec // the low 8
	}
	return dst
}

type word interface{ ~int64 | ~uint64 | ~uint32 }

func appendWords[T word](dst []byte, v []T) []byte {
	if len(v) == 0 {
		return append(dst, noWords)
	}
	least, most := v[0], v[0]
	for _, x := range v {
		least, most = min(least, x), max(most, x)
	}
	size := width(uint64(most) - uint64(least))
	dst = append(dst, byte(size)) //nolint:gosec // at most 8
	dst = binary.LittleEndian.AppendUint64(dst, uint64(least))
	if size == 0 {
		return dst
	}
	for _, x := range v {
		dst = put(dst, uint64(x)-uint64(least), size)
	}
	return dst
}

// appendLengths appends the differences of offsets.
func appendLengths(dst []byte, offsets []uint32) []byte {
	var all uint32
	for k := range len(offsets) - 1 {
		all |= offsets[k+1] - offsets[k]
	}
	size := width(uint64(all))
	dst = append(dst, byte(size)) //nolint:gosec // at most 8
	for k := range len(offsets) - 1 {
		dst = put(dst, uint64(offsets[k+1]-offsets[k]), size)
	}
	return dst
}

func width(v uint64) int {
	switch n := (bits.Len64(v) + 7) / 8; {
	case n == 3:
		return 4
	case n > 4:
		return 8
	default:
		return n
	}
}

func put(dst []byte, v uint64, size int) []byte {
	switch size {
	case 0:
		return dst
	case 1:
		return append(dst, byte(v)) //nolint:gosec // its width
	case 2:
		return binary.LittleEndian.AppendUint16(dst, uint16(v)) //nolint:gosec // its width
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(v)) //nolint:gosec // its width
	}
	return binary.LittleEndian.AppendUint64(dst, v)
}
