package expr

import (
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
)

// conversions are the functions named after a type.
func conversions() map[string]function {
	return map[string]function{
		"int":       {"int(number, string or timestamp)", one(toInt)},
		"double":    {"double(number or string)", one(toDouble)},
		"string":    {"string(anything but a list or struct)", one(toString)},
		"bool":      {"bool(string)", one(toBool)},
		"bytes":     {"bytes(string)", one(toBytes)},
		"timestamp": {`timestamp("2006-01-02T15:04:05Z"), or of a date or the seconds since 1970`, one(toTimestamp)},
		"date":      {`date("2006-01-02") or date(timestamp)`, one(toDate)},
		"duration":  {`duration("1h30m")`, one(toDuration)},
	}
}

func one(f func(c *compiler, e ast.Expr, a *node) *node) func(c *compiler, e ast.Expr, args []*node) *node {
	return func(c *compiler, e ast.Expr, args []*node) *node {
		if len(args) != 1 {
			return nil
		}
		return f(c, e, args[0])
	}
}

func toInt(c *compiler, e ast.Expr, a *node) *node {
	switch a.typ.kind {
	case kInt:
		return a
	case kDouble:
		return c.toInts(e, kInt, a, "the number does not fit an int", func(v *vec, i int) (int64, bool) {
			f := v.col.Float(i)
			ok := f > -1<<63 && f < 1<<63
			if !ok {
				f = 0
			}
			return int64(f), ok
		})
	case kString:
		return c.toInts(e, kInt, a, "the text is no int", func(v *vec, i int) (int64, bool) {
			n, err := strconv.ParseInt(string(v.col.Text(i)), 10, 64)
			return n, err == nil
		})
	case kTimestamp, kLocal:
		return c.toInts(e, kInt, a, "", func(v *vec, i int) (int64, bool) { return time.UnixMicro(v.col.Int(i)).Unix(), true })
	case kDecimal:
		t := a.typ
		return c.toInts(e, kInt, a, "the number does not fit an int", func(v *vec, i int) (int64, bool) {
			return wholePart(t.unscaled(v, i), t.field.Scale)
		})
	default:
		return nil
	}
}

func toDouble(c *compiler, e ast.Expr, a *node) *node {
	switch a.typ.kind {
	case kDouble:
		return a
	case kInt:
		return c.toFloats(e, a, "", func(v *vec, i int) (float64, bool) { return float64(v.col.Int(i)), true })
	case kString:
		return c.toFloats(e, a, "the text is no number", func(v *vec, i int) (float64, bool) {
			f, err := strconv.ParseFloat(string(v.col.Text(i)), 64)
			return f, err == nil
		})
	case kDecimal:
		t := a.typ
		return c.toFloats(e, a, "", func(v *vec, i int) (float64, bool) { return t.double(v, i), true })
	default:
		return nil
	}
}

func toString(c *compiler, e ast.Expr, a *node) *node {
	type appending = func(dst []byte, v *vec, i int) []byte
	made := func(f appending) *node {
		return c.toText(e, "", func(dst []byte, v []*vec, i int) ([]byte, bool) { return f(dst, v[0], i), true }, a)
	}
	layout := time.RFC3339Nano
	switch a.typ.kind {
	case kString:
		return a
	case kBool:
		return made(func(dst []byte, v *vec, i int) []byte {
			if v.col.Const {
				i = 0
			}
			return strconv.AppendBool(dst, v.isTrue(i))
		})
	case kInt:
		return made(func(dst []byte, v *vec, i int) []byte { return strconv.AppendInt(dst, v.col.Int(i), 10) })
	case kDouble:
		return made(func(dst []byte, v *vec, i int) []byte { return strconv.AppendFloat(dst, v.col.Float(i), 'g', -1, 64) })
	case kBytes:
		return c.toText(e, "the bytes are not UTF-8", func(dst []byte, v []*vec, i int) ([]byte, bool) {
			text := v[0].col.Text(i)
			return append(dst, text...), utf8.Valid(text)
		}, a)
	case kDate:
		return made(func(dst []byte, v *vec, i int) []byte {
			return time.Unix(v.col.Int(i)*(dayMicros/secondMicros), 0).UTC().AppendFormat(dst, time.DateOnly)
		})
	case kLocal:
		layout = "2006-01-02T15:04:05.999999"
		fallthrough
	case kTimestamp:
		return made(func(dst []byte, v *vec, i int) []byte {
			return time.UnixMicro(v.col.Int(i)).UTC().AppendFormat(dst, layout)
		})
	case kDuration:
		return made(func(dst []byte, v *vec, i int) []byte {
			return append(strconv.AppendFloat(dst, float64(v.col.Int(i))/float64(secondMicros), 'f', -1, 64), 's')
		})
	case kDecimal:
		t := a.typ
		return made(func(dst []byte, v *vec, i int) []byte { return appendDecimal(dst, t.unscaled(v, i), t.field.Scale) })
	default:
		return nil
	}
}

func toBool(c *compiler, e ast.Expr, a *node) *node {
	switch a.typ.kind {
	case kBool:
		return a
	case kString:
		reason := c.reason(e, "the text is neither true nor false")
		return c.made(e, typ{kind: kBool}, func(c *call) *vec {
			v := a.eval(c)
			out := c.start(v)
			n := c.size(out)
			out.bits = make([]uint64, words(n))
			c.each(out, n, reason, func(i int) bool {
				b, err := strconv.ParseBool(string(v.col.Text(i)))
				out.bits[i>>6] |= bit(b) << (i & 63)
				return err == nil
			})
			return out
		}, a)
	default:
		return nil
	}
}

func toBytes(c *compiler, e ast.Expr, a *node) *node {
	if !a.typ.text() {
		return nil
	}
	return c.retyped(e, kBytes, a)
}

func toTimestamp(c *compiler, e ast.Expr, a *node) *node {
	switch a.typ.kind {
	case kString:
		return c.toInts(e, kTimestamp, a, "the text is no timestamp such as 2006-01-02T15:04:05Z", func(v *vec, i int) (int64, bool) {
			return instant(v.col.Text(i))
		})
	case kInt:
		return c.toInts(e, kTimestamp, a, errTime.Error(), func(v *vec, i int) (int64, bool) { return seconds(v.col.Int(i)) })
	case kTimestamp, kLocal:
		return c.retyped(e, kTimestamp, a)
	case kDate:
		return c.inMicros(a)
	default:
		return nil
	}
}

func toDate(c *compiler, e ast.Expr, a *node) *node {
	switch a.typ.kind {
	case kString:
		return c.toInts(e, kDate, a, "the text is no date such as 2006-01-02", func(v *vec, i int) (int64, bool) {
			return day(v.col.Text(i))
		})
	case kTimestamp, kLocal:
		return c.toInts(e, kDate, a, "", func(v *vec, i int) (int64, bool) { return daysOf(v.col.Int(i)), true })
	case kDate:
		return a
	default:
		return nil
	}
}

func toDuration(c *compiler, e ast.Expr, a *node) *node {
	switch a.typ.kind {
	case kString:
		return c.toInts(e, kDuration, a, "the text is no duration such as 1h30m, in whole microseconds", func(v *vec, i int) (int64, bool) {
			return period(v.col.Text(i))
		})
	case kDuration:
		return a
	default:
		return nil
	}
}

// mathFunctions are those of CEL's math extension that work on ints and doubles alike, and the roundings.
func mathFunctions() map[string]function {
	return map[string]function{
		"math.greatest": {"math.greatest(numbers of one type)", extreme(true)},
		"math.least":    {"math.least(numbers of one type)", extreme(false)},
		"math.floor":    rounding("math.floor", math.Floor),
		"math.ceil":     rounding("math.ceil", math.Ceil),
		"math.round":    rounding("math.round", math.Round),
		"math.trunc":    rounding("math.trunc", math.Trunc),
		"math.abs": {"math.abs(number)", func(c *compiler, e ast.Expr, args []*node) *node {
			switch {
			case kinds(args, kDouble):
				return c.toFloats(e, args[0], "", func(v *vec, i int) (float64, bool) { return math.Abs(v.col.Float(i)), true })
			case kinds(args, kInt):
				return c.toInts(e, kInt, args[0], errOverflow.Error(), func(v *vec, i int) (int64, bool) {
					n := v.col.Int(i)
					return max(n, -n), n != math.MinInt64
				})
			}
			return nil
		}},
	}
}

func rounding(name string, f func(float64) float64) function {
	return function{name + "(double)", func(c *compiler, e ast.Expr, args []*node) *node {
		if !kinds(args, kDouble) {
			return nil
		}
		return c.toFloats(e, args[0], "", func(v *vec, i int) (float64, bool) { return f(v.col.Float(i)), true })
	}}
}

func extreme(greatest bool) func(c *compiler, e ast.Expr, args []*node) *node {
	return func(c *compiler, e ast.Expr, args []*node) *node {
		if len(args) == 0 {
			return nil
		}
		out := args[0]
		for _, a := range args {
			if a.typ.kind != out.typ.kind || a.typ.kind != kInt && a.typ.kind != kDouble {
				return nil
			}
		}
		for _, a := range args[1:] {
			if out = c.further(e, greatest, out, a); out == nil {
				return nil
			}
		}
		return out
	}
}

// further is the greater or the lesser of two. As in CEL a row with NaN fails: it has no order.
func (c *compiler) further(e ast.Expr, greatest bool, a, b *node) *node {
	t := a.typ
	reason := c.reason(e, "NaN is neither more nor less")
	return c.made(e, t, func(c *call) *vec {
		x, y := a.eval(c), b.eval(c)
		out := c.start(x, y)
		n := c.size(out)
		if t.kind == kInt {
			out.col.Ints = furthest(greatest, c.ints(x, n), c.ints(y, n))
			return out
		}
		p, q := c.floats(x, n), c.floats(y, n)
		out.col.Floats = furthest(greatest, p, q)
		c.each(out, n, reason, func(i int) bool { return !math.IsNaN(p[i]) && !math.IsNaN(q[i]) })
		return out
	}, a, b)
}

func furthest[T int64 | float64](greatest bool, x, y []T) []T {
	out := make([]T, len(x))
	for i, a := range x {
		out[i] = a
		if b := y[i]; greatest && b > a || !greatest && b < a {
			out[i] = b
		}
	}
	return out
}
