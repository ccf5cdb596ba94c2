package verify

import (
	"errors"
	"iter"
	"os"

	"github.com/acequia-io/acequia/internal/sorter"
	"github.com/acequia-io/acequia/record"
)

// gathered is what a side that has no order holds in the ranges that differ: keys and hashes, by range. What memory has no room for is on disk.
type gathered struct {
	key    []record.Field
	sorter *sorter.Sorter
	next   func() (gatheredRows, bool) // the rows of the ranges, ascending; nil: not asked yet
	stop   func()
	ahead  *gatheredRows // rows of a range that was not taken yet
	err    error         // of what next reads

	hashes []uint64 // of the keys that were taken last
	keys   []record.Column
}

// gatheredRows are of one range, and valid until the next are asked for.
type gatheredRows struct {
	of      int32
	columns []record.Column
	lo, hi  int
}

// gatherMemory is what is gathered before the disk is needed, in bytes: some million rows of short keys.
const gatherMemory = 32 << 20

var errStopped = errors.New("nobody reads on")

func newGathered(key *record.Schema, memory int) *gathered {
	g := &gathered{key: key.Fields}
	fields := append([]record.Field{}, key.Fields...)
	fields = append(fields, record.Field{Name: "key hash", Kind: record.Int64}, record.Field{Name: "row hash", Kind: record.Int64})
	g.sorter = sorter.New(os.TempDir(), fields, memory, 0)
	return g
}

// add keeps the rows of the ranges.
func (g *gathered) add(of *given, ranges map[int32]bool) error {
	var rows, parts []int32
	for row, r := range of.ranges {
		if ranges[r] {
			rows, parts = append(rows, int32(row)), append(parts, r)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	columns := make([]record.Column, len(g.key)+2)
	for i, k := range of.key() {
		columns[i].Gather(g.key[i], &k, rows, 0)
	}
	keys, hashes := &columns[len(g.key)], &columns[len(g.key)+1]
	for _, row := range rows {
		keys.Ints, hashes.Ints = append(keys.Ints, int64(of.keys[row])), append(hashes.Ints, int64(of.rows[row])) //nolint:gosec // its bits
	}
	return g.sorter.Add(columns, len(rows), parts, nil)
}

// take hands over the rows of ranges, which stand behind those that were taken before, and remembers their keys.
func (g *gathered) take(ranges map[int32]bool, each func(h *hashed) error) error {
	if g.next == nil {
		g.next, g.stop = iter.Pull(g.rows())
	}
	g.hashes, g.keys = nil, make([]record.Column, len(g.key))
	for {
		if g.ahead == nil {
			p, ok := g.next()
			if !ok {
				return g.err
			}
			g.ahead = &p
		}
		p := g.ahead
		if !ranges[p.of] {
			return nil
		}
		g.ahead = nil
		var h hashed
		h.size(p.hi - p.lo)
		rows := make([]int32, p.hi-p.lo)
		for i := range rows {
			at := p.lo + i
			rows[i], h.ranges[i] = int32(at), p.of                                                                //nolint:gosec // rows in memory
			h.keys[i], h.rows[i] = uint64(p.columns[len(g.key)].Int(at)), uint64(p.columns[len(g.key)+1].Int(at)) //nolint:gosec // its bits
		}
		for i := range g.keys {
			g.keys[i].Gather(g.key[i], &p.columns[i], rows, len(g.hashes))
		}
		g.hashes = append(g.hashes, h.keys...)
		if err := each(&h); err != nil {
			return err
		}
	}
}

// rows are the rows that were gathered.
func (g *gathered) rows() iter.Seq[gatheredRows] {
	return func(yield func(gatheredRows) bool) {
		g.err = g.sorter.Each(func(of int, columns []record.Column, lo, hi int) error {
			if !yield(gatheredRows{int32(of), columns, lo, hi}) { //nolint:gosec // it was one
				return errStopped
			}
			return nil
		})
	}
}

// meet tells suspects of the ranges that were taken last what they are called, and forgets the keys.
func (g *gathered) meet(of *suspects) {
	for row, h := range g.hashes {
		if i, ok := of.index[h]; ok {
			of.meet(i, g.keys, row)
		}
	}
	g.hashes, g.keys = nil, nil
}

// close gives the disk back.
func (g *gathered) close() error {
	if g.stop != nil {
		g.stop()
	}
	return g.sorter.Close()
}
