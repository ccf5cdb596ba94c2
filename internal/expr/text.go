package expr

import (
	"bytes"
	"math"
	"regexp"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"

	"github.com/acequia-io/acequia/fault"
)

// maxText is what a text may become by replacing: a few replacements in each other would make any length of one letter.
const maxText = 16 << 20

func textFunctions() map[string]function {
	return map[string]function{
		"contains":   predicate("contains", bytes.Contains),
		"startsWith": predicate("startsWith", bytes.HasPrefix),
		"endsWith":   predicate("endsWith", bytes.HasSuffix),
		"matches":    {`x.matches("a regular expression")`, matches},
		"size":       {"size(string, bytes or list)", size},
		"lowerAscii": rewriting("lowerAscii", func(dst, v []byte) []byte { return shiftCase(dst, v, 'A') }),
		"upperAscii": rewriting("upperAscii", func(dst, v []byte) []byte { return shiftCase(dst, v, 'a') }),
		"trim":       rewriting("trim", func(dst, v []byte) []byte { return append(dst, bytes.TrimSpace(v)...) }),
		"replace":    {"x.replace(string, string), or with the number of times behind", replace},
		"substring":  {"x.substring(from), x.substring(from, to)", substring},
		"indexOf":    {"x.indexOf(string)", indexOf},
	}
}

// concat is the + of texts.
func concat(c *call, x, y *vec) *vec {
	out := c.start(x, y)
	n := c.size(out)
	offsets := append(make([]uint32, 0, n+1), 0)
	size := len(x.col.Bytes) + len(y.col.Bytes)
	for _, v := range []*vec{x, y} {
		if v.col.Const {
			size += n * len(v.col.Bytes)
		}
	}
	text := make([]byte, 0, min(size, maxColumn))
	var bad []int32
	for i := range n {
		if out.valid(i) {
			a, b := x.col.Text(i), y.col.Text(i)
			if len(text)+len(a)+len(b) > maxColumn {
				bad = append(bad, int32(i))
			} else {
				text = append(append(text, a...), b...)
			}
		}
		offsets = append(offsets, uint32(len(text))) //nolint:gosec // below 1 GiB
	}
	out.col.Offsets, out.col.Bytes = offsets, text
	if len(bad) > 0 {
		out.fail(bad, n, fault.Poisoned(errTooLong))
	}
	return out
}

const errTooLong failure = "the texts of the column come to more than 1 GiB"

func predicate(name string, holds func(x, y []byte) bool) function {
	return function{"x." + name + "(string)", func(c *compiler, e ast.Expr, args []*node) *node {
		if !kinds(args, kString, kString) {
			return nil
		}
		return c.toBool(e, func(v []*vec, i int) bool { return holds(v[0].col.Text(i), v[1].col.Text(i)) }, args...)
	}}
}

// matches wants a literal, which is compiled once.
func matches(c *compiler, e ast.Expr, args []*node) *node {
	if !kinds(args, kString, kString) {
		return nil
	}
	if !args[1].literal() {
		return c.fail(args[1].expr, "the regular expression of matches must be a text literal", "")
	}
	pattern, err := regexp.Compile(string(args[1].lit.col.Text(0)))
	if err != nil {
		return c.fail(args[1].expr, err.Error(), "regular expressions are written as in RE2")
	}
	return c.toBool(e, func(v []*vec, i int) bool { return pattern.Match(v[0].col.Text(i)) }, args[0])
}

// size counts characters, bytes or elements.
func size(c *compiler, e ast.Expr, args []*node) *node {
	if len(args) != 1 {
		return nil
	}
	a := args[0]
	switch a.typ.kind {
	case kString:
		return c.toInts(e, kInt, a, "", func(v *vec, i int) (int64, bool) { return int64(utf8.RuneCount(v.col.Text(i))), true })
	case kBytes:
		return c.toInts(e, kInt, a, "", func(v *vec, i int) (int64, bool) { return int64(len(v.col.Text(i))), true })
	case kList:
		return c.toInts(e, kInt, a, "", func(v *vec, i int) (int64, bool) {
			lo, hi := v.elements(i)
			return int64(hi - lo), true
		})
	default:
		return nil
	}
}

// elements are the slots of a list in its child.
func (v *vec) elements(slot int) (lo, hi int) {
	if v.col.Const {
		slot = 0
	}
	return int(v.col.Offsets[slot]), int(v.col.Offsets[slot+1])
}

func rewriting(name string, f func(dst, v []byte) []byte) function {
	return function{"x." + name + "()", func(c *compiler, e ast.Expr, args []*node) *node {
		if !kinds(args, kString) {
			return nil
		}
		return c.toText(e, "", func(dst []byte, v []*vec, i int) ([]byte, bool) { return f(dst, v[0].col.Text(i)), true }, args[0])
	}}
}

// shiftCase changes the letters from first on to the other case.
func shiftCase(dst, v []byte, first byte) []byte {
	for _, b := range v {
		if b-first < 26 {
			b ^= 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}

func replace(c *compiler, e ast.Expr, args []*node) *node {
	if !kinds(args, kString, kString, kString) && !kinds(args, kString, kString, kString, kInt) {
		return nil
	}
	return c.toText(e, "the text becomes longer than 16 MiB", func(dst []byte, v []*vec, i int) ([]byte, bool) {
		times := int64(-1)
		if len(v) == 4 {
			times = v[3].col.Int(i)
		}
		text, old, by := v[0].col.Text(i), v[1].col.Text(i), v[2].col.Text(i)
		most := len(text)/max(1, len(old)) + 1
		if len(text)+most*len(by) > maxText && len(text)+bytes.Count(text, old)*len(by) > maxText {
			return dst, false
		}
		return appendReplaced(dst, text, old, by, times), true
	}, args...)
}

// appendReplaced does as strings.Replace, without a text of its own.
func appendReplaced(dst, v, old, by []byte, times int64) []byte {
	for first := true; times != 0; first = false {
		at := bytes.Index(v, old)
		if len(old) == 0 && !first {
			if len(v) == 0 {
				break
			}
			_, at = utf8.DecodeRune(v)
		}
		if at < 0 {
			break
		}
		dst = append(append(dst, v[:at]...), by...)
		v = v[at+len(old):]
		times--
	}
	return append(dst, v...)
}

// substring counts characters, not bytes.
func substring(c *compiler, e ast.Expr, args []*node) *node {
	if !kinds(args, kString, kInt) && !kinds(args, kString, kInt, kInt) {
		return nil
	}
	return c.toText(e, "the text is shorter than that", func(dst []byte, v []*vec, i int) ([]byte, bool) {
		text := v[0].col.Text(i)
		from, to := v[1].col.Int(i), int64(math.MaxInt64)
		if len(v) == 3 {
			to = v[2].col.Int(i)
		}
		if from < 0 || from > to {
			return dst, false
		}
		lo, ok := characters(text, from)
		if !ok {
			return dst, false
		}
		text = text[lo:]
		if len(v) == 2 {
			return append(dst, text...), true
		}
		hi, ok := characters(text, to-from)
		return append(dst, text[:hi]...), ok
	}, args...)
}

// characters gives the length of the first n characters in bytes, or false where there are fewer.
func characters(v []byte, n int64) (int, bool) {
	at := 0
	for ; n > 0; n-- {
		_, size := utf8.DecodeRune(v[at:])
		if size == 0 {
			return at, false
		}
		at += size
	}
	return at, true
}

func indexOf(c *compiler, e ast.Expr, args []*node) *node {
	if !kinds(args, kString, kString) {
		return nil
	}
	return c.made(e, typ{kind: kInt}, func(c *call) *vec {
		x, y := args[0].eval(c), args[1].eval(c)
		out := c.start(x, y)
		n := c.size(out)
		out.col.Ints = make([]int64, n)
		for i := range out.col.Ints {
			text := x.col.Text(i)
			at := bytes.Index(text, y.col.Text(i))
			if at > 0 {
				at = utf8.RuneCount(text[:at])
			}
			out.col.Ints[i] = int64(at)
		}
		return out
	}, args...)
}
