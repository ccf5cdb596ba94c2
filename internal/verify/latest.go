package verify

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// newest is the newest copy of a key that was met.
type newest struct {
	version record.Version
	op      record.Op
	there   bool
	hash    uint64
	event   string
}

// over says whether a copy takes the place of another, as in the view of the latest rows: by version, then by event.
func (n *newest) over(o *newest) bool {
	return !o.there || cmp.Or(n.version.Compare(o.version), cmp.Compare(n.event, o.event)) > 0
}

// slice is consecutive ranges, for whose keys there is memory.
type slice struct{ from, to int32 }

func (s slice) holds(r int32) bool { return r >= s.from && r < s.to }

func (s slice) halves() [2]slice {
	middle := s.from + (s.to-s.from)/2
	return [2]slice{{s.from, middle}, {middle, s.to}}
}

// sliced divides ranges into as many slices as rows need.
func sliced(ranges int, rows int64) []slice {
	n := min(int64(ranges), rows/mostFiltered+1)
	var out []slice
	for i := range n {
		out = append(out, slice{int32(i * int64(ranges) / n), int32((i + 1) * int64(ranges) / n)}) //nolint:gosec // ranges
	}
	return out
}

const (
	mostFiltered = 1 << 25 // rows of a slice: the filter has 16 bits for each, 64 MiB in all
	mostRepeated = 1 << 20 // keys of a slice: some 60 bytes each
)

// filter tells keys that were perhaps met before: two keys may share a bit.
type filter struct {
	words []uint64
	mask  uint64
}

// forget makes room for rows.
func (f *filter) forget(rows int64) {
	n := uint64(1) << bits.Len64(uint64(max(rows, 4096)*16))
	n = min(n, 16*mostFiltered)
	f.words, f.mask = zeroed(f.words, int(n/64)), n-1
}

// repeated holds the keys of a slice of which there is more than one copy, or that may be such, with the newest copy.
// Its memory goes by their number.
type repeated struct {
	keys  []uint64 // open addressing; 0: free
	at    []int32
	shift uint
	list  []copyOf
	names map[int32]string // ids of events, where there are any
}

// copyOf is a copy as compact as it can be: a table may have millions.
type copyOf struct {
	key, hi, lo, hash uint64
	index             uint32
	rng               int32
	epoch             uint16
	op                record.Op
}

// beginsToGrow is from how many keys on there is memory for all.
const beginsToGrow = 1 << 18

// leastPlaces is the logarithm of how many places there are at first.
const leastPlaces = 12

// forget takes all keys out; the memory stays.
func (r *repeated) forget() {
	r.list, r.names = r.list[:0], map[int32]string{}
	r.grow(leastPlaces)
}

func (r *repeated) grow(size uint) {
	r.keys, r.at, r.shift = zeroed(r.keys, 1<<size), zeroed(r.at, 1<<size), 64-size
	for i := range r.list {
		place := r.place(r.list[i].key)
		r.keys[place], r.at[place] = r.list[i].key|1, int32(i)
	}
}

// place finds where a key stands, or would. The lowest bit says that the place is taken; two keys that differ in nothing
// else are one in two to the 63rd.
func (r *repeated) place(key uint64) uint64 {
	mask := uint64(len(r.keys)) - 1
	for i := key * salt1 >> r.shift; ; i = (i + 1) & mask {
		if r.keys[i] == 0 || r.keys[i] == key|1 {
			return i
		}
	}
}

// find gives the number of a key; -1: there is no such.
func (r *repeated) find(key uint64) int32 {
	if i := r.place(key); r.keys[i] != 0 {
		return r.at[i]
	}
	return -1
}

// add makes a place for a key.
func (r *repeated) add(key uint64) int32 {
	i := r.place(key)
	if r.keys[i] != 0 {
		return r.at[i]
	}
	n := int32(len(r.list)) //nolint:gosec // bounded
	r.keys[i], r.at[i] = key|1, n
	if n == beginsToGrow {
		r.list = slices.Grow(r.list, mostRepeated) // at once: to grow by and by takes twice the memory
	}
	r.list = append(r.list, copyOf{key: key})
	if len(r.list)*4 > len(r.keys)*3 {
		r.grow(64 - r.shift + 1)
	}
	return n
}

// put takes a copy if it is newer than what is there.
func (r *repeated) put(n int32, c *newest, rng int32) {
	have := &r.list[n]
	old := newest{version: record.Version{Epoch: have.epoch, Hi: have.hi, Lo: have.lo, Index: have.index}, there: have.op != 0, event: r.names[n]}
	if !c.over(&old) {
		return
	}
	v := c.version
	have.hi, have.lo, have.index, have.epoch, have.op, have.hash, have.rng = v.Hi, v.Lo, v.Index, v.Epoch, c.op, c.hash, rng
	if c.event != "" || old.event != "" {
		r.names[n] = c.event
	}
}
