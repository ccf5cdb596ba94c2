package parquet

import (
	"sync/atomic"

	"github.com/acequia-io/acequia/record"
)

// encoding is how the values of a page are encoded.
type encoding uint8

const (
	asPlain encoding = iota // PLAIN
	asDictionary
	asDelta // DELTA_BINARY_PACKED of integers, DELTA_LENGTH_BYTE_ARRAY of texts, DELTA_BYTE_ARRAY of versions
	encodings
)

// choice is what a plan says of a leaf.
type choice struct {
	encoding encoding
	zstd     bool
	without  encoding // when the dictionary grows too large
}

// run is one dictionary entry for n values.
type run struct{ id, n int32 }

// page is a page of the open row group.
type page struct {
	offset  int // in the chunk
	size    int
	entries int
	rows    int
	nulls   int
	lo, hi  []byte
	bounded bool
}

// column encodes one leaf of the open row group.
type column struct {
	*leaf
	choice   choice   // its zstd holds for the whole file: parquet-go reads all chunks of a column by the codec of the first
	encoding encoding // of the open page
	left     *atomic.Bool
	stride   int // rows of a nested column that are taken at a time

	// the open page
	lv       levels
	words    []int64
	data     []byte
	lens     []int32
	prefixes []int32
	ids      []int32
	runs     []run
	last     record.Version
	bounds   bounds
	seen     []uint64 // bitmap of dictionary entries
	narrow   []int32
	slots    []uint32
	shredder shredder

	// the open chunk
	wordDict wordDict
	textDict textDict
	chunk    blocks // encoded data pages
	pages    []page
	total    bounds
	raw      int // bytes before compression
	rows     int
	entries  int
	nulls    int
	used     [encodings]int // data pages
}

// firstStride is small: a nested row may be of any size.
const firstStride = 16

func (c *column) resetChunk() {
	c.encoding = c.choice.encoding
	c.chunk.reset()
	c.pages = c.pages[:0]
	c.raw, c.rows, c.entries, c.nulls = 0, 0, 0, 0
	c.used = [encodings]int{}
	c.total.reset()
	c.wordDict.reset()
	c.textDict.reset()
}

func (c *column) resetPage() {
	c.lv.reset()
	c.bounds.reset()
	c.words, c.data, c.lens, c.prefixes = c.words[:0], c.data[:0], c.lens[:0], c.prefixes[:0]
	c.ids, c.runs = c.ids[:0], c.runs[:0]
}

// held is the memory that the column holds.
func (c *column) held() int {
	return c.chunk.held + 8*(cap(c.words)+cap(c.seen)+cap(c.runs)) + cap(c.data) + c.lv.held() +
		4*(cap(c.lens)+cap(c.prefixes)+cap(c.ids)+cap(c.narrow)+cap(c.slots)+cap(c.shredder.pick)) +
		8*cap(c.wordDict.words) + 4*cap(c.wordDict.table) + cap(c.textDict.bytes) + 4*cap(c.textDict.offsets) + 24*cap(c.textDict.table) +
		128*cap(c.pages)
}

// open is the size of the open page before compression.
func (c *column) open() int {
	return len(c.data) + 8*len(c.words) + 4*len(c.ids) + len(c.lv.defs) + len(c.lv.reps)
}

// expected is about the size that the chunk would have if it ended now.
func (c *column) expected() int {
	open, dict := c.open(), c.dictBytes()
	if c.raw > 0 {
		open = int(float64(open) * float64(c.chunk.size) / float64(c.raw))
	}
	if c.choice.zstd {
		dict /= 2
	}
	return c.chunk.size + open + dict
}

func (c *column) dictLen() int {
	if c.form >= texts {
		return c.textDict.len()
	}
	return len(c.wordDict.words)
}

func (c *column) dictBytes() int {
	return len(c.textDict.bytes) + 4*len(c.textDict.offsets) + 8*len(c.wordDict.words)
}

// write takes rows of col and ends pages as they fill.
func (c *column) write(s *scratch, col *record.Column, rows span) {
	switch {
	case c.nested():
		c.writeNested(s, col, rows)
	case col.Const || c.form == versions && col.Valid == nil && col.Versions.Constant():
		c.writeConstant(s, col, rows.len())
	default:
		c.vary(s)
		for at, most := 0, rows.len(); at < most; {
			n := c.fit(s.o, col, rows.part(at, min(most-at, max(1, s.o.PageRows-c.lv.entries%s.o.PageRows))))
			c.add(col, rows.part(at, n))
			at += n
			c.endFull(s)
		}
	}
}

// fit cuts a step of rows so that no page, and no dictionary, grows much beyond its limit by it.
func (c *column) fit(o Options, col *record.Column, rows span) int {
	n := rows.len()
	if c.form != texts {
		return n
	}
	room := uint32(o.PageBytes) //nolint:gosec // limited
	if c.encoding != asDictionary {
		room = uint32(max(1, o.PageBytes-c.open())) //nolint:gosec // limited
	}
	if rows.pick != nil {
		size := uint32(0)
		for i, r := range rows.pick {
			if size += col.Offsets[r+1] - col.Offsets[r]; size > room && i > 0 {
				return i
			}
		}
		return n
	}
	from := col.Offsets[rows.lo]
	for n > 1 && col.Offsets[rows.lo+n]-from > room {
		n /= 2
	}
	return n
}

// writeConstant takes n rows of one value: a run of a dictionary entry, where there is one.
func (c *column) writeConstant(s *scratch, col *record.Column, n int) {
	if c.steps[0].nullable && !col.IsValid(0) {
		c.lv.same(false, n)
		return
	}
	if c.encoding == asDictionary {
		c.lv.same(true, n)
		c.repeat(col, n)
		c.endFull(s)
		return
	}
	for n > 0 {
		k := min(n, max(1, s.o.PageRows-c.lv.entries%s.o.PageRows))
		if c.form == texts {
			k = min(k, 1+s.o.PageBytes/(1+len(col.Text(0))))
		}
		n -= k
		for len(c.slots) < k {
			c.slots = append(c.slots, 0)
		}
		clear(c.slots)
		c.lv.same(true, k)
		c.take(col, span{pick: c.slots[:k]})
		c.endFull(s)
	}
}

// vary makes the column ready for values that differ. Versions keep their dictionary for constants only.
func (c *column) vary(s *scratch) {
	if c.form == versions && c.encoding == asDictionary {
		c.flush(s)
		c.encoding = asDelta
		c.left.Store(true)
	}
	c.expand()
}

// add takes rows of a flat column.
func (c *column) add(col *record.Column, rows span) {
	n := rows.len()
	if col.Valid == nil || !c.steps[0].nullable {
		c.lv.same(true, n)
		c.take(col, rows)
		return
	}
	before := c.lv.nulls
	if rows.pick != nil {
		c.slots = c.lv.pick(c.slots[:0], col.Valid, rows.pick)
	} else {
		c.lv.add(col.Valid, rows.lo, rows.hi)
	}
	switch c.lv.nulls - before {
	case 0:
		c.take(col, rows)
	case n:
	default:
		if rows.pick == nil {
			c.slots = appendValid(c.slots[:0], col.Valid, rows.lo, rows.hi)
		}
		c.take(col, span{pick: c.slots})
	}
}

// writeNested takes rows of a column in a list or struct. A row may be of any size, so they are taken in strides that
// follow the size seen.
func (c *column) writeNested(s *scratch, col *record.Column, rows span) {
	c.vary(s)
	for at, most := 0, rows.len(); at < most; {
		n := min(most-at, c.stride, max(1, s.o.PageRows-c.lv.rows))
		before := c.open() + c.dictBytes()
		values, slots := c.shredder.shred(c.steps, &c.lv, col, rows.part(at, n))
		if slots.len() > 0 {
			c.take(values, slots)
		}
		at += n
		if grown := c.open() + c.dictBytes() - before; grown > s.o.PageBytes/4 {
			c.stride = max(1, c.stride/4)
		} else if grown < s.o.PageBytes/16 {
			c.stride = min(1024, 2*c.stride)
		}
		c.endFull(s)
	}
}

// endFull ends the open page when it is full, and leaves a dictionary that is of no use.
func (c *column) endFull(s *scratch) {
	if c.lv.entries >= s.o.PageRows && len(c.runs) == 0 || c.open() >= s.o.PageBytes ||
		c.encoding == asDictionary && c.dictBytes() > s.o.DictBytes {
		c.flush(s)
		c.leaveDictionary(s.o)
	}
}

// leaveDictionary goes on without a dictionary when it has grown too large; the pages written so far keep it. The
// next chunks, and by the plan the next files, do not try again.
func (c *column) leaveDictionary(o Options) {
	n := c.dictLen()
	if c.encoding == asDictionary && (c.dictBytes() > o.DictBytes || n > 4096 && 2*n > c.entries) {
		c.encoding = c.choice.without
		c.left.Store(true)
		if c.form != versions {
			c.choice.encoding = c.encoding
		}
	}
}
