package parquet

import (
	"sync/atomic"

	"github.com/acequia-io/acequia/record"
)

// SampleRows are enough to choose by.
const SampleRows = 8192

// minSample is what a choice needs at least; with less every column tries a dictionary.
const minSample = 32

// Plan says how each column of a table is encoded. It is made once a table, from a sample, so that a file of 800 rows
// pays nothing for it. All writers of the table share it, also at the same time.
type Plan struct {
	choices []choice      // by leaf
	left    []atomic.Bool // by leaf: a file found it not to be what the sample had shown
	codec   codec
}

// choice is what a new file does with a leaf.
func (p *Plan) choice(l *leaf, i int) choice {
	c := p.choices[i]
	if p.left[i].Load() {
		c.zstd = true
		if l.form != versions {
			c.encoding = c.without
		}
	}
	return c
}

// byteCost is what a byte given to zstd costs, in bytes of output: the measured 3 ns a byte against the wish to keep
// files small.
const byteCost = 0.10

// Sample tries every encoding, with zstd and without, on the first rows, of which it takes at most SampleRows, and keeps
// the cheapest for each column. The columns fit fields.
func Sample(fields []record.Field, columns []record.Column, rows int) *Plan {
	p := &Plan{}
	all, err := leaves(fields)
	rows = min(rows, SampleRows)
	if err != nil || rows < minSample || check(fields, columns, 0, rows) != nil { // NewWriter or Write will say it
		columns, rows = nil, 0
	}
	p.left = make([]atomic.Bool, len(all))
	for i := range all {
		l := &all[i]
		if rows == 0 {
			p.choices = append(p.choices, l.usual())
		} else {
			p.choices = append(p.choices, l.choose(p, &columns[l.top], rows))
		}
	}
	return p
}

// usual is the choice where nothing is known: a dictionary, for as long as it pays.
func (l *leaf) usual() choice {
	switch {
	case l.form == bits1:
		return choice{encoding: asPlain, zstd: true, without: asPlain}
	case l.float() || l.form == wides:
		return choice{encoding: asDictionary, zstd: true, without: asPlain}
	}
	return choice{encoding: asDictionary, zstd: true, without: asDelta}
}

func (l *leaf) choose(p *Plan, col *record.Column, rows int) choice {
	best := l.usual()
	if l.form == versions {
		best.zstd = l.nested() || !col.Versions.Constant()
		return best
	}
	if col.Const || col.Nulls(0, rows) == rows {
		best.zstd = l.form == bits1 // a run is too small for zstd to gain
		return best
	}
	try := []encoding{asDelta, asPlain, asDictionary}
	switch {
	case l.form == bits1:
		try = []encoding{asPlain}
	case l.float() || l.form == wides:
		try = []encoding{asPlain, asDictionary}
	}
	least, without := 0.0, best.without
	for _, e := range try {
		raw, packed, ok := l.measure(p, col, rows, e)
		if !ok {
			continue
		}
		for _, z := range []bool{true, false} {
			cost := raw
			if z {
				cost = packed + byteCost*raw
			}
			if least == 0 || cost < least {
				best, least = choice{encoding: e, zstd: z}, cost
				if e != asDictionary {
					without = e
				}
			}
		}
	}
	best.without = without
	return best
}

// measure encodes the sample as one page and gives its size without and with zstd. ok is false when it has no values, or
// too many different ones for a dictionary.
func (l *leaf) measure(p *Plan, col *record.Column, rows int, e encoding) (raw, packed float64, ok bool) {
	s := newScratch(Options{PageRows: 1 << 30, PageBytes: maxText, DictBytes: maxText}, &p.codec)
	c := &column{leaf: l, stride: firstStride, choice: choice{encoding: e, zstd: true, without: e}, left: new(atomic.Bool)}
	c.resetChunk()
	c.write(s, col, span{hi: rows})
	n := c.lv.values()
	if n == 0 || e == asDictionary && 4*c.dictLen() > n {
		return 0, 0, false
	}
	dict := float64(c.dictBytes()) / 20 // a file has many times the rows of the sample
	c.flush(s)
	return float64(c.raw) + dict, float64(c.chunk.size) + dict, s.err == nil
}
