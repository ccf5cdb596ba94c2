package expr

import (
	"math"
	"math/bits"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/acequia-io/acequia/record"
)

const (
	maxDigits   = 38
	exactDigits = 22 // powers of ten up to this are doubles exactly
)

// unscaled is the value of a slot of a decimal, or of an int as a decimal of scale 0.
func (t typ) unscaled(v *vec, slot int) record.Int128 {
	if v.col.Const {
		slot = 0
	}
	if t.wide() {
		return v.col.Wide[slot]
	}
	return widened(v.col.Ints[slot])
}

func widened(n int64) record.Int128 { return record.Int128{Hi: n >> 63, Lo: uint64(n)} } //nolint:gosec // its bits

// double is the nearest double.
func (t typ) double(v *vec, slot int) float64 {
	n, scale := t.unscaled(v, slot), t.field.Scale
	if whole := int64(n.Lo); n.Hi == whole>>63 && whole > -1<<53 && whole < 1<<53 && scale <= exactDigits { //nolint:gosec // its bits
		return float64(whole) / math.Pow10(scale) // both are exact, so the quotient is the nearest
	}
	var text [64]byte
	f, _ := strconv.ParseFloat(string(appendDecimal(text[:0], n, scale)), 64)
	return f
}

// magnitude gives sign and absolute value.
func magnitude(n record.Int128) (negative bool, hi, lo uint64) {
	hi, lo = uint64(n.Hi), n.Lo //nolint:gosec // its bits
	if n.Hi < 0 {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return n.Hi < 0, hi, lo
}

// powerOfTen gives 10^n, for n up to maxDigits.
func powerOfTen(n int) (hi, lo uint64) {
	lo = 1
	for range n {
		carry, low := bits.Mul64(lo, 10)
		hi, lo = hi*10+carry, low
	}
	return hi, lo
}

// wholePart cuts the digits behind the point off.
func wholePart(n record.Int128, scale int) (int64, bool) {
	negative, hi, lo := magnitude(n)
	hi, lo, _ = shortened(hi, lo, scale)
	switch {
	case hi > 0 || lo > 1<<63 || lo == 1<<63 && !negative:
		return 0, false
	case negative:
		return -int64(lo), true //nolint:gosec // 2^63 becomes the least int
	}
	return int64(lo), true //nolint:gosec // below 2^63
}

// shortened divides by a power of ten, and says whether nothing is left over.
func shortened(hi, lo uint64, digits int) (qhi, qlo uint64, exact bool) {
	exact = true
	for digits > 0 {
		step := min(digits, 19)
		_, by := powerOfTen(step)
		digits -= step
		rest := hi % by
		hi /= by
		lo, rest = bits.Div64(rest, lo, by)
		exact = exact && rest == 0
	}
	return hi, lo, exact
}

// rescale gives a decimal at another scale, or false where it has more digits than precision, or, unless it may be rounded,
// where digits would be lost.
func rescale(n record.Int128, from int, to record.Field, round bool) (record.Int128, bool) {
	negative, hi, lo := magnitude(n)
	exact := true
	switch cut := from - to.Scale; {
	case cut > 0 && round: // half away from zero: the last digit that goes decides
		hi, lo, _ = shortened(hi, lo, cut-1)
		var carry uint64
		lo, carry = bits.Add64(lo, 5, 0)
		hi, lo, _ = shortened(hi+carry, lo, 1)
	case cut > 0:
		hi, lo, exact = shortened(hi, lo, cut)
	case cut < 0:
		bhi, blo := powerOfTen(-cut)
		p := times(hi, lo, bhi, blo)
		exact, hi, lo = p[0] == 0 && p[1] == 0, p[2], p[3]
	}
	mhi, mlo := powerOfTen(to.Precision)
	if !exact || hi > mhi || hi == mhi && lo >= mlo {
		return record.Int128{}, false
	}
	out := record.Int128{Hi: int64(hi), Lo: lo} //nolint:gosec // below 10^38
	if negative {
		out = negated(out)
	}
	return out, true
}

// appendDecimal appends the digits with their point. Unlike record.AppendDecimal it makes no big integer a row.
func appendDecimal(dst []byte, n record.Int128, scale int) []byte {
	negative, hi, lo := magnitude(n)
	_, e19 := powerOfTen(19)
	var digits [58]byte // three times 19 digits, and one
	at := len(digits)
	for range 3 {
		q := hi / e19
		low, rest := bits.Div64(hi%e19, lo, e19)
		hi, lo = q, low
		for range 19 {
			at--
			digits[at] = '0' + byte(rest%10)
			rest /= 10
		}
	}
	for at < len(digits)-1-scale && digits[at] == '0' { //nolint:gosec // at stays below the length
		at++
	}
	if negative {
		dst = append(dst, '-')
	}
	dst = append(dst, digits[at:len(digits)-scale]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[len(digits)-scale:]...)
	}
	return dst
}

// comparedDecimals compares decimals with each other, ints and literals. A double that is no literal has lost its digits.
func (c *compiler) comparedDecimals(e ast.Expr, op string, a, b *node) *node {
	a, b = c.inDecimal(a), c.inDecimal(b)
	if a == nil || b == nil {
		return nil
	}
	x, y := a.typ, b.typ
	if b.literal() && !x.wide() && x.field.Scale > y.field.Scale {
		if n, ok := rescaled(b.lit.col, y, x.field.Scale); ok { // as most filters are: two columns of ints
			b, y = known(b.expr, x, &vec{shared: true, col: record.Column{Const: true, Ints: []int64{n}}}), x
		}
	}
	boolean := typ{kind: kBool}
	if !x.wide() && !y.wide() && x.field.Scale == y.field.Scale {
		return c.made(e, boolean, func(c *call) *vec { return compareInts(c, op, a.eval(c), b.eval(c)) }, a, b)
	}
	scale := max(x.field.Scale, y.field.Scale)
	var by [4]uint64
	by[0], by[1] = powerOfTen(scale - x.field.Scale)
	by[2], by[3] = powerOfTen(scale - y.field.Scale)
	return c.made(e, boolean, func(c *call) *vec {
		p, q := a.eval(c), b.eval(c)
		out := c.start(p, q)
		return out.decide(c.size(out), op, func(i int) int { return orderOfDecimals(x.unscaled(p, i), y.unscaled(q, i), &by) })
	}, a, b)
}

// rescaled gives the one value of a literal at a greater scale.
func rescaled(v record.Column, t typ, scale int) (int64, bool) {
	if t.wide() || scale-t.field.Scale > 18 {
		return 0, false
	}
	_, by := powerOfTen(scale - t.field.Scale)
	return product(v.Ints[0], int64(by)) //nolint:gosec // 18 digits at most
}

// inDecimal makes a decimal of an int and of a literal, whose digits are those that were written.
func (c *compiler) inDecimal(n *node) *node {
	switch {
	case n.typ.kind == kDecimal:
		return n
	case n.typ.kind == kInt:
		// Of no more than NarrowDigits, as the values are held in Ints; one of 19 digits is all right there too.
		t := typ{kind: kDecimal, field: record.Field{Kind: record.Decimal, Precision: record.NarrowDigits}}
		return &node{typ: t, nullable: n.nullable, eval: n.eval, lit: n.lit, expr: n.expr}
	case n.typ.kind != kDouble || !n.literal():
		return nil
	}
	text := strconv.FormatFloat(n.lit.col.Floats[0], 'f', -1, 64)
	_, fraction, _ := strings.Cut(text, ".")
	t := typ{kind: kDecimal, field: record.Field{Kind: record.Decimal, Precision: maxDigits, Scale: len(fraction)}}
	if len(fraction) > maxDigits {
		return nil
	}
	unscaled, err := record.ParseDecimal(text, maxDigits, len(fraction))
	if err != nil {
		return nil
	}
	v := &vec{shared: true, col: record.Column{Const: true, Wide: []record.Int128{unscaled}}}
	if low := int64(unscaled.Lo); unscaled.Hi == low>>63 { //nolint:gosec // its bits
		t.field.Precision = record.NarrowDigits
		v.col.Wide, v.col.Ints = nil, []int64{low}
	}
	return known(n.expr, t, v)
}

// orderOfDecimals compares p times one power of ten with q times another, in 256 bits.
func orderOfDecimals(p, q record.Int128, by *[4]uint64) int {
	pNegative, phi, plo := magnitude(p)
	qNegative, qhi, qlo := magnitude(q)
	greater := 1
	if pNegative {
		greater = -1
	}
	if pNegative != qNegative { // a zero is not negative
		return greater
	}
	a, b := times(phi, plo, by[0], by[1]), times(qhi, qlo, by[2], by[3])
	for i := range a {
		switch {
		case a[i] > b[i]:
			return greater
		case a[i] < b[i]:
			return -greater
		}
	}
	return 0
}

// times is the product, its highest word first.
func times(ahi, alo, bhi, blo uint64) (out [4]uint64) {
	h, l := bits.Mul64(alo, blo)
	out[3], out[2] = l, h
	for _, p := range [2][2]uint64{{ahi, blo}, {alo, bhi}} {
		h, l = bits.Mul64(p[0], p[1])
		var carry uint64
		out[2], carry = bits.Add64(out[2], l, 0)
		out[1], carry = bits.Add64(out[1], h, carry)
		out[0] += carry
	}
	h, l = bits.Mul64(ahi, bhi)
	var carry uint64
	out[1], carry = bits.Add64(out[1], l, 0)
	out[0], _ = bits.Add64(out[0], h, carry)
	return out
}
