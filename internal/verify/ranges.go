package verify

import (
	"bytes"
	"cmp"
	"slices"
	"sort"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// sum is what two sides must have in common of a range: two rows that are there twice cancel each other in xor alone, and
// rows that differ by opposite amounts in the sum.
type sum struct {
	Count int64
	Xor   uint64
	Sum   uint64
}

func (s *sum) add(h uint64) {
	s.Count++
	s.Xor ^= h
	s.Sum += h
}

func (s *sum) merge(o sum) {
	s.Count += o.Count
	s.Xor ^= o.Xor
	s.Sum += o.Sum
}

// ranges divide the keys of a table: by the bounds of the parts that the source reads, where keys have an order that both
// sides share, else by a hash of the key.
type ranges struct {
	n      int
	key    []record.Field
	bounds [][]sources.KeyValue // the greatest key of each range but the last; nil: by hash
	whole  []int64              // the bounds, when the key is one integer
}

// rowsOfRange is about how many rows a range has. Each is one read of the source: fewer rows cost more reads, more rows cost
// memory where a range differs.
const rowsOfRange = 32_000

// leastHashed is how many ranges by hash there are at least: an estimate of rows may be of long ago.
const leastHashed = 64

// newRanges makes ranges of the parts of a source, of about so many rows in all; -1: not known.
func newRanges(key []record.Field, parts []sources.KeyRange, rows int64) *ranges {
	if len(key) == 0 {
		return &ranges{n: 1}
	}
	if len(parts) > 1 && ordered(key, parts) {
		r := &ranges{n: len(parts), key: key}
		for _, p := range parts[:len(parts)-1] {
			r.bounds = append(r.bounds, p.UpTo)
			if len(key) == 1 && held(key[0].Kind) {
				r.whole = append(r.whole, p.UpTo[0].Int)
			}
		}
		return r
	}
	n := rows/rowsOfRange + 1
	if rows < 0 {
		n = 1000
	}
	return &ranges{n: int(min(max(n, leastHashed), 1<<16)), key: key}
}

// held says whether the values of a kind are compared as integers.
func held(k record.Kind) bool {
	switch k {
	case record.Bool, record.Int32, record.Int64, record.Date, record.Timestamp, record.LocalTimestamp:
		return true
	}
	return false
}

// ordered says whether bounds of the key can be compared here with its values.
func ordered(key []record.Field, parts []sources.KeyRange) bool {
	for _, f := range key {
		if !held(f.Kind) && f.Kind != record.String && f.Kind != record.Bytes {
			return false
		}
	}
	return !slices.ContainsFunc(parts[:len(parts)-1], func(p sources.KeyRange) bool { return len(p.UpTo) != len(key) })
}

// of gives the range of each row.
func (r *ranges) of(key []record.Column, hashes []uint64, out []int32) {
	switch {
	case r.n == 1:
		clear(out)
	case r.bounds == nil:
		for i, h := range hashes {
			out[i] = int32(h >> 32 * uint64(r.n) >> 32) //nolint:gosec // below n
		}
	case r.whole != nil && !key[0].Const:
		r.ofWhole(key[0].Ints, out)
	default:
		at := 0
		for row := range out {
			if !r.holds(at, key, row) {
				at = sort.Search(len(r.bounds), func(i int) bool { return r.compare(r.bounds[i], key, row) >= 0 })
			}
			out[row] = int32(at)
		}
	}
}

// ofWhole is for a key of one integer: neighbours are mostly of one range.
func (r *ranges) ofWhole(values []int64, out []int32) {
	at := 0
	for row := range out {
		v := values[row]
		if at < len(r.whole) && v > r.whole[at] || at > 0 && v <= r.whole[at-1] {
			at, _ = slices.BinarySearch(r.whole, v)
		}
		out[row] = int32(at)
	}
}

// holds says whether a key is of a range.
func (r *ranges) holds(at int, key []record.Column, row int) bool {
	return (at == len(r.bounds) || r.compare(r.bounds[at], key, row) >= 0) && (at == 0 || r.compare(r.bounds[at-1], key, row) < 0)
}

// compare orders a bound and the key of a row.
func (r *ranges) compare(bound []sources.KeyValue, key []record.Column, row int) int {
	for i := range key {
		var c int
		if held(r.key[i].Kind) {
			c = cmp.Compare(bound[i].Int, key[i].Int(row))
		} else {
			c = bytes.Compare([]byte(bound[i].Text), key[i].Text(row))
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// hashed are rows as both sides see them: the hash of the key, the hash of the whole row, and the range.
type hashed struct {
	keys, rows []uint64
	ranges     []int32
}

// size makes room for rows, all zero.
func (h *hashed) size(n int) {
	h.keys, h.rows, h.ranges = zeroed(h.keys, n), zeroed(h.rows, n), zeroed(h.ranges, n)
}

func zeroed[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

// hashKey sets the hashes of the keys and the ranges.
func (h *hashed) hashKey(r *ranges, key []record.Field, columns []record.Column) {
	for i := range columns {
		addColumn(h.keys, &key[i], &columns[i], keySeed(i, key[i].Kind))
	}
	finish(h.keys)
	r.of(columns, h.keys, h.ranges)
}

// keySeed is the seed of a column of the key: its name may differ between the sides.
func keySeed(i int, k record.Kind) uint64 { return word(uint64(classOf(k)), uint64(i)) } //nolint:gosec // a few
