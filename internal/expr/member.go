package expr

import (
	"bytes"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// few values are looked at one after the other.
const few = 8

// membership is in: of a list of values, or of a column of lists.
func (c *compiler) membership(e ast.Expr) *node {
	args := e.AsCall().Args()
	if args[1].Kind() != ast.ListKind {
		n, ok := c.operands(args...)
		if !ok {
			return nil
		}
		return c.inColumn(e, n[0], n[1])
	}
	n, ok := c.operands(append([]ast.Expr{args[0]}, args[1].AsList().Elements()...)...)
	if !ok {
		return nil
	}
	x, list := n[0], n[1:]
	if len(list) == 0 {
		return c.fail(args[1], "the list is empty", "")
	}
	for _, n := range n {
		if n.typ.kind == kNull {
			return c.fail(n.expr, "null is not looked for with in", c.show(x.expr)+" == null")
		}
	}
	alike := !slices.ContainsFunc(list, func(n *node) bool { return !n.literal() || n.typ.kind != x.typ.kind })
	switch {
	case alike && x.typ.kind == kInt:
		return c.inInts(e, x, list)
	case alike && x.typ.text():
		return c.inTexts(e, x, list)
	}
	var out *node
	for _, n := range list {
		equal := c.compared(e, operators.Equals, x, n)
		if equal == nil {
			return c.mismatch(n.expr, operators.Equals, x, n)
		}
		if out == nil {
			out = equal
		} else {
			out = c.eitherEqual(e, out, equal)
		}
	}
	return out
}

// eitherEqual is ||, but as in CEL an element that cannot be evaluated fails the row whatever the others are.
func (c *compiler) eitherEqual(e ast.Expr, a, b *node) *node {
	return c.made(e, typ{kind: kBool}, func(c *call) *vec {
		x, y := a.eval(c), b.eval(c)
		out := join(c, false, x, y)
		n := c.size(out)
		out.carry(mergeErrs(c.errsOf(x, n), c.errsOf(y, n)), n)
		return out
	}, a, b)
}

func (c *compiler) inInts(e ast.Expr, x *node, list []*node) *node {
	values, set := make([]int64, len(list)), map[int64]struct{}{}
	for i, n := range list {
		values[i] = n.lit.col.Ints[0]
		set[values[i]] = struct{}{}
	}
	if len(values) <= few {
		return c.toBool(e, func(v []*vec, i int) bool { return slices.Contains(values, v[0].col.Int(i)) }, x)
	}
	return c.toBool(e, func(v []*vec, i int) bool {
		_, ok := set[v[0].col.Int(i)]
		return ok
	}, x)
}

func (c *compiler) inTexts(e ast.Expr, x *node, list []*node) *node {
	set, lengths := map[string]struct{}{}, uint64(0)
	for _, n := range list {
		text := n.lit.col.Text(0)
		set[string(text)] = struct{}{}
		lengths |= 1 << min(len(text), 63)
	}
	return c.toBool(e, func(v []*vec, i int) bool {
		text := v[0].col.Text(i)
		if lengths>>min(len(text), 63)&1 == 0 { // of no length that any has
			return false
		}
		_, ok := set[string(text)]
		return ok
	}, x)
}

// inColumn looks through the list of each row. A null element equals nothing.
func (c *compiler) inColumn(e ast.Expr, x, list *node) *node {
	if list.typ.kind != kList {
		return c.fail(e, c.show(list.expr)+" is "+list.typ.name()+", not a list", "")
	}
	element, ok := typeOf(list.typ.field.Fields[0])
	if !ok || element.kind != x.typ.kind {
		elements := "the elements of " + c.show(list.expr) + " are " + list.typ.field.Fields[0].TypeName()
		return c.fail(e, c.show(x.expr)+" is "+x.typ.name()+", "+elements, "")
	}
	var equal func(x, elements *vec, row, at int) bool
	switch {
	case element.text():
		equal = func(x, elements *vec, row, at int) bool { return bytes.Equal(x.col.Text(row), elements.col.Text(at)) }
	case element.kind == kInt || element.instant():
		equal = func(x, elements *vec, row, at int) bool { return x.col.Int(row) == elements.col.Int(at) }
	case element.kind == kDouble:
		equal = func(x, elements *vec, row, at int) bool { return x.col.Float(row) == elements.col.Float(at) }
	default:
		return c.fail(e, "in does not look through a list of "+element.name(), "")
	}
	return c.toBool(e, func(v []*vec, row int) bool {
		lo, hi := v[1].elements(row)
		if lo == hi { // then there may be no column of elements
			return false
		}
		elements := &vec{col: v[1].col.Children[0]}
		for at := lo; at < hi; at++ {
			if elements.col.IsValid(at) && equal(v[0], elements, row, at) {
				return true
			}
		}
		return false
	}, x, list)
}
