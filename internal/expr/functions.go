package expr

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/acequia-io/acequia/fault"
)

// maxColumn is what the texts of one column may come to in bytes, so that an expression cannot take all memory.
const maxColumn = 1 << 30

// function makes a node of a call, or gives nil when it does not take operands of these types.
type function struct {
	usage string
	make  func(c *compiler, e ast.Expr, args []*node) *node
}

// functions are all that there are, by name. A method's first operand is what it is called on.
func functions() map[string]function {
	all := map[string]function{}
	for _, some := range []map[string]function{textFunctions(), conversions(), timeFunctions(), mathFunctions()} {
		maps.Copy(all, some)
	}
	return all
}

// function is a call of a name.
func (c *compiler) function(e ast.Expr, name string) *node {
	f := e.AsCall()
	args := f.Args()
	if f.IsMemberFunction() {
		target := f.Target()
		if target.Kind() == ast.IdentKind && target.AsIdent() == "math" {
			name = "math." + name
		} else {
			args = append([]ast.Expr{target}, args...)
		}
	}
	all := functions()
	fn, ok := all[name]
	if !ok {
		names := slices.Sorted(maps.Keys(all))
		suggestion := "there are " + strings.Join(names, ", ")
		if closest, ok := nearest(name, names); ok {
			suggestion = "did you mean " + closest + "?"
		}
		return c.fail(e, "there is no function "+name, suggestion)
	}
	nodes, ok := c.operands(args...)
	if !ok {
		return nil
	}
	// CEL has size both ways.
	if method := strings.HasPrefix(fn.usage, "x."); name != "size" && method != (f.IsMemberFunction() && !strings.HasPrefix(name, "math.")) {
		return c.fail(e, name+" is not called like this", "write "+fn.usage)
	}
	before := len(c.errs)
	n := fn.make(c, e, nodes)
	if n == nil && len(c.errs) == before {
		given := make([]string, len(nodes))
		for i, a := range nodes {
			given[i] = c.show(a.expr) + " is " + a.typ.name()
		}
		message := name + " does not take what it is given"
		if len(given) > 0 {
			message += ": " + strings.Join(given, ", ")
		}
		return c.fail(e, message, "want "+fn.usage)
	}
	return n
}

// kinds says whether the operands are of the given kinds, one for one.
func kinds(args []*node, want ...kind) bool {
	return slices.EqualFunc(args, want, func(n *node, k kind) bool { return n.typ.kind == k })
}

// each calls f for the slots of out that are valid, and notes those for which it gives false as failed.
func (c *call) each(out *vec, n int, reason error, f func(i int) bool) {
	var bad []int32
	for i := range n {
		if out.valid(i) && !f(i) {
			bad = append(bad, int32(i))
		}
	}
	if len(bad) > 0 {
		out.fail(bad, n, reason)
	}
}

// toInts is a node of Ints, made slot by slot; f gives false where there is no result.
func (c *compiler) toInts(e ast.Expr, k kind, a *node, why string, f func(v *vec, i int) (int64, bool)) *node {
	reason := c.reason(e, why)
	return c.made(e, typ{kind: k}, func(c *call) *vec {
		v := a.eval(c)
		out := c.start(v)
		n := c.size(out)
		out.col.Ints = make([]int64, n)
		c.each(out, n, reason, func(i int) bool {
			x, ok := f(v, i)
			out.col.Ints[i] = x
			return ok
		})
		return out
	}, a)
}

// toFloats is as toInts.
func (c *compiler) toFloats(e ast.Expr, a *node, why string, f func(v *vec, i int) (float64, bool)) *node {
	reason := c.reason(e, why)
	return c.made(e, typ{kind: kDouble}, func(c *call) *vec {
		v := a.eval(c)
		out := c.start(v)
		n := c.size(out)
		out.col.Floats = make([]float64, n)
		c.each(out, n, reason, func(i int) bool {
			x, ok := f(v, i)
			out.col.Floats[i] = x
			return ok
		})
		return out
	}, a)
}

// toText is as toInts; f appends the text. What it appends where it gives false is dropped.
func (c *compiler) toText(e ast.Expr, why string, f func(dst []byte, v []*vec, i int) ([]byte, bool), args ...*node) *node {
	reason := c.reason(e, why)
	return c.made(e, typ{kind: kString}, func(c *call) *vec {
		v := make([]*vec, len(args))
		for i, a := range args {
			v[i] = a.eval(c)
		}
		out := c.start(v...)
		n := c.size(out)
		offsets, text := append(make([]uint32, 0, n+1), 0), make([]byte, 0, len(v[0].col.Bytes)+n)
		var bad []int32
		for i := range n {
			if out.valid(i) {
				longer, ok := f(text, v, i)
				if ok && len(longer) <= maxColumn {
					text = longer
				} else {
					text = longer[:len(text)]
					bad = append(bad, int32(i))
				}
			}
			offsets = append(offsets, uint32(len(text))) //nolint:gosec // a batch is far below 4 GiB
		}
		out.col.Offsets, out.col.Bytes = offsets, text
		if len(bad) > 0 {
			out.fail(bad, n, reason)
		}
		return out
	}, args...)
}

// toBool is a bool, made of every slot.
func (c *compiler) toBool(e ast.Expr, f func(v []*vec, i int) bool, args ...*node) *node {
	return c.made(e, typ{kind: kBool}, func(c *call) *vec {
		v := make([]*vec, len(args))
		for i, a := range args {
			v[i] = a.eval(c)
		}
		out := c.start(v...)
		n := c.size(out)
		out.bits = make([]uint64, words(n))
		for i := range n {
			out.bits[i>>6] |= bit(f(v, i)) << (i & 63)
		}
		return out
	}, args...)
}

// retyped is a with another kind: the values are held alike.
func (c *compiler) retyped(e ast.Expr, k kind, a *node) *node {
	return &node{typ: typ{kind: k}, nullable: a.nullable, eval: a.eval, lit: a.lit, expr: e}
}

// reason is the error of the rows that fail.
func (c *compiler) reason(e ast.Expr, why string) error {
	if why == "" { // of texts: all else cannot fail
		why = errTooLong.Error()
	}
	return fault.Poisoned(fmt.Errorf("%s: %s", c.show(e), why))
}
