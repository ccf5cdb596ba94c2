package parquet

import (
	"encoding/binary"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/rle"
)

// levels are the repetition and definition levels of the open page. A flat column keeps a bitmap, and makes it
// only when some rows have values and some have none: it is the bit-packed run of the file as it stands. A nested
// column keeps a byte a level.
type levels struct {
	entries int // values and nulls
	rows    int
	nulls   int
	mixed   bool // bits is made
	bits    []uint64
	defs    []byte
	reps    []byte
}

func (l *levels) reset() { *l = levels{bits: l.bits[:0], defs: l.defs[:0], reps: l.reps[:0]} }

func (l *levels) values() int { return l.entries - l.nulls }

func (l *levels) held() int { return 8*cap(l.bits) + cap(l.defs) + cap(l.reps) }

// word appends the k low bits of w, the others being zero.
func (l *levels) word(w uint64, k int) {
	p := l.entries & 63
	if p == 0 {
		l.bits = append(l.bits, w)
	} else {
		l.bits[len(l.bits)-1] |= w << p
		if p+k > 64 {
			l.bits = append(l.bits, w>>(64-p))
		}
	}
	l.entries += k
}

func (l *levels) fill(w uint64, n int) {
	for ; n > 0; n -= 64 {
		k := min(n, 64)
		l.word(w&(^uint64(0)>>(64-k)), k)
	}
}

// mix makes the bitmap of what was the same until now.
func (l *levels) mix() {
	if l.mixed {
		return
	}
	n, w := l.entries, ^uint64(0)
	if l.nulls > 0 {
		w = 0
	}
	l.mixed, l.entries, l.bits = true, 0, l.bits[:0]
	l.fill(w, n)
}

// same adds n rows that all have a value, or all have none.
func (l *levels) same(valid bool, n int) {
	l.rows += n
	if !l.mixed && (valid && l.nulls == 0 || !valid && l.nulls == l.entries) {
		l.entries += n
	} else {
		l.mix()
		w := uint64(0)
		if valid {
			w = ^w
		}
		l.fill(w, n)
	}
	if !valid {
		l.nulls += n
	}
}

// add adds the rows [lo,hi) of a bitmap.
func (l *levels) add(valid []uint64, lo, hi int) {
	l.rows += hi - lo
	l.mix()
	for i := lo; i < hi; i += 64 {
		k := min(64, hi-i)
		w := valid[i>>6] >> (i & 63)
		if i&63 != 0 && i>>6+1 < len(valid) {
			w |= valid[i>>6+1] << (64 - i&63)
		}
		w &= ^uint64(0) >> (64 - k)
		l.word(w, k)
		l.nulls += k - bits.OnesCount64(w)
	}
}

// pick adds chosen rows of a bitmap, and appends those that have a value to dst.
func (l *levels) pick(dst []uint32, valid []uint64, rows []uint32) []uint32 {
	l.rows += len(rows)
	l.mix()
	for len(rows) > 0 {
		k := min(64, len(rows))
		w, at := uint64(0), len(dst)
		dst = append(dst, rows[:k]...)
		for i, r := range rows[:k] {
			bit := valid[r>>6] >> (r & 63) & 1
			w |= bit << i
			dst[at] = r // the next one takes its place when it has no value
			at += int(bit)
		}
		dst = dst[:at]
		l.word(w, k)
		l.nulls += k - bits.OnesCount64(w)
		rows = rows[k:]
	}
	return dst
}

// appendBitmap appends the definition levels of a flat column, as the hybrid of runs and bit-packed groups of width 1, with
// the length in front that data pages v1 want.
func (l *levels) appendBitmap(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	switch l.nulls {
	case 0:
		dst = append(binary.AppendUvarint(dst, uint64(l.entries)<<1), 1) //nolint:gosec // positive
	case l.entries:
		dst = append(binary.AppendUvarint(dst, uint64(l.entries)<<1), 0) //nolint:gosec // positive
	default:
		groups := (l.entries + 7) / 8
		dst = binary.AppendUvarint(dst, uint64(groups)<<1|1) //nolint:gosec // positive
		for _, w := range l.bits {
			dst = binary.LittleEndian.AppendUint64(dst, w)
		}
		dst = dst[:len(dst)-(8*len(l.bits)-groups)]
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // far below
	return dst
}

// appendLevels appends the levels of a nested column.
func (s *scratch) appendLevels(dst, levels []byte, most int) []byte {
	if most == 0 {
		return dst
	}
	var err error
	e := rle.Encoding{BitWidth: bits.Len(uint(most))}
	s.enc, err = e.EncodeLevels(s.enc, levels)
	s.fail(err)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(s.enc))) //nolint:gosec // far below
	return append(dst, s.enc...)
}
