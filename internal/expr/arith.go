package expr

import (
	"fmt"
	"math"
	"math/bits"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// failure is the reason why a row cannot be evaluated.
type failure string

// Error gives the reason.
func (f failure) Error() string { return string(f) }

const (
	errOverflow failure = "the result does not fit an int"
	errZero     failure = "division by zero"
	errTime     failure = "the result is beyond what a time holds"
)

// arithmetic is + - * / %.
func (c *compiler) arithmetic(e ast.Expr, op string) *node {
	n, ok := c.operands(e.AsCall().Args()...)
	if !ok {
		return nil
	}
	a, b := n[0], n[1]
	switch {
	case a.typ.kind == kInt && b.typ.kind == kInt:
		if (op == operators.Divide || op == operators.Modulo) && b.literal() && b.lit.col.Ints[0] == 0 {
			return c.fail(e, c.show(e)+" divides by zero", "")
		}
		return c.intArithmetic(e, op, kInt, a, b, errOverflow)
	case a.typ.kind == kDouble && b.typ.kind == kDouble && op != operators.Modulo:
		return c.made(e, a.typ, func(c *call) *vec { return doubles(c, op, a.eval(c), b.eval(c)) }, a, b)
	case a.typ.text() && a.typ.kind == b.typ.kind && op == operators.Add:
		return c.made(e, a.typ, func(c *call) *vec { return concat(c, a.eval(c), b.eval(c)) }, a, b)
	}
	before := len(c.errs)
	for _, try := range []func(e ast.Expr, op string, a, b *node) *node{c.timeArithmetic, c.decimalArithmetic} {
		if n := try(e, op, a, b); n != nil || len(c.errs) > before {
			return n
		}
	}
	return c.mismatch(e, op, a, b)
}

// timeArithmetic is the sums and differences of times and durations.
func (c *compiler) timeArithmetic(e ast.Expr, op string, a, b *node) *node {
	add, subtract := op == operators.Add, op == operators.Subtract
	x, y := a.typ.kind, b.typ.kind
	switch {
	case x == kDuration && y == kDuration && (add || subtract):
		return c.intArithmetic(e, op, kDuration, a, b, errTime)
	case a.typ.instant() && y == kDuration && (add || subtract):
		a = c.inMicros(a)
		return c.intArithmetic(e, op, a.typ.kind, a, b, errTime)
	case x == kDuration && b.typ.instant() && add:
		b = c.inMicros(b)
		return c.intArithmetic(e, op, b.typ.kind, a, b, errTime)
	case a.typ.instant() && b.typ.instant() && subtract:
		return c.intArithmetic(e, op, kDuration, c.inMicros(a), c.inMicros(b), errTime)
	}
	return nil
}

// mismatch says that an operator does not take its operands.
func (c *compiler) mismatch(e ast.Expr, op string, a, b *node) *node {
	sign, _ := operators.FindReverse(op)
	text := func(n *node) string { return c.show(n.expr) + " is " + n.typ.name() }
	message := text(a) + ", " + text(b)
	if a.typ.name() == b.typ.name() {
		message = fmt.Sprintf("%s does not work with %s: %s", sign, a.typ.name(), text(a))
	}
	return c.fail(e, message, c.remedy(op, a, b))
}

// remedy says how the operands could be made to fit.
func (c *compiler) remedy(op string, a, b *node) string {
	if a.typ.kind == kNull || b.typ.kind == kNull {
		return "null is compared with == and != only"
	}
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		x, y := pair[0], pair[1]
		shown := c.show(y.expr)
		switch {
		case x.typ.kind == kDecimal && op != operators.Equals:
			return "cast first: double(" + c.show(x.expr) + ")"
		case x.typ.kind == kDouble && y.typ.kind == kInt && y.literal():
			return "write " + shown + ".0"
		case x.typ.kind == kDouble && y.typ.kind == kInt:
			return "write double(" + shown + ")"
		case x.typ.kind == kString && y.typ.kind == kInt && y.literal():
			return `write "` + shown + `" or int(` + c.show(x.expr) + ")"
		case x.typ.kind == kString && y.typ.kind == kDouble && y.literal():
			return `write "` + shown + `" or double(` + c.show(x.expr) + ")"
		case x.typ.kind == kDate && y.typ.kind == kString:
			return "write date(" + shown + ")"
		case x.typ.instant() && y.typ.kind == kString:
			return "write timestamp(" + shown + ")"
		case x.typ.instant() && y.typ.kind == kInt:
			return "write " + c.show(x.expr) + ".getFullYear(), timestamp(" + shown + ") or the like"
		case x.typ.kind == kString && y.typ.kind != kBytes && y.typ.kind != kString && !y.typ.instant():
			return "write string(" + shown + ")"
		}
	}
	return ""
}

// intOp is an operator on ints. columns gives false when a slot may have failed, and bad says which; one gives false, and has
// written nothing, when it cannot be sure of every slot: out may be a itself.
type intOp struct {
	columns func(out, a, b []int64) bool
	one     func(out, a []int64, b int64) bool
	bad     func(a, b int64) bool
}

func intOpOf(op string) intOp {
	switch op {
	case operators.Add:
		return intOp{columns: addColumns, one: addOne, bad: func(a, b int64) bool { s := a + b; return (a^s)&(b^s) < 0 }}
	case operators.Subtract:
		return intOp{columns: subtractColumns, one: subtractOne, bad: func(a, b int64) bool { s := a - b; return (a^b)&(a^s) < 0 }}
	case operators.Multiply:
		return intOp{columns: multiplyColumns, one: multiplyOne, bad: func(a, b int64) bool { _, ok := product(a, b); return !ok }}
	case operators.Divide:
		return intOp{columns: divideColumns, one: divideOne, bad: undivided}
	default:
		return intOp{columns: moduloColumns, one: moduloOne, bad: undivided}
	}
}

func undivided(a, b int64) bool { return b == 0 || a == math.MinInt64 && b == -1 }

func (c *compiler) intArithmetic(e ast.Expr, op string, k kind, a, b *node, overflow error) *node {
	kernel := intOpOf(op)
	text := c.show(e)
	failure := func(zero bool) error {
		if zero {
			return fault.Poisoned(fmt.Errorf("%s: %w", text, errZero))
		}
		return fault.Poisoned(fmt.Errorf("%s: %w", text, overflow))
	}
	divides := op == operators.Divide || op == operators.Modulo
	return c.made(e, typ{kind: k}, func(c *call) *vec {
		x, y := a.eval(c), b.eval(c)
		out := c.start(x, y)
		n := c.size(out)
		xs := c.ints(x, n)
		if y.col.Const && n > 1 {
			out.col.Ints = xs
			if x.shared {
				out.col.Ints = make([]int64, n)
			}
			if kernel.one(out.col.Ints, xs, y.col.Ints[0]) {
				return out
			}
		}
		ys := c.ints(y, n)
		out.col.Ints = make([]int64, n)
		if kernel.columns(out.col.Ints, xs, ys) {
			return out
		}
		var zero, over []int32
		for i := range n {
			switch {
			case !out.valid(i) || !kernel.bad(xs[i], ys[i]):
			case divides && ys[i] == 0:
				zero = append(zero, int32(i))
			default:
				over = append(over, int32(i))
			}
		}
		if len(zero) > 0 {
			out.fail(zero, n, failure(true))
		}
		if len(over) > 0 {
			out.fail(over, n, failure(false))
		}
		return out
	}, a, b)
}

// negation is the unary minus.
func (c *compiler) negation(e ast.Expr) *node {
	n := c.expr(e.AsCall().Args()[0])
	switch {
	case n == nil:
		return nil
	case n.typ.kind == kDouble:
		return c.made(e, n.typ, func(c *call) *vec {
			v := n.eval(c)
			out := c.start(v)
			out.col.Floats = make([]float64, c.size(v))
			for i, x := range v.col.Floats[:len(out.col.Floats)] {
				out.col.Floats[i] = -x
			}
			return out
		}, n)
	case n.typ.kind == kInt || n.typ.kind == kDuration:
		zero := known(e, n.typ, &vec{shared: true})
		zero.lit.col.Const, zero.lit.col.Ints = true, []int64{0}
		return c.intArithmetic(e, operators.Subtract, n.typ.kind, zero, n, errOverflow)
	}
	if n.typ.kind == kDecimal {
		zero := known(e, n.typ, &vec{shared: true})
		zero.lit.col.Const, zero.lit.col.Ints, zero.lit.col.Wide = true, []int64{0}, []record.Int128{{}}
		return c.decimals(e, operators.Subtract, n.typ.field, zero, n)
	}
	return c.fail(e, fmt.Sprintf("%s is %s, which has no minus", c.show(n.expr), n.typ.name()), "")
}

// The kernels add up in a word of bits what would be a branch a row.

func addColumns(out, a, b []int64) bool {
	a, b = a[:len(out)], b[:len(out)]
	over := int64(0)
	for i := range out {
		s := a[i] + b[i]
		over |= (a[i] ^ s) & (b[i] ^ s)
		out[i] = s
	}
	return over >= 0
}

func addOne(out, a []int64, b int64) bool {
	lo, hi := int64(math.MinInt64)-min(b, 0), int64(math.MaxInt64)-max(b, 0)
	if !within(a, lo, hi) {
		return false
	}
	a = a[:len(out)]
	for i := range out {
		out[i] = a[i] + b
	}
	return true
}

func subtractColumns(out, a, b []int64) bool {
	a, b = a[:len(out)], b[:len(out)]
	over := int64(0)
	for i := range out {
		s := a[i] - b[i]
		over |= (a[i] ^ b[i]) & (a[i] ^ s)
		out[i] = s
	}
	return over >= 0
}

func subtractOne(out, a []int64, b int64) bool {
	lo, hi := int64(math.MinInt64)+max(b, 0), int64(math.MaxInt64)+min(b, 0)
	if !within(a, lo, hi) {
		return false
	}
	a = a[:len(out)]
	for i := range out {
		out[i] = a[i] - b
	}
	return true
}

// product says whether the product fits.
func product(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(a), uint64(b)) //nolint:gosec // two's complement
	high := int64(hi) - (a>>63)&b - (b>>63)&a  //nolint:gosec // the signed high word
	return int64(lo), high == int64(lo)>>63    //nolint:gosec // two's complement
}

func multiplyColumns(out, a, b []int64) bool {
	a, b = a[:len(out)], b[:len(out)]
	fine := true
	for i := range out {
		p, ok := product(a[i], b[i])
		out[i] = p
		fine = fine && ok
	}
	return fine
}

// multiplyOne, as addOne, looks first whether all values are such that the result fits.
func multiplyOne(out, a []int64, b int64) bool {
	lo, hi := int64(math.MinInt64), int64(math.MaxInt64)
	switch {
	case b > 0:
		lo, hi = lo/b, hi/b
	case b == -1:
		lo++
	case b < -1:
		lo, hi = hi/b, lo/b
	}
	if !within(a, lo, hi) {
		return false
	}
	a = a[:len(out)]
	for i := range out {
		out[i] = a[i] * b
	}
	return true
}

func divideColumns(out, a, b []int64) bool {
	a, b = a[:len(out)], b[:len(out)]
	fine := true
	for i := range out {
		if undivided(a[i], b[i]) {
			fine = false
			continue
		}
		out[i] = a[i] / b[i]
	}
	return fine
}

func moduloColumns(out, a, b []int64) bool {
	a, b = a[:len(out)], b[:len(out)]
	fine := true
	for i := range out {
		if undivided(a[i], b[i]) {
			fine = false
			continue
		}
		out[i] = a[i] % b[i]
	}
	return fine
}

func divideOne(out, a []int64, b int64) bool {
	a = a[:len(out)]
	d, ok := reciprocalOf(b)
	if !ok {
		return false
	}
	for i := range out {
		out[i] = d.divide(a[i])
	}
	return true
}

func moduloOne(out, a []int64, b int64) bool {
	a = a[:len(out)]
	d, ok := reciprocalOf(b)
	if !ok {
		return false
	}
	for i := range out {
		out[i] = a[i] - d.divide(a[i])*b
	}
	return true
}

// reciprocal divides by a constant with a multiplication, which is several times faster than the processor's division.
type reciprocal struct {
	factor uint64
	shift  uint
}

// reciprocalOf gives the reciprocal of a divisor of 2 or more: factor/2^(64+shift) is above 1/b by so little that for all
// dividends up to 2^63 the whole part of the product is the quotient.
func reciprocalOf(b int64) (reciprocal, bool) {
	if b < 2 {
		return reciprocal{}, false
	}
	d := uint64(b)
	log := uint(bits.Len64(d - 1)) // the least for which 2^log >= d
	q, _ := bits.Div64(1<<(log-1), 0, d)
	r := reciprocal{factor: q + 1, shift: log - 1}
	// The proof covers dividends below 2^63; the one that is 2^63 is tried.
	return r, r.divide(math.MinInt64) == math.MinInt64/b
}

func (r reciprocal) divide(n int64) int64 {
	sign := n >> 63
	hi, _ := bits.Mul64(uint64((n^sign)-sign), r.factor) //nolint:gosec // the magnitude
	return (int64(hi>>(r.shift&63)) ^ sign) - sign       //nolint:gosec // below 2^63
}

func doubles(c *call, op string, x, y *vec) *vec {
	out := c.start(x, y)
	n := c.size(out)
	o := make([]float64, n)
	a, b := c.floats(x, n), c.floats(y, n)
	b = b[:len(a)]
	switch op {
	case operators.Add:
		for i := range o {
			o[i] = a[i] + b[i]
		}
	case operators.Subtract:
		for i := range o {
			o[i] = a[i] - b[i]
		}
	case operators.Multiply:
		for i := range o {
			o[i] = a[i] * b[i]
		}
	default:
		for i := range o {
			o[i] = a[i] / b[i]
		}
	}
	out.col.Floats = o
	return out
}
