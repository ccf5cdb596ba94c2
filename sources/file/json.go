package file

import (
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a JSON value may nest, as in package record.
const maxDepth = 64

var errTruncated = errors.New("the JSON ends too early")

// cursor reads JSON (RFC 8259) that is UTF-8.
type cursor struct {
	data    []byte // with slack bytes behind
	pos     int
	scratch []byte
}

func (c *cursor) syntax(what string) error {
	if c.pos >= len(c.data) {
		return errTruncated
	}
	return fmt.Errorf("%s, got %q at byte %d", what, c.data[c.pos], c.pos)
}

// peek gives the first byte of the next token, 0 at the end.
func (c *cursor) peek() byte {
	for c.pos < len(c.data) {
		switch b := c.data[c.pos]; b {
		case ' ', '\t', '\r', '\n':
			c.pos++
		default:
			return b
		}
	}
	return 0
}

func (c *cursor) literal(word string) error {
	if len(c.data)-c.pos < len(word) || string(c.data[c.pos:c.pos+len(word)]) != word {
		return c.syntax("want " + word)
	}
	c.pos += len(word)
	return nil
}

// number gives the text of a number.
func (c *cursor) number() ([]byte, error) {
	start := c.pos
	if c.data[c.pos] == '-' {
		c.pos++
	}
	first := c.pos
	if c.digits() == 0 {
		return nil, c.syntax("want a digit")
	}
	if c.data[first] == '0' && c.pos > first+1 {
		c.pos = first
		return nil, c.syntax("a number may not begin with 0")
	}
	if c.at('.') {
		c.pos++
		if c.digits() == 0 {
			return nil, c.syntax("want a digit after the point")
		}
	}
	if c.at('e') || c.at('E') {
		c.pos++
		if c.at('+') || c.at('-') {
			c.pos++
		}
		if c.digits() == 0 {
			return nil, c.syntax("want a digit in the exponent")
		}
	}
	return c.data[start:c.pos], nil
}

func (c *cursor) at(b byte) bool { return c.pos < len(c.data) && c.data[c.pos] == b }

func (c *cursor) digits() int {
	start := c.pos
	for c.pos < len(c.data) && c.data[c.pos]-'0' <= 9 {
		c.pos++
	}
	return c.pos - start
}

// string gives the value of a string, valid until the next call.
func (c *cursor) string() ([]byte, error) {
	if !c.at('"') {
		return nil, c.syntax("want a string")
	}
	c.pos++
	rest := c.data[c.pos:]
	n := plainText(rest)
	if n < len(rest) && rest[n] == '"' {
		c.pos += n + 1
		return rest[:n:n], nil
	}
	c.scratch = append(c.scratch[:0], rest[:n]...)
	c.pos += n
	for c.pos < len(c.data) {
		switch b := c.data[c.pos]; {
		case b == '"':
			c.pos++
			return c.scratch, nil
		case b < ' ':
			return nil, c.syntax("a control character stands in a string")
		case b != '\\':
			n := plainText(c.data[c.pos:])
			c.scratch = append(c.scratch, c.data[c.pos:c.pos+n]...)
			c.pos += n
		default:
			c.pos++
			if err := c.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, errTruncated
}

func (c *cursor) escape() error {
	if c.pos >= len(c.data) {
		return errTruncated
	}
	b := c.data[c.pos]
	switch b {
	case '"', '\\', '/':
	case 'b':
		b = '\b'
	case 'f':
		b = '\f'
	case 'n':
		b = '\n'
	case 'r':
		b = '\r'
	case 't':
		b = '\t'
	case 'u':
		c.pos++
		r, err := c.unicode()
		c.scratch = utf8.AppendRune(c.scratch, r)
		return err
	default:
		return c.syntax("want an escape")
	}
	c.pos++
	c.scratch = append(c.scratch, b)
	return nil
}

func (c *cursor) unicode() (rune, error) {
	r, err := c.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if err := c.literal(`\u`); err != nil {
		return 0, err
	}
	low, err := c.hex4()
	if err != nil {
		return 0, err
	}
	if whole := utf16.DecodeRune(r, low); whole != utf8.RuneError {
		return whole, nil
	}
	return 0, errors.New("half of a surrogate pair")
}

func (c *cursor) hex4() (rune, error) {
	if len(c.data)-c.pos < 4 {
		return 0, errTruncated
	}
	var r rune
	for range 4 {
		b := c.data[c.pos]
		switch {
		case b >= '0' && b <= '9':
			b -= '0'
		case b >= 'a' && b <= 'f':
			b -= 'a' - 10
		case b >= 'A' && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, c.syntax("want a hexadecimal digit")
		}
		r = r<<4 | rune(b)
		c.pos++
	}
	return r, nil
}

// skip passes over one value.
func (c *cursor) skip(depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	switch b := c.peek(); {
	case b == '{':
		return c.sequence('}', func() error {
			c.peek()
			if _, err := c.string(); err != nil {
				return err
			}
			if c.peek() != ':' {
				return c.syntax("want ':' after a name")
			}
			c.pos++
			return c.skip(depth + 1)
		})
	case b == '[':
		return c.sequence(']', func() error { return c.skip(depth + 1) })
	case b == '"':
		_, err := c.string()
		return err
	case b == 't':
		return c.literal("true")
	case b == 'f':
		return c.literal("false")
	case b == 'n':
		return c.literal("null")
	case b == '-' || b >= '0' && b <= '9':
		_, err := c.number()
		return err
	}
	return c.syntax("want a value")
}

func (c *cursor) sequence(closing byte, each func() error) error {
	c.pos++
	if c.peek() == closing {
		c.pos++
		return nil
	}
	for {
		if err := each(); err != nil {
			return err
		}
		switch c.peek() {
		case closing:
			c.pos++
			return nil
		case ',':
			c.pos++
		default:
			return c.syntax("want ',' or the end of the sequence")
		}
	}
}

func base64Decode(dst, text []byte) ([]byte, error) {
	return base64.StdEncoding.AppendDecode(dst, text)
}
