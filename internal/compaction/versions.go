package compaction

import (
	"cmp"
	"slices"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// versions are versions of any epochs.
type versions struct {
	epochs     []uint16
	hi, lo     []uint64
	index      []uint32
	one, oneHi bool // all epochs, or all high words, are one
}

func (v *versions) reset() {
	v.epochs, v.hi, v.lo, v.index, v.one, v.oneHi = v.epochs[:0], v.hi[:0], v.lo[:0], v.index[:0], true, true
}

func (v *versions) grow(rows int) {
	v.epochs, v.hi = slices.Grow(v.epochs, rows), slices.Grow(v.hi, rows)
	v.lo, v.index = slices.Grow(v.lo, rows), slices.Grow(v.index, rows)
}

// add appends the first rows of versions.
func (v *versions) add(from *record.Versions, rows int) {
	for row := range rows {
		v.append(from.At(row))
	}
}

// take appends some rows of versions.
func (v *versions) take(from *record.Versions, rows []int32) {
	for _, row := range rows {
		v.append(from.At(int(row)))
	}
}

func (v *versions) append(x record.Version) {
	if len(v.lo) > 0 {
		v.one = v.one && v.epochs[0] == x.Epoch
		v.oneHi = v.oneHi && v.hi[0] == x.Hi
	}
	v.epochs, v.hi, v.lo, v.index = append(v.epochs, x.Epoch), append(v.hi, x.Hi), append(v.lo, x.Lo), append(v.index, x.Index)
}

// gather appends some rows of others.
func (v *versions) gather(from *versions, rows []int32) {
	for _, row := range rows {
		v.append(record.Version{Epoch: from.epochs[row], Hi: from.hi[row], Lo: from.lo[row], Index: from.index[row]})
	}
}

// compare orders two rows by their versions, or as they stand.
func (v *versions) compare(a, b int32) int {
	one := record.Version{Epoch: v.epochs[a], Hi: v.hi[a], Lo: v.lo[a], Index: v.index[a]}
	return cmp.Or(one.Compare(record.Version{Epoch: v.epochs[b], Hi: v.hi[b], Lo: v.lo[b], Index: v.index[b]}), cmp.Compare(a, b))
}

// put gives the versions of rows; those of one column are of one epoch.
func (v *versions) put(rows []uint32, put parquet.Put) error {
	hi := v.hi
	if v.oneHi {
		hi = hi[:1]
	}
	for len(rows) > 0 {
		epoch, n := v.epochs[rows[0]], len(rows)
		if !v.one {
			n = 1
			for n < len(rows) && v.epochs[rows[n]] == epoch {
				n++
			}
		}
		c := record.Column{Versions: record.Versions{Epoch: epoch, Hi: hi, Lo: v.lo, Index: v.index}}
		if err := put(&c, parquet.Rows{Pick: rows[:n]}); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}
