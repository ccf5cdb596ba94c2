package normalize

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/acequia-io/acequia/record"
)

// cleaner says what is done to a value.
type cleaner struct{ collapse bool }

// column gives c with its text clean, and whether that differs from c. c is not changed; the result may share memory
// with it.
func (l cleaner) column(f record.Field, c record.Column) (record.Column, bool) {
	switch f.Kind {
	case record.String:
		return l.text(c)
	case record.List, record.Struct:
		var children []record.Column
		for i := range c.Children { // none in a column without rows
			child, changed := l.column(f.Fields[i], c.Children[i])
			if !changed {
				continue
			}
			if children == nil {
				children = slices.Clone(c.Children)
			}
			children[i] = child
		}
		if children == nil {
			return c, false
		}
		c.Children = children
		return c, true
	default:
		return c, false
	}
}

// text copies nothing before the first value that changes.
func (l cleaner) text(c record.Column) (record.Column, bool) {
	if len(c.Offsets) == 0 {
		return c, false
	}
	// A part of text in NFC is in NFC: one look at the whole column answers for most of its values.
	normal := isASCII(c.Bytes) || norm.NFC.IsNormal(c.Bytes)
	var out []byte
	var offsets []uint32
	var compose composer
	first := 0
	if normal && !l.collapse {
		first = trimmed(c)
	}
	for i := first; i < len(c.Offsets)-1; i++ {
		v := c.Bytes[c.Offsets[i]:c.Offsets[i+1]]
		clean := trim(v)
		if !normal {
			clean = compose.nfc(clean)
		}
		same := len(clean) == len(v) && (normal || bytes.Equal(clean, v))
		squeeze := l.collapse && !squeezed(clean)
		if offsets == nil {
			if same && !squeeze {
				continue
			}
			out = append(make([]byte, 0, len(c.Bytes)), c.Bytes[:c.Offsets[i]]...)
			offsets = append(make([]uint32, 0, len(c.Offsets)), c.Offsets[:i+1]...)
		}
		if squeeze {
			out = appendSqueezed(out, clean)
		} else {
			out = append(out, clean...)
		}
		offsets = append(offsets, uint32(len(out))) //nolint:gosec // a batch is far below 4 GiB
	}
	if offsets == nil {
		return c, false
	}
	c.Bytes, c.Offsets = out, offsets
	return c, true
}

// composer composes one value after the other in the same memory, which norm.Form's own methods do not.
type composer struct {
	iter norm.Iter
	out  []byte
}

// nfc gives v in NFC: v itself, or memory that the next call uses again.
func (c *composer) nfc(v []byte) []byte {
	if norm.NFC.QuickSpan(v) == len(v) {
		return v
	}
	c.out = c.out[:0]
	for c.iter.Init(norm.NFC, v); !c.iter.Done(); {
		c.out = append(c.out, c.iter.Next()...)
	}
	return c.out
}

// trimmed counts the values up to the first that may have something to trim.
func trimmed(c record.Column) int {
	lo := c.Offsets[0]
	for i, hi := range c.Offsets[1:] {
		if lo < hi && (!isGraphic(c.Bytes[lo]) || !isGraphic(c.Bytes[hi-1])) {
			return i
		}
		lo = hi
	}
	return len(c.Offsets) - 1
}

// trim looks at two bytes of a value that has nothing to trim.
func trim(v []byte) []byte {
	if n := len(v); n == 0 || isGraphic(v[0]) && isGraphic(v[n-1]) {
		return v
	}
	return bytes.TrimSpace(v)
}

func isGraphic(c byte) bool { return c-'!' < utf8.RuneSelf-'!' }

func isASCII(p []byte) bool {
	const high = 0x8080808080808080
	for ; len(p) >= 8; p = p[8:] {
		if binary.LittleEndian.Uint64(p)&high != 0 {
			return false
		}
	}
	for _, c := range p {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// squeezed says whether the only white space is single spaces.
func squeezed(v []byte) bool {
	space := false
	for i := 0; i < len(v); {
		c, n := rune(v[i]), 1
		if c >= utf8.RuneSelf {
			c, n = utf8.DecodeRune(v[i:])
		}
		switch {
		case !unicode.IsSpace(c):
			space = false
		case space || c != ' ':
			return false
		default:
			space = true
		}
		i += n
	}
	return true
}

func appendSqueezed(dst, v []byte) []byte {
	space := false
	for len(v) > 0 {
		c, n := utf8.DecodeRune(v)
		if unicode.IsSpace(c) {
			space = true
		} else {
			if space {
				dst = append(dst, ' ')
			}
			space = false
			dst = append(dst, v[:n]...)
		}
		v = v[n:]
	}
	return dst
}
