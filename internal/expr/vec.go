package expr

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// vec is the value of an expression for every row of a batch. A slot with an error is not valid.
type vec struct {
	col    record.Column // Absent is a part of what is not valid
	bits   []uint64      // of a bool, instead of col.Ints: 1 for true; any value where not valid
	errs   []slotErr     // ascending
	shared bool          // the slices are the batch's, or a literal's: they must not be written
}

type slotErr struct {
	slot int32
	err  error
}

// call is one evaluation.
type call struct {
	batch *record.Batch
	rows  int
}

// start gives an empty result of operands that all must have a value: it is valid where all are, and has their errors.
func (c *call) start(in ...*vec) *vec {
	out := &vec{}
	out.col.Const = !slices.ContainsFunc(in, func(v *vec) bool { return !v.col.Const })
	n := c.size(out)
	for _, v := range in {
		out.col.Valid = both(out.col.Valid, c.bitmap(v, v.col.Valid, n), n)
		out.col.Absent = either(out.col.Absent, c.bitmap(v, v.col.Absent, n))
		out.errs = mergeErrs(out.errs, c.errsOf(v, n))
	}
	return out
}

// size counts the slots of a vec.
func (c *call) size(v *vec) int {
	if v.col.Const {
		return 1
	}
	return c.rows
}

// words is the length of a bitmap.
func words(n int) int { return (n + 63) / 64 }

// bitmap gives a bitmap of v, that of a constant spread over n slots. Nil stays nil.
func (c *call) bitmap(v *vec, m []uint64, n int) []uint64 {
	if m == nil || n == c.size(v) {
		return m
	}
	out := make([]uint64, words(n))
	if m[0]&1 == 1 {
		fill(out, ^uint64(0))
	}
	return out
}

// errsOf gives the errors of v, that of a constant for each of n slots.
func (c *call) errsOf(v *vec, n int) []slotErr {
	if len(v.errs) == 0 || n == c.size(v) {
		return v.errs
	}
	out := make([]slotErr, n)
	for i := range out {
		out[i] = slotErr{slot: int32(i), err: v.errs[0].err}
	}
	return out
}

func fill[T any](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// both is the intersection of two bitmaps of validity, of which nil is all.
func both(a, b []uint64, n int) []uint64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := make([]uint64, words(n))
	for i := range out {
		out[i] = a[i] & b[i]
	}
	return out
}

// either is the union of two bitmaps of which nil is none.
func either(a, b []uint64) []uint64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	out := make([]uint64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] | b[i]
	}
	return out
}

// mergeErrs is the union; of two errors of a slot the first counts.
func mergeErrs(a, b []slotErr) []slotErr {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.SortStableFunc(out, func(x, y slotErr) int { return cmp.Compare(x.slot, y.slot) })
	return slices.CompactFunc(out, func(x, y slotErr) bool { return x.slot == y.slot })
}

// valid says whether a slot has a value.
func (v *vec) valid(slot int) bool {
	return v.col.Valid == nil || v.col.Valid[slot>>6]>>(slot&63)&1 == 1
}

// fail marks slots as failed. They ascend, and are valid so far.
func (v *vec) fail(slots []int32, n int, err error) {
	errs := make([]slotErr, len(slots))
	for i, s := range slots {
		errs[i] = slotErr{slot: s, err: err}
	}
	v.carry(errs, n)
}

// carry adds errors.
func (v *vec) carry(errs []slotErr, n int) {
	if len(errs) == 0 {
		return
	}
	valid := make([]uint64, words(n))
	if v.col.Valid == nil {
		fill(valid, ^uint64(0))
	} else {
		copy(valid, v.col.Valid)
	}
	for _, e := range errs {
		valid[e.slot>>6] &^= 1 << (e.slot & 63)
	}
	v.col.Valid = valid
	v.errs = mergeErrs(v.errs, errs)
}

// isTrue says whether a bool is true, not false and not null.
func (v *vec) isTrue(slot int) bool { return v.bits[slot>>6]>>(slot&63)&1 == 1 && v.valid(slot) }

// ints gives n slots of Ints, of a constant all alike.
func (c *call) ints(v *vec, n int) []int64 { return spread(v.col.Ints, v.col.Const, n) }

// floats gives n slots of Floats.
func (c *call) floats(v *vec, n int) []float64 { return spread(v.col.Floats, v.col.Const, n) }

func spread[T any](s []T, constant bool, n int) []T {
	if !constant || n == 1 {
		return s[:n]
	}
	out := make([]T, n)
	fill(out, s[0])
	return out
}

// truth gives the bitmap of a bool, of a constant spread over n slots.
func (c *call) truth(v *vec, n int) []uint64 { return c.bitmap(v, v.bits, n) }

// column makes a column of the field from v.
func (v *vec) column(c *call, f record.Field) record.Column {
	n := c.size(v)
	if f.Kind == record.Bool {
		v.col.Ints = make([]int64, n)
		for i := range v.col.Ints {
			v.col.Ints[i] = int64(v.bits[i>>6] >> (i & 63) & 1)
		}
		v.shared = false
	}
	if v.col.Valid != nil && !v.shared {
		v.clear(n)
	}
	if !f.Nullable { // what is not valid has failed: it keeps its zero
		v.col.Valid, v.col.Absent = nil, nil
	}
	return v.col
}

// clear zeroes the slots without a value; texts are empty there already.
func (v *vec) clear(n int) {
	for w := range words(n) {
		for m := ^v.col.Valid[w]; m != 0; m &= m - 1 {
			slot := w<<6 + bits.TrailingZeros64(m)
			switch {
			case slot >= n:
				return
			case len(v.col.Ints) > 0:
				v.col.Ints[slot] = 0
			case len(v.col.Floats) > 0:
				v.col.Floats[slot] = 0
			case len(v.col.Wide) > 0:
				v.col.Wide[slot] = record.Int128{}
			}
		}
	}
}

// selected lists the rows that are true.
func selected(v *vec, n int) (rows []int32, all bool) {
	count := 0
	truth := make([]uint64, words(n))
	for w := range truth {
		m := v.bits[w]
		if v.col.Valid != nil {
			m &= v.col.Valid[w]
		}
		if rest := n - w<<6; rest < 64 {
			m &= 1<<rest - 1
		}
		truth[w] = m
		count += bits.OnesCount64(m)
	}
	if count == n {
		return nil, true
	}
	rows = make([]int32, 0, count)
	for w, m := range truth {
		if m == ^uint64(0) {
			for i := range int32(64) {
				rows = append(rows, int32(w<<6)+i)
			}
			continue
		}
		for ; m != 0; m &= m - 1 {
			rows = append(rows, int32(w<<6+bits.TrailingZeros64(m))) //nolint:gosec // a row
		}
	}
	return rows, false
}
