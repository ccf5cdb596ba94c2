package expr

import (
	"math"
	"unicode/utf8"

	"github.com/acequia-io/acequia/record"
)

// As gives the program with its result as a column of the type of a field: a row whose value does not fit fails, and so does one
// whose number is not whole where the type is an integer; decimals are rounded to their scale. The error is an *Error: the
// expression's type never becomes that one.
func (p *Program) As(to record.Field) (*Program, error) {
	c := &compiler{text: p.text, schema: p.schema, info: p.info}
	root := c.cast(p.root, to)
	if root == nil {
		if len(c.errs) > 0 {
			return nil, c.errs[0]
		}
		message := "the result is " + p.root.typ.name() + ", which does not become " + to.TypeName()
		return nil, &Error{Message: message, Suggestion: p.conversion(to)}
	}
	out := *p
	out.root, out.result = root, to
	out.result.Name, out.result.Nullable = "", p.result.Nullable
	return &out, nil
}

// conversion names the function that makes one type of the other.
func (p *Program) conversion(to record.Field) string {
	from := p.root.typ
	switch to.Kind {
	case record.String:
		return "write string(...)"
	case record.Date:
		if from.instant() || from.kind == kString {
			return "write date(...)"
		}
	case record.Int32, record.Int64:
		if from.kind == kString || from.instant() {
			return "write int(...)"
		}
	case record.Float32, record.Float64:
		if from.kind == kString {
			return "write double(...)"
		}
	case record.Bool:
		if from.kind == kString {
			return "write bool(...)"
		}
		return "write a comparison"
	case record.Timestamp, record.LocalTimestamp:
		if from.kind == kString || from.kind == kInt {
			return "write timestamp(...)"
		}
	default:
	}
	return ""
}

func (c *compiler) cast(n *node, to record.Field) *node {
	switch to.Kind {
	case record.Int32:
		return c.castInt(n, to, math.MinInt32, math.MaxInt32)
	case record.Int64:
		return c.castInt(n, to, math.MinInt64, math.MaxInt64)
	case record.Float32, record.Float64:
		return c.castFloat(n, to)
	case record.Decimal:
		return c.castDecimal(n, to)
	case record.Timestamp, record.LocalTimestamp:
		if n.typ.instant() {
			return c.inMicros(n)
		}
	case record.String:
		if n.typ.kind == kBytes {
			why := "the bytes are not UTF-8"
			return c.toText(n.expr, why, func(dst []byte, v []*vec, i int) ([]byte, bool) {
				text := v[0].col.Text(i)
				return append(dst, text...), utf8.Valid(text)
			}, n)
		}
		if n.typ.kind == kString {
			return n
		}
	case record.Bytes:
		if n.typ.text() {
			return n
		}
	case record.Bool:
		if n.typ.kind == kBool {
			return n
		}
	case record.Date:
		if n.typ.kind == kDate {
			return n
		}
	default:
	}
	return nil
}

func unfit(to record.Field) string { return "the value does not fit " + to.TypeName() }

func (c *compiler) castInt(n *node, to record.Field, least, most int64) *node {
	t := n.typ
	switch t.kind {
	case kInt:
		if to.Kind == record.Int64 {
			return n
		}
		checked := c.toInts(n.expr, kInt, n, unfit(to), func(v *vec, i int) (int64, bool) {
			x := v.col.Int(i)
			return x, x >= least && x <= most
		})
		if checked == nil || checked.literal() {
			return checked
		}
		slow := checked.eval
		checked.eval = func(c *call) *vec {
			if v := n.eval(c); within(v.col.Ints[:c.size(v)], least, most) {
				return v
			}
			return slow(c)
		}
		return checked
	case kDouble:
		return c.toInts(n.expr, kInt, n, unfit(to), func(v *vec, i int) (int64, bool) {
			f := v.col.Float(i)
			if !(f >= float64(least) && f < -float64(math.MinInt64)) || f != math.Trunc(f) || int64(f) > most {
				return 0, false
			}
			return int64(f), true
		})
	case kDecimal:
		whole := record.Field{Kind: record.Decimal, Precision: maxDigits}
		return c.toInts(n.expr, kInt, n, unfit(to), func(v *vec, i int) (int64, bool) {
			d, ok := rescale(t.unscaled(v, i), t.field.Scale, whole, false)
			x := int64(d.Lo) //nolint:gosec // its bits
			return x, ok && d.Hi == x>>63 && x >= least && x <= most
		})
	default:
		return nil
	}
}

// within says whether all values, those of null slots too, lie between two bounds.
func within(values []int64, least, most int64) bool {
	lo, hi := most, least
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	return lo >= least && hi <= most
}

func (c *compiler) castFloat(n *node, to record.Field) *node {
	single := to.Kind == record.Float32
	switch n.typ.kind {
	case kDouble:
		if !single {
			return n
		}
		return c.toFloats(n.expr, n, unfit(to), func(v *vec, i int) (float64, bool) {
			f := v.col.Float(i)
			out := float64(float32(f))
			return out, !math.IsInf(out, 0) || math.IsInf(f, 0)
		})
	case kInt:
		most := int64(1) << 53 // beyond it not every int is a double
		if single {
			most = 1 << 24
		}
		return c.toFloats(n.expr, n, unfit(to), func(v *vec, i int) (float64, bool) {
			x := v.col.Int(i)
			return float64(x), x <= most && x >= -most
		})
	case kDecimal:
		return c.castFloat(toDouble(c, n.expr, n), to)
	default:
		return nil
	}
}

// castDecimal rounds to the scale, as SQL does: half away from zero.
func (c *compiler) castDecimal(n *node, to record.Field) *node {
	from, reason := n.typ, c.reason(n.expr, unfit(to))
	switch from.kind {
	case kDecimal:
		if from.field.Precision == to.Precision && from.field.Scale == to.Scale {
			return n
		}
	case kInt:
		from.field.Scale = 0
	case kDouble:
		return c.toDecimal(n.expr, to, reason, func(v []*vec, i int) (record.Int128, bool) { return rounded(v[0].col.Float(i), to) }, n)
	default:
		return nil
	}
	return c.toDecimal(n.expr, to, reason, func(v []*vec, i int) (record.Int128, bool) {
		return rescale(from.unscaled(v[0], i), from.field.Scale, to, true)
	}, n)
}
