package expr

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/acequia-io/acequia/record"
)

// decimalArithmetic is + - * of decimals, ints and literals, exact. The result has the digits that it may need, as in SQL:
// those of the longer operand and one, or those of both factors, but no more than 38; a row that needs more fails.
func (c *compiler) decimalArithmetic(e ast.Expr, op string, a, b *node) *node {
	if a.typ.kind != kDecimal && b.typ.kind != kDecimal || op == operators.Divide || op == operators.Modulo {
		return nil
	}
	p, q := digits(a), digits(b)
	a, b = c.inDecimal(a), c.inDecimal(b)
	if a == nil || b == nil {
		return nil
	}
	x, y := a.typ.field.Scale, b.typ.field.Scale
	f := record.Field{Kind: record.Decimal}
	if op == operators.Multiply {
		f.Scale, f.Precision = x+y, min(maxDigits, max(p, x)+max(q, y))
	} else {
		f.Scale = max(x, y)
		f.Precision = min(maxDigits, max(p-x, q-y)+1+f.Scale)
	}
	if f.Scale > maxDigits {
		return c.fail(e, c.show(e)+" has more than 38 digits behind the point", "cast first: double(...)")
	}
	return c.decimals(e, op, f, a, b)
}

// digits are the most that the values of a node have.
func digits(n *node) int {
	switch {
	case n.typ.kind == kDecimal:
		return n.typ.field.Precision
	case n.typ.kind == kInt && n.literal():
		return len(strconv.FormatUint(uint64(max(n.lit.col.Ints[0], -n.lit.col.Ints[0])), 10)) //nolint:gosec // the least int has as many
	case n.typ.kind == kInt && n.typ.field.Kind == record.Int32:
		return 10
	case n.typ.kind == kDouble && n.literal():
		count := 0
		for _, r := range strconv.FormatFloat(n.lit.col.Floats[0], 'f', -1, 64) {
			if r >= '0' && r <= '9' {
				count++
			}
		}
		return count
	default:
		return 19
	}
}

// decimals makes a decimal of the field, slot by slot.
func (c *compiler) decimals(e ast.Expr, op string, f record.Field, a, b *node) *node {
	x, y := a.typ, b.typ
	reason := c.reason(e, "the result does not fit "+f.TypeName())
	calculate := func(p, q record.Int128) (record.Int128, bool) {
		if op == operators.Multiply {
			return productOfDecimals(p, q, f)
		}
		p, ok1 := rescale(p, x.field.Scale, f, false)
		q, ok2 := rescale(q, y.field.Scale, f, false)
		if op == operators.Subtract {
			q = negated(q)
		}
		sum, ok3 := sumOfDecimals(p, q, f)
		return sum, ok1 && ok2 && ok3
	}
	return c.toDecimal(e, f, reason, func(v []*vec, i int) (record.Int128, bool) {
		return calculate(x.unscaled(v[0], i), y.unscaled(v[1], i))
	}, a, b)
}

// toDecimal is as toInts.
func (c *compiler) toDecimal(
	e ast.Expr, f record.Field, reason error, value func(v []*vec, i int) (record.Int128, bool), args ...*node,
) *node {
	t := typ{kind: kDecimal, field: f}
	return c.made(e, t, func(c *call) *vec {
		v := make([]*vec, len(args))
		for i, a := range args {
			v[i] = a.eval(c)
		}
		out := c.start(v...)
		n := c.size(out)
		if t.wide() {
			out.col.Wide = make([]record.Int128, n)
		} else {
			out.col.Ints = make([]int64, n)
		}
		c.each(out, n, reason, func(i int) bool {
			d, ok := value(v, i)
			if t.wide() {
				out.col.Wide[i] = d
			} else {
				out.col.Ints[i] = int64(d.Lo) //nolint:gosec // 18 digits
			}
			return ok
		})
		return out
	}, args...)
}

func negated(n record.Int128) record.Int128 {
	lo, borrow := bits.Sub64(0, n.Lo, 0)
	hi, _ := bits.Sub64(0, uint64(n.Hi), borrow) //nolint:gosec // two's complement
	return record.Int128{Hi: int64(hi), Lo: lo}  //nolint:gosec // two's complement
}

func sumOfDecimals(p, q record.Int128, f record.Field) (record.Int128, bool) {
	lo, carry := bits.Add64(p.Lo, q.Lo, 0)
	sum, _ := bits.Add64(uint64(p.Hi), uint64(q.Hi), carry) //nolint:gosec // two's complement
	hi := int64(sum)                                        //nolint:gosec // two's complement
	if (p.Hi^hi)&(q.Hi^hi) < 0 {
		return record.Int128{}, false
	}
	return rescale(record.Int128{Hi: hi, Lo: lo}, f.Scale, f, false)
}

func productOfDecimals(p, q record.Int128, f record.Field) (record.Int128, bool) {
	pNegative, phi, plo := magnitude(p)
	qNegative, qhi, qlo := magnitude(q)
	words := times(phi, plo, qhi, qlo)
	if words[0] != 0 || words[1] != 0 || words[2] >= 1<<63 {
		return record.Int128{}, false
	}
	out, ok := rescale(record.Int128{Hi: int64(words[2]), Lo: words[3]}, f.Scale, f, false) //nolint:gosec // below 2^63
	if pNegative != qNegative {
		out = negated(out)
	}
	return out, ok
}

// rounded makes a decimal of a double: of its shortest digits, as string() shows them, rounded half away from zero.
func rounded(v float64, f record.Field) (record.Int128, bool) {
	if !(math.Abs(v) < math.Pow10(f.Precision-f.Scale)) { // NaN neither
		return record.Int128{}, false
	}
	var text [400]byte // holds the least double
	whole, fraction, _ := bytes.Cut(strconv.AppendFloat(text[:0], math.Abs(v), 'f', -1, 64), []byte{'.'})
	var hi, lo uint64
	next := func(digit byte) {
		carry, low := bits.Mul64(lo, 10)
		var more uint64
		lo, more = bits.Add64(low, uint64(digit-'0'), 0)
		hi = hi*10 + carry + more
	}
	for _, digit := range whole {
		next(digit)
	}
	for i := range f.Scale {
		if i < len(fraction) {
			next(fraction[i])
		} else {
			next('0')
		}
	}
	if len(fraction) > f.Scale && fraction[f.Scale] >= '5' {
		var carry uint64
		lo, carry = bits.Add64(lo, 1, 0)
		hi += carry
	}
	out, ok := rescale(record.Int128{Hi: int64(hi), Lo: lo}, f.Scale, f, false) //nolint:gosec // below 10^38, and one
	if v < 0 {
		out = negated(out)
	}
	return out, ok
}
