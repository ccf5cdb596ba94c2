package parquet

import (
	"math"
	"math/bits"
	"slices"

	"github.com/acequia-io/acequia/record"

	"github.com/parquet-go/parquet-go/encoding/plain"
)

// take appends the values of slots to the open page.
func (c *column) take(col *record.Column, s span) {
	switch c.form {
	case texts:
		c.takeTexts(col, s)
	case wides:
		c.takeWides(col, s)
	case versions:
		c.takeVersions(&col.Versions, s)
	default:
		c.takeWords(col, s)
	}
}

func (c *column) takeWords(col *record.Column, s span) {
	at := len(c.words)
	switch {
	case c.float():
		c.takeFloats(col.Floats, s)
	case s.pick == nil:
		c.words = append(c.words, col.Ints[s.lo:s.hi]...)
		c.bounds.words(c.words[at:])
	default:
		for _, r := range s.pick {
			c.words = append(c.words, col.Ints[r])
		}
		c.bounds.words(c.words[at:])
	}
	if c.encoding == asDictionary {
		v := c.words[at:]
		ids := grow(&c.ids, len(v))
		for i, x := range v {
			ids[i] = c.wordDict.id(x)
		}
		c.words = c.words[:at]
	}
}

func (c *column) takeFloats(v []float64, s span) {
	single := c.form == words4
	for i := range s.len() {
		r := s.lo + i
		if s.pick != nil {
			r = int(s.pick[i])
		}
		x := v[r]
		c.bounds.float(x)
		if single {
			c.words = append(c.words, int64(math.Float32bits(float32(x))))
		} else {
			c.words = append(c.words, int64(math.Float64bits(x))) //nolint:gosec // its bits
		}
	}
}

// grow lengthens s by n and gives the new part.
func grow(s *[]int32, n int) []int32 {
	k := len(*s)
	if k+n > cap(*s) {
		t := make([]int32, k, max(k+n, 2*cap(*s)))
		copy(t, *s)
		*s = t
	}
	*s = (*s)[:k+n]
	return (*s)[k:]
}

func (c *column) takeTexts(col *record.Column, s span) {
	off, buf := col.Offsets, col.Bytes
	n := s.len()
	switch c.encoding {
	case asDictionary: // the bounds come from the entries of the page
		ids := grow(&c.ids, n)
		buf = slices.Clip(buf) // the dictionary may look at what is behind a text
		for i := range ids {
			r := s.lo + i
			if s.pick != nil {
				r = int(s.pick[i])
			}
			ids[i] = c.textDict.id(buf[off[r]:off[r+1]])
		}
	case asDelta:
		lens := grow(&c.lens, n)
		if s.pick == nil {
			c.data = append(c.data, buf[off[s.lo]:off[s.hi]]...)
		}
		for i := range lens {
			r := s.lo + i
			if s.pick != nil {
				r = int(s.pick[i])
				c.data = append(c.data, buf[off[r]:off[r+1]]...)
			}
			v := buf[off[r]:off[r+1]]
			lens[i] = int32(len(v)) //nolint:gosec // checked
			c.bounds.text(v)
		}
	default:
		for i := range n {
			r := s.lo + i
			if s.pick != nil {
				r = int(s.pick[i])
			}
			v := buf[off[r]:off[r+1]]
			c.data = plain.AppendByteArray(c.data, v)
			c.bounds.text(v)
		}
	}
}

func (c *column) takeWides(col *record.Column, s span) {
	for i := range s.len() {
		r := s.lo + i
		if s.pick != nil {
			r = int(s.pick[i])
		}
		v := col.Wide[r]
		c.bounds.wide(v)
		at := len(c.data)
		c.data = appendWide(c.data, v)
		if c.encoding == asDictionary {
			c.ids = append(c.ids, c.textDict.id(c.data[at:]))
			c.data = c.data[:at]
		}
	}
}

func (c *column) takeVersions(v *record.Versions, s span) {
	n := s.len()
	if c.encoding != asPlain && len(v.Hi) <= 1 && len(v.Lo) <= 1 && len(v.Index) > 1 {
		n = min(n, 1) // the rest differ from it in their index alone
	}
	for i := range n {
		x := v.At(s.at(i))
		c.bounds.version(x)
		if c.encoding == asPlain {
			c.data = x.AppendText(append(c.data, record.VersionLen, 0, 0, 0), 0)
			continue
		}
		common := 0
		if len(c.lens) > 0 {
			common = x.CommonPrefix(c.last)
		}
		c.prefixes = append(c.prefixes, int32(common))
		c.lens = append(c.lens, int32(record.VersionLen-common))
		if common < record.VersionLen {
			c.data = x.AppendText(c.data, common)
		}
		c.last = x
	}
	if n < s.len() {
		c.takeIndexes(v.Index, s.part(n, s.len()-n))
	}
}

// takeIndexes takes versions that differ from the one before in their index alone, as those of a snapshot: only its eight digits are looked at.
func (c *column) takeIndexes(index []uint32, s span) {
	const before = record.VersionLen - 8
	n := s.len()
	c.prefixes, c.lens, c.data = slices.Grow(c.prefixes, n), slices.Grow(c.lens, n), slices.Grow(c.data, 2*n)
	last, least, most := c.last.Index, c.last.Index, c.last.Index
	for i := range n {
		x := index[s.at(i)]
		least, most = min(least, x), max(most, x)
		if x^last-1 < 15 { // only the last digit differs, as in 15 of 16 rows of a snapshot
			c.prefixes, c.lens, c.data = append(c.prefixes, before+7), append(c.lens, 1), append(c.data, "0123456789abcdef"[x&15])
			last = x
			continue
		}
		common := bits.LeadingZeros32(x^last) / 4
		c.prefixes, c.lens = append(c.prefixes, int32(before+common)), append(c.lens, int32(8-common)) //nolint:gosec // below 46
		if common < 8 {
			c.data = record.Version{Index: x}.AppendText(c.data, before+common)
		}
		last = x
	}
	for _, x := range [...]uint32{least, most, last} {
		c.last.Index = x
		c.bounds.version(c.last)
	}
}

// repeat appends n times the value in slot 0 of a constant, as a run when the page holds nothing but runs.
func (c *column) repeat(col *record.Column, n int) {
	var id int32
	switch c.form {
	case texts:
		id = c.textDict.id(col.Text(0))
	case wides:
		c.bounds.wide(col.Wide[0])
		var b [wideLen]byte
		id = c.textDict.id(appendWide(b[:0], col.Wide[0]))
	case versions:
		v := col.Versions.At(0)
		c.bounds.version(v)
		var b [record.VersionLen]byte
		id = c.textDict.id(v.AppendText(b[:0], 0))
	default:
		at := len(c.words)
		c.takeOne(col)
		id = c.wordDict.id(c.words[at])
		c.words = c.words[:at]
	}
	if len(c.ids) > 0 {
		for range n {
			c.ids = append(c.ids, id)
		}
		return
	}
	if k := len(c.runs); k > 0 && c.runs[k-1].id == id {
		c.runs[k-1].n += int32(n) //nolint:gosec // rows of a row group
	} else {
		c.runs = append(c.runs, run{id: id, n: int32(n)}) //nolint:gosec // rows of a batch
	}
}

// takeOne appends slot 0 to the words of the page.
func (c *column) takeOne(col *record.Column) {
	if c.float() {
		c.takeFloats(col.Floats, span{hi: 1})
		return
	}
	c.words = append(c.words, col.Ints[0])
	c.bounds.words(col.Ints[:1])
}

// textBounds finds the bounds of a page of texts by the dictionary entries in it.
func (c *column) textBounds() {
	n := (c.textDict.len() + 63) / 64
	for len(c.seen) < n {
		c.seen = append(c.seen, 0)
	}
	seen := c.seen[:n]
	clear(seen)
	for _, id := range c.ids {
		seen[id>>6] |= 1 << (id & 63)
	}
	for _, r := range c.runs {
		seen[r.id>>6] |= 1 << (r.id & 63)
	}
	for i, w := range seen {
		for ; w != 0; w &= w - 1 {
			c.bounds.text(c.textDict.at(i<<6 + bits.TrailingZeros64(w)))
		}
	}
}

// appendValid appends the rows of [lo,hi) that have a value.
func appendValid(dst []uint32, valid []uint64, lo, hi int) []uint32 {
	for i := lo; i < hi; {
		n := min(64-i&63, hi-i)
		w := valid[i>>6] >> (i & 63)
		if n < 64 {
			w &= 1<<n - 1
		}
		for ; w != 0; w &= w - 1 {
			dst = append(dst, uint32(i+bits.TrailingZeros64(w))) //nolint:gosec // rows of a batch
		}
		i += n
	}
	return dst
}
