package parquet

import (
	"encoding/binary"
	"math/bits"

	"github.com/acequia-io/acequia/record"
)

// wordDict and textDict give values small numbers: open addressing, no string keys, nothing allocated for a look-up.
type wordDict struct {
	words []int64
	table []int32 // id+1
}

func (d *wordDict) reset() {
	d.words = d.words[:0]
	clear(d.table)
}

func (d *wordDict) grow() {
	d.table = make([]int32, max(64, 2*len(d.table)))
	for i, v := range d.words {
		h := d.slot(v)
		for d.table[h] != 0 {
			h = (h + 1) & (len(d.table) - 1)
		}
		d.table[h] = int32(i + 1)
	}
}

func (d *wordDict) slot(v int64) int {
	return int(uint64(v) * 0x9E3779B97F4A7C15 >> (64 - uint(bits.TrailingZeros(uint(len(d.table)))))) //nolint:gosec // a hash
}

func (d *wordDict) id(v int64) int32 {
	if 2*len(d.words) >= len(d.table) {
		d.grow()
	}
	m := len(d.table) - 1
	for h := d.slot(v); ; h = (h + 1) & m {
		k := d.table[h]
		if k == 0 {
			d.words = append(d.words, v)
			d.table[h] = int32(len(d.words)) //nolint:gosec // dictionaries are small
			return d.table[h] - 1
		}
		if d.words[k-1] == v {
			return k - 1
		}
	}
}

type textDict struct {
	bytes   []byte
	offsets []uint32
	table   []textEntry
}

// textEntry stands for a text: of up to 16 bytes it is the text, of more their hash and the last 8.
type textEntry struct {
	a, b uint64
	size uint32
	id   uint32 // id+1
}

func (d *textDict) len() int { return max(0, len(d.offsets)-1) }

func (d *textDict) at(i int) []byte { return d.bytes[d.offsets[i]:d.offsets[i+1]] }

func (d *textDict) reset() {
	d.bytes, d.offsets = d.bytes[:0], d.offsets[:0]
	clear(d.table)
}

func (d *textDict) grow() {
	old := d.table
	d.table = make([]textEntry, max(64, 2*len(old)))
	m := len(d.table) - 1
	for _, e := range old {
		if e.id == 0 {
			continue
		}
		s := slot(e.a, e.b, m)
		for d.table[s].id != 0 {
			s = (s + 1) & m
		}
		d.table[s] = e
	}
}

func (d *textDict) id(v []byte) int32 {
	if 2*len(d.offsets) >= len(d.table) {
		d.grow()
	}
	n, m := len(v), len(d.table)-1
	a, b := record.Leading(v)
	if n > 16 {
		a, b = long(v)
	}
	for s := slot(a, b, m); ; s = (s + 1) & m {
		e := &d.table[s]
		switch {
		case e.id == 0:
			return d.add(e, a, b, v)
		case e.a == a && e.b == b && int(e.size) == n && (n <= 16 || string(d.at(int(e.id-1))) == string(v)):
			return int32(e.id - 1) //nolint:gosec // dictionaries are small
		}
	}
}

func (d *textDict) add(e *textEntry, a, b uint64, v []byte) int32 {
	if len(d.offsets) == 0 {
		d.offsets = append(d.offsets, 0)
	}
	d.bytes = append(d.bytes, v...)
	d.offsets = append(d.offsets, uint32(len(d.bytes)))                              //nolint:gosec // a dictionary is left long before
	*e = textEntry{a: a, b: b, size: uint32(len(v)), id: uint32(len(d.offsets) - 1)} //nolint:gosec // small
	return int32(e.id - 1)                                                           //nolint:gosec // dictionaries are small
}

const k1, k2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93

func slot(a, b uint64, m int) int { return int(fold(a^k1, b^k2)) & m } //nolint:gosec // a hash

// long hashes all but the last 8 bytes, in words. Texts are compared as well, so a collision costs time and nothing else,
// and a dictionary that goes on growing is left.
func long(v []byte) (a, b uint64) {
	for ; len(v) > 8; v = v[min(8, len(v)-8):] {
		a = fold(a^binary.LittleEndian.Uint64(v), k1)
	}
	return a, binary.LittleEndian.Uint64(v)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
