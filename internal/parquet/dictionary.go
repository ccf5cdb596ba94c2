package parquet

import (
	"encoding/binary"
	"math/bits"
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
	table   []uint64 // high 32 bits of the hash, id+1
}

func (d *textDict) len() int { return max(0, len(d.offsets)-1) }

func (d *textDict) at(i int) []byte { return d.bytes[d.offsets[i]:d.offsets[i+1]] }

func (d *textDict) reset() {
	d.bytes, d.offsets = d.bytes[:0], d.offsets[:0]
	clear(d.table)
}

func (d *textDict) grow() {
	d.table = make([]uint64, max(64, 2*len(d.table)))
	for i := range d.len() {
		h := hash(d.at(i))
		s := int(h) & (len(d.table) - 1) //nolint:gosec // a hash
		for d.table[s] != 0 {
			s = (s + 1) & (len(d.table) - 1)
		}
		d.table[s] = h&^0xFFFFFFFF | uint64(i+1)
	}
}

func (d *textDict) id(v []byte) int32 {
	if len(d.offsets) == 0 {
		d.offsets = append(d.offsets, 0)
	}
	if 2*len(d.offsets) >= len(d.table) {
		d.grow()
	}
	h := hash(v)
	m := len(d.table) - 1
	for s := int(h) & m; ; s = (s + 1) & m { //nolint:gosec // a hash
		e := d.table[s]
		if e == 0 {
			d.bytes = append(d.bytes, v...)
			d.offsets = append(d.offsets, uint32(len(d.bytes))) //nolint:gosec // a dictionary is left long before
			d.table[s] = h&^0xFFFFFFFF | uint64(d.len())        //nolint:gosec // small
			return int32(d.len() - 1)                           //nolint:gosec // dictionaries are small
		}
		if (e^h)>>32 == 0 {
			if i := int(uint32(e)) - 1; string(d.at(i)) == string(v) { //nolint:gosec // the low half
				return int32(i) //nolint:gosec // dictionaries are small
			}
		}
	}
}

// hash reads the value in words of 8 bytes. Values are compared as well, so a collision costs time and nothing else,
// and a dictionary that goes on growing is left.
func hash(v []byte) uint64 {
	const k1, k2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
	n := len(v)
	h := uint64(n) * k2
	var a, b uint64
	switch {
	case n >= 8:
		for len(v) > 16 {
			h = fold(h^binary.LittleEndian.Uint64(v), k1)
			v = v[8:]
		}
		a, b = binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[len(v)-8:])
	case n >= 4:
		a, b = uint64(binary.LittleEndian.Uint32(v)), uint64(binary.LittleEndian.Uint32(v[n-4:]))
	case n > 0:
		a, b = uint64(v[0]), uint64(v[n-1])<<8|uint64(v[n/2])
	}
	return fold(a^h^k1, b^k2)
}

func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
