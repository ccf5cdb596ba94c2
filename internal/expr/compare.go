package expr

import (
	"bytes"
	"cmp"
	"math"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// comparison is == != < <= > >=.
func (c *compiler) comparison(e ast.Expr, op string) *node {
	n, ok := c.operands(e.AsCall().Args()...)
	if !ok {
		return nil
	}
	a, b := n[0], n[1]
	equality := op == operators.Equals || op == operators.NotEquals
	if equality && (a.typ.kind == kNull || b.typ.kind == kNull) {
		of := a
		if a.typ.kind == kNull {
			of = b
		}
		if of.typ.kind == kNull {
			return c.fail(e, "null is compared with null", "")
		}
		return c.presence(e, of, op == operators.NotEquals)
	}
	if n := c.compared(e, op, a, b); n != nil {
		return n
	}
	return c.mismatch(e, op, a, b)
}

// compared gives nil where values of the types do not compare.
func (c *compiler) compared(e ast.Expr, op string, a, b *node) *node {
	x, y := a.typ.kind, b.typ.kind
	made := func(f func(c *call, op string, x, y *vec) *vec) *node {
		return c.made(e, typ{kind: kBool}, func(c *call) *vec { return f(c, op, a.eval(c), b.eval(c)) }, a, b)
	}
	switch {
	case x == kInt && y == kInt, x == kDuration && y == kDuration, x == kDate && y == kDate:
		return made(compareInts)
	case a.typ.instant() && b.typ.instant():
		a, b = c.inMicros(a), c.inMicros(b)
		return made(compareInts)
	case x == kDouble && y == kDouble:
		return made(compareDoubles)
	case x == kInt && y == kDouble:
		return made(compareNumbers)
	case x == kDouble && y == kInt:
		a, b, op = b, a, turned(op)
		return made(compareNumbers)
	case x == kBool && y == kBool:
		return made(compareBools)
	case a.typ.text() && x == y:
		return made(compareTexts)
	case x == kDecimal || y == kDecimal:
		return c.comparedDecimals(e, op, a, b)
	}
	return nil
}

// turned is the operator that says the same with its operands changed over.
func turned(op string) string {
	switch op {
	case operators.Less:
		return operators.Greater
	case operators.LessEquals:
		return operators.GreaterEquals
	case operators.Greater:
		return operators.Less
	case operators.GreaterEquals:
		return operators.LessEquals
	default:
		return op
	}
}

func compareInts(c *call, op string, x, y *vec) *vec {
	return compareOrdered(c, op, x, y, x.col.Ints, y.col.Ints)
}

func compareDoubles(c *call, op string, x, y *vec) *vec {
	return compareOrdered(c, op, x, y, x.col.Floats, y.col.Floats)
}

func compareOrdered[T int64 | float64](c *call, op string, x, y *vec, a, b []T) *vec {
	out := c.start(x, y)
	n := c.size(out)
	out.bits = make([]uint64, words(n))
	switch {
	case x.col.Const && !y.col.Const:
		compareOne(out.bits, turned(op), b[:n], a[0])
	case y.col.Const && !x.col.Const:
		compareOne(out.bits, op, a[:n], b[0])
	default:
		compareColumns(out.bits, op, a[:n], b[:n])
	}
	return out
}

// bit is a branch that the compiler turns into none.
func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// compareOne compares a column with one value: a loop for each operator, so that none is chosen a row.
func compareOne[T int64 | float64](out []uint64, op string, a []T, b T) {
	for w := range out {
		part := a[w<<6 : min(len(a), w<<6+64)]
		m := uint64(0)
		switch op {
		case operators.Less:
			for i, v := range part {
				m |= bit(v < b) << (i & 63)
			}
		case operators.LessEquals:
			for i, v := range part {
				m |= bit(v <= b) << (i & 63)
			}
		case operators.Greater:
			for i, v := range part {
				m |= bit(v > b) << (i & 63)
			}
		case operators.GreaterEquals:
			for i, v := range part {
				m |= bit(v >= b) << (i & 63)
			}
		default:
			for i, v := range part {
				m |= bit(v == b) << (i & 63)
			}
			if op == operators.NotEquals {
				m = ^m
			}
		}
		out[w] = m
	}
}

func compareColumns[T int64 | float64](out []uint64, op string, a, b []T) {
	switch op {
	case operators.Greater, operators.GreaterEquals:
		op, a, b = turned(op), b, a
	}
	for w := range out {
		x := a[w<<6 : min(len(a), w<<6+64)]
		y := b[w<<6:][:len(x)]
		m := uint64(0)
		switch op {
		case operators.Less:
			for i, v := range x {
				m |= bit(v < y[i]) << (i & 63)
			}
		case operators.LessEquals:
			for i, v := range x {
				m |= bit(v <= y[i]) << (i & 63)
			}
		default:
			for i, v := range x {
				m |= bit(v == y[i]) << (i & 63)
			}
			if op == operators.NotEquals {
				m = ^m
			}
		}
		out[w] = m
	}
}

// unordered is what orderOf gives for NaN.
const unordered = 2

// compareNumbers compares an int and a double by value: neither is rounded.
func compareNumbers(c *call, op string, x, y *vec) *vec {
	out := c.start(x, y)
	n := c.size(out)
	ints, floats := c.ints(x, n), c.floats(y, n)
	return out.decide(n, op, func(i int) int { return orderOf(ints[i], floats[i]) })
}

func orderOf(i int64, f float64) int {
	switch {
	case math.IsNaN(f):
		return unordered
	case f >= 1<<63:
		return -1
	case f < -1<<63:
		return 1
	}
	whole := math.Trunc(f)
	if o := cmp.Compare(i, int64(whole)); o != 0 {
		return o
	}
	return cmp.Compare(whole, f)
}

// decide sets the bits from the order of the operands of each slot that is valid.
func (v *vec) decide(n int, op string, order func(i int) int) *vec {
	var holds [4]bool // by the order, from -1 to unordered
	switch op {
	case operators.Less:
		holds = [4]bool{true, false, false, false}
	case operators.LessEquals:
		holds = [4]bool{true, true, false, false}
	case operators.Greater:
		holds = [4]bool{false, false, true, false}
	case operators.GreaterEquals:
		holds = [4]bool{false, true, true, false}
	case operators.Equals:
		holds = [4]bool{false, true, false, false}
	default:
		holds = [4]bool{true, false, true, true}
	}
	v.bits = make([]uint64, words(n))
	for i := range n {
		if v.valid(i) {
			v.bits[i>>6] |= bit(holds[order(i)+1]) << (i & 63)
		}
	}
	return v
}

// compareBools has false before true.
func compareBools(c *call, op string, x, y *vec) *vec {
	out := c.start(x, y)
	n := c.size(out)
	a, b := c.truth(x, n), c.truth(y, n)
	out.bits = make([]uint64, words(n))
	for w := range out.bits {
		switch op {
		case operators.Less:
			out.bits[w] = ^a[w] & b[w]
		case operators.LessEquals:
			out.bits[w] = ^a[w] | b[w]
		case operators.Greater:
			out.bits[w] = a[w] &^ b[w]
		case operators.GreaterEquals:
			out.bits[w] = a[w] | ^b[w]
		case operators.Equals:
			out.bits[w] = ^(a[w] ^ b[w])
		default:
			out.bits[w] = a[w] ^ b[w]
		}
	}
	return out
}

func compareTexts(c *call, op string, x, y *vec) *vec {
	if x.col.Const && !y.col.Const {
		x, y, op = y, x, turned(op)
	}
	out := c.start(x, y)
	n := c.size(out)
	switch {
	case op != operators.Equals && op != operators.NotEquals:
		return out.decide(n, op, func(i int) int { return bytes.Compare(x.col.Text(i), y.col.Text(i)) })
	case y.col.Const && !x.col.Const:
		out.bits = equalTo(x, y.col.Text(0), n)
	default:
		out.bits = make([]uint64, words(n))
		for i := range n {
			out.bits[i>>6] |= bit(bytes.Equal(x.col.Text(i), y.col.Text(i))) << (i & 63)
		}
	}
	if op == operators.NotEquals {
		for w := range out.bits {
			out.bits[w] = ^out.bits[w]
		}
	}
	return out
}

// equalTo compares texts with one: most differ in their length.
func equalTo(x *vec, want []byte, n int) []uint64 {
	out := make([]uint64, words(n))
	offsets := x.col.Offsets[:n+1]
	lo := offsets[0]
	for i, hi := range offsets[1:] {
		if int(hi-lo) == len(want) && string(x.col.Bytes[lo:hi]) == string(want) {
			out[i>>6] |= 1 << (i & 63)
		}
		lo = hi
	}
	return out
}
