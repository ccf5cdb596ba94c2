package expr

import (
	"fmt"

	"cel.dev/cel-go/common/ast"

	"github.com/acequia-io/acequia/record"
)

// logic is && and ||.
func (c *compiler) logic(e ast.Expr, and bool) *node {
	n, ok := c.operands(e.AsCall().Args()...)
	if !ok {
		return nil
	}
	sign := "||"
	if and {
		sign = "&&"
	}
	for i, x := range n {
		n[i] = c.boolean(x, sign)
		ok = ok && n[i] != nil
	}
	if !ok {
		return nil
	}
	out := n[0]
	for _, x := range n[1:] {
		out = c.joined(e, and, out, x)
	}
	return out
}

// boolean wants a bool, or null as one that is not known.
func (c *compiler) boolean(n *node, sign string) *node {
	switch n.typ.kind {
	case kBool:
		return n
	case kNull:
		return c.null(n.expr, typ{kind: kBool})
	default:
		return c.fail(n.expr, fmt.Sprintf("%s is %s, and %s wants a bool", c.show(n.expr), n.typ.name(), sign), "")
	}
}

func (c *compiler) joined(e ast.Expr, and bool, a, b *node) *node {
	return c.made(e, typ{kind: kBool}, func(c *call) *vec { return join(c, and, a.eval(c), b.eval(c)) }, a, b)
}

// join works with what is surely true and what is surely false; the rest is null, or has failed.
func join(c *call, and bool, x, y *vec) *vec {
	out := &vec{}
	out.col.Const = x.col.Const && y.col.Const
	n := c.size(out)
	xs, ys := c.truth(x, n), c.truth(y, n)
	xv, yv := c.bitmap(x, x.col.Valid, n), c.bitmap(y, y.col.Valid, n)
	out.bits = make([]uint64, words(n))
	valid := make([]uint64, words(n))
	for w := range out.bits {
		xt, xf := xs[w], ^xs[w]
		if xv != nil {
			xt, xf = xt&xv[w], xf&xv[w]
		}
		yt, yf := ys[w], ^ys[w]
		if yv != nil {
			yt, yf = yt&yv[w], yf&yv[w]
		}
		t, f := xt|yt, xf&yf
		if and {
			t, f = xt&yt, xf|yf
		}
		out.bits[w], valid[w] = t, t|f
	}
	if xv == nil && yv == nil {
		return out
	}
	out.col.Valid = valid
	if absent := either(c.bitmap(x, x.col.Absent, n), c.bitmap(y, y.col.Absent, n)); absent != nil {
		out.col.Absent = without(absent, valid)
	}
	out.errs = undecided(mergeErrs(c.errsOf(x, n), c.errsOf(y, n)), valid)
	return out
}

// without is the difference of two bitmaps.
func without(a, b []uint64) []uint64 {
	out := make([]uint64, min(len(a), len(b)))
	for i := range out {
		out[i] = a[i] &^ b[i]
	}
	return out
}

// undecided gives the errors of the slots that have no value all the same.
func undecided(errs []slotErr, valid []uint64) []slotErr {
	var out []slotErr
	for _, e := range errs {
		if valid[e.slot>>6]>>(e.slot&63)&1 == 0 {
			out = append(out, e)
		}
	}
	return out
}

func (c *compiler) not(e ast.Expr) *node {
	n := c.expr(e.AsCall().Args()[0])
	if n == nil {
		return nil
	}
	if n = c.boolean(n, "!"); n == nil {
		return nil
	}
	return c.made(e, n.typ, func(c *call) *vec {
		v := n.eval(c)
		out := c.start(v)
		out.bits = make([]uint64, len(v.bits))
		for w, m := range v.bits {
			out.bits[w] = ^m
		}
		return out
	}, n)
}

// null is a null of a type.
func (c *compiler) null(e ast.Expr, t typ) *node {
	v := &vec{shared: true, col: record.Column{Const: true, Valid: []uint64{0}}}
	switch {
	case t.kind == kBool:
		v.bits = []uint64{0}
	case t.kind == kDouble:
		v.col.Floats = []float64{0}
	case t.wide():
		v.col.Wide = []record.Int128{{}}
	case t.text():
		v.col.Offsets = []uint32{0, 0}
	default:
		v.col.Ints = []int64{0}
	}
	return &node{typ: t, expr: e, nullable: true, eval: func(*call) *vec { out := *v; return &out }}
}

// conditional is ?:.
func (c *compiler) conditional(e ast.Expr) *node {
	n, ok := c.operands(e.AsCall().Args()...)
	if !ok {
		return nil
	}
	condition, a, b := n[0], n[1], n[2]
	if condition = c.boolean(condition, "?:"); condition == nil {
		return nil
	}
	switch {
	case a.typ.kind == kNull && b.typ.kind == kNull:
		return c.fail(e, "both values of ?: are null", "")
	case a.typ.kind == kNull:
		a = c.null(a.expr, b.typ)
	case b.typ.kind == kNull:
		b = c.null(b.expr, a.typ)
	case a.typ.instant() && b.typ.instant() && a.typ.kind != b.typ.kind:
		a, b = c.inMicros(a), c.inMicros(b)
		b.typ = a.typ
	}
	if !same(a.typ, b.typ) {
		return c.mismatch(e, "_?_:_", a, b)
	}
	t := a.typ
	return c.made(e, t, func(c *call) *vec { return choose(c, t, condition.eval(c), a.eval(c), b.eval(c)) }, condition, a, b)
}

// choose takes each slot from one of two values; where the condition is null, so is the result.
func choose(c *call, t typ, condition, x, y *vec) *vec {
	if condition.col.Const && condition.valid(0) {
		if condition.isTrue(0) {
			return x
		}
		return y
	}
	out := &vec{}
	n := c.rows
	if condition.col.Const && x.col.Const && y.col.Const {
		n, out.col.Const = 1, true
	}
	first, valid := make([]uint64, words(n)), c.bitmap(condition, condition.col.Valid, n)
	copy(first, c.truth(condition, n))
	second := make([]uint64, len(first))
	for w := range first {
		second[w] = ^first[w]
		if valid != nil {
			first[w] &= valid[w]
			second[w] &= valid[w]
		}
	}
	out.col.Valid = blend(first, second, c.bitmap(x, x.col.Valid, n), c.bitmap(y, y.col.Valid, n), valid == nil)
	none := make([]uint64, len(first))
	xa, ya := c.bitmap(x, x.col.Absent, n), c.bitmap(y, y.col.Absent, n)
	if xa != nil || ya != nil {
		if xa == nil {
			xa = none
		}
		if ya == nil {
			ya = none
		}
		out.col.Absent = blend(first, second, xa, ya, false)
	}
	out.col.Absent = either(out.col.Absent, c.bitmap(condition, condition.col.Absent, n))
	out.errs = mergeErrs(taken(c.errsOf(x, n), first), taken(c.errsOf(y, n), second))
	out.errs = mergeErrs(c.errsOf(condition, n), out.errs)
	out.pick(c, t, n, first, x, y)
	return out
}

// blend takes bits of x where first is set and of y where second is; nil is all ones.
func blend(first, second, x, y []uint64, complete bool) []uint64 {
	if x == nil && y == nil && complete {
		return nil
	}
	out := make([]uint64, len(first))
	for w := range out {
		a, b := first[w], second[w]
		if x != nil {
			a &= x[w]
		}
		if y != nil {
			b &= y[w]
		}
		out[w] = a | b
	}
	return out
}

// taken gives the errors of the slots that are chosen.
func taken(errs []slotErr, chosen []uint64) []slotErr {
	var out []slotErr
	for _, e := range errs {
		if chosen[e.slot>>6]>>(e.slot&63)&1 == 1 {
			out = append(out, e)
		}
	}
	return out
}

// pick fills the values of v: of x where first is set, else of y.
func (v *vec) pick(c *call, t typ, n int, first []uint64, x, y *vec) {
	switch {
	case t.kind == kBool:
		a, b := c.truth(x, n), c.truth(y, n)
		v.bits = make([]uint64, words(n))
		for w := range v.bits {
			v.bits[w] = first[w]&a[w] | b[w]&^first[w]
		}
	case t.kind == kDouble:
		v.col.Floats = picked(first, c.floats(x, n), c.floats(y, n))
	case t.wide():
		v.col.Wide = picked(first, spread(x.col.Wide, x.col.Const, n), spread(y.col.Wide, y.col.Const, n))
	case t.text():
		v.col.Offsets = append(make([]uint32, 0, n+1), 0)
		for i := range n {
			switch from := first[i>>6] >> (i & 63) & 1; {
			case !v.valid(i):
				v.col.AppendText(nil)
			case from == 1:
				v.col.AppendText(x.col.Text(i))
			default:
				v.col.AppendText(y.col.Text(i))
			}
		}
	default:
		v.col.Ints = picked(first, c.ints(x, n), c.ints(y, n))
	}
}

func picked[T any](first []uint64, x, y []T) []T {
	out := make([]T, len(x))
	y = y[:len(x)]
	for i := range out {
		if first[i>>6]>>(i&63)&1 == 1 {
			out[i] = x[i]
		} else {
			out[i] = y[i]
		}
	}
	return out
}
