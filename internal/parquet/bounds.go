package parquet

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
)

// bounds keeps the least and the greatest value of a page or chunk.
type bounds struct {
	set       bool
	unordered bool // a NaN was seen: engines differ in where it sorts, so there are no bounds to trust
	lo, hi    int64
	flo, fhi  float64
	tlo, thi  []byte
	plo, phi  uint64 // first 8 bytes of tlo and thi
	wlo, whi  record.Int128
	vlo, vhi  record.Version
}

func (b *bounds) reset() { *b = bounds{tlo: b.tlo[:0], thi: b.thi[:0]} }

func (b *bounds) words(v []int64) {
	if len(v) == 0 {
		return
	}
	lo, hi := v[0], v[0]
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	if b.set {
		lo, hi = min(lo, b.lo), max(hi, b.hi)
	}
	b.lo, b.hi, b.set = lo, hi, true
}

func (b *bounds) float(x float64) {
	switch {
	case math.IsNaN(x):
		b.unordered = true
	case !b.set:
		b.flo, b.fhi, b.set = x, x, true
	case x < b.flo:
		b.flo = x
	case x > b.fhi:
		b.fhi = x
	}
}

func prefix(v []byte) uint64 {
	if len(v) >= 8 {
		return binary.BigEndian.Uint64(v)
	}
	var p uint64
	for i, c := range v {
		p |= uint64(c) << (56 - 8*i)
	}
	return p
}

func (b *bounds) text(v []byte) {
	p := prefix(v)
	if b.set && p > b.plo && p < b.phi {
		return
	}
	if !b.set || p < b.plo || p == b.plo && bytes.Compare(v, b.tlo) < 0 {
		b.tlo, b.plo = append(b.tlo[:0], v...), p
	}
	if !b.set || p > b.phi || p == b.phi && bytes.Compare(v, b.thi) > 0 {
		b.thi, b.phi = append(b.thi[:0], v...), p
	}
	b.set = true
}

func (b *bounds) wide(v record.Int128) {
	if !b.set {
		b.wlo, b.whi, b.set = v, v, true
		return
	}
	if compareWide(v, b.wlo) < 0 {
		b.wlo = v
	}
	if compareWide(v, b.whi) > 0 {
		b.whi = v
	}
}

func compareWide(a, b record.Int128) int {
	return cmp.Or(cmp.Compare(a.Hi, b.Hi), cmp.Compare(a.Lo, b.Lo))
}

func (b *bounds) version(v record.Version) {
	if !b.set {
		b.vlo, b.vhi, b.set = v, v, true
		return
	}
	if v.Compare(b.vhi) > 0 { // as in a log, nearly always
		b.vhi = v
	} else if v.Compare(b.vlo) < 0 {
		b.vlo = v
	}
}

// merge takes in the bounds of a page of the same leaf.
func (b *bounds) merge(l *leaf, o *bounds) {
	b.unordered = b.unordered || o.unordered
	if !o.set {
		return
	}
	switch {
	case l.float():
		b.float(o.flo)
		b.float(o.fhi)
	case l.form == texts:
		b.text(o.tlo)
		b.text(o.thi)
	case l.form == wides:
		b.wide(o.wlo)
		b.wide(o.whi)
	case l.form == versions:
		b.version(o.vlo)
		b.version(o.vhi)
	default:
		b.words([]int64{o.lo, o.hi})
	}
}

// stats gives the bounds as Parquet statistics hold them; ok is false when there are none. Texts are cut to about
// limit bytes: still below and above all values, but not values themselves.
func (b *bounds) stats(l *leaf, limit int) (lo, hi []byte, ok bool) {
	if !b.set || b.unordered {
		return nil, nil, false
	}
	switch {
	case l.float():
		flo, fhi := b.flo, b.fhi
		if flo == 0 { // the two zeros are equal, but not to every reader
			flo = math.Copysign(0, -1)
		}
		if fhi == 0 {
			fhi = 0
		}
		return l.floatStat(flo), l.floatStat(fhi), true
	case l.form == bits1:
		return []byte{byte(b.lo)}, []byte{byte(b.hi)}, true //nolint:gosec // 0 or 1
	case l.form == words4:
		return binary.LittleEndian.AppendUint32(nil, uint32(b.lo)), binary.LittleEndian.AppendUint32(nil, uint32(b.hi)), true //nolint:gosec // checked
	case l.form == texts:
		text := l.field.Kind == record.String
		if text && (!utf8.Valid(b.tlo) || !utf8.Valid(b.thi)) {
			return nil, nil, false
		}
		return cutLow(b.tlo, limit, text), cutHigh(b.thi, limit, text), true
	case l.form == wides:
		return appendWide(nil, b.wlo), appendWide(nil, b.whi), true
	case l.form == versions:
		return b.vlo.AppendText(nil, 0), b.vhi.AppendText(nil, 0), true
	}
	return binary.LittleEndian.AppendUint64(nil, uint64(b.lo)), binary.LittleEndian.AppendUint64(nil, uint64(b.hi)), true //nolint:gosec // its bits
}

func (l *leaf) floatStat(v float64) []byte {
	if l.form == words4 {
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
	}
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
}

func appendWide(dst []byte, v record.Int128) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.Hi)) //nolint:gosec // its bits
	return binary.BigEndian.AppendUint64(dst, v.Lo)
}

// cutLow gives a copy of v, or of a prefix of it; text is not cut inside a character.
func cutLow(v []byte, limit int, text bool) []byte {
	n := min(len(v), limit)
	if text && n < len(v) {
		for n > 0 && !utf8.RuneStart(v[n]) {
			n--
		}
	}
	return append([]byte{}, v[:n]...)
}

// cutHigh gives a copy of v, or the least text that is above all that begin with a prefix of it: its last character
// or byte is raised by one. Where nothing can be raised v stays whole.
func cutHigh(v []byte, limit int, text bool) []byte {
	if len(v) <= limit {
		return append([]byte{}, v...)
	}
	for p := cutLow(v, limit, text); len(p) > 0; {
		if !text {
			if p[len(p)-1] < 0xFF {
				p[len(p)-1]++
				return p
			}
			p = p[:len(p)-1]
			continue
		}
		r, size := utf8.DecodeLastRune(p)
		p = p[:len(p)-size]
		switch {
		case r == 0xD7FF: // the next ones are surrogates
			return utf8.AppendRune(p, 0xE000)
		case r < utf8.MaxRune:
			return utf8.AppendRune(p, r+1)
		}
	}
	return append([]byte{}, v...)
}

// compareStats orders two bounds as stats gave them.
func (l *leaf) compareStats(a, b []byte) int {
	switch {
	case l.float() && l.form == words4:
		return cmp.Compare(math.Float32frombits(binary.LittleEndian.Uint32(a)), math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case l.float():
		return cmp.Compare(math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case l.form == words4:
		return cmp.Compare(int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // its bits
	case l.form == words8:
		return cmp.Compare(int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b))) //nolint:gosec // its bits
	case l.form == wides:
		return cmp.Or(cmp.Compare(int8(a[0]), int8(b[0])), bytes.Compare(a, b)) //nolint:gosec // the sign
	}
	return bytes.Compare(a, b)
}
