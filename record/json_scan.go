package record

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep a JSON value may nest.
const maxDepth = 64

var errTruncated = errors.New("the JSON ends too early")

// scanner reads JSON (RFC 8259) without making values of it.
type scanner struct {
	data    []byte
	pos     int
	depth   int
	scratch []byte
}

func (s *scanner) syntax(format string, args ...any) error {
	return fmt.Errorf("JSON at byte %d: %s", s.pos, fmt.Sprintf(format, args...))
}

// peek gives the first byte of the next token.
func (s *scanner) peek() (byte, error) {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c, nil
		}
	}
	return 0, errTruncated
}

// take wants one byte.
func (s *scanner) take(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return s.syntax("want %q, got %q", want, c)
	}
	s.pos++
	return nil
}

// end wants nothing but white space.
func (s *scanner) end() error {
	if c, err := s.peek(); err == nil {
		return s.syntax("%q after the value", c)
	}
	return nil
}

func (s *scanner) literal(word string) error {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return s.syntax("want %s", word)
	}
	s.pos += len(word)
	return nil
}

// object calls member at the value of each member.
func (s *scanner) object(member func(name []byte) error) error {
	return s.sequence('{', '}', func() error {
		name, err := s.string()
		if err != nil {
			return err
		}
		if err := s.take(':'); err != nil {
			return err
		}
		return member(name)
	})
}

// array calls element at each element.
func (s *scanner) array(element func() error) error { return s.sequence('[', ']', element) }

func (s *scanner) sequence(open, closing byte, each func() error) error {
	if err := s.take(open); err != nil {
		return err
	}
	if s.depth++; s.depth > maxDepth {
		return s.syntax("nested deeper than %d", maxDepth)
	}
	defer func() { s.depth-- }()
	if c, err := s.peek(); err != nil || c == closing {
		s.pos++
		return err
	}
	for {
		if err := each(); err != nil {
			return err
		}
		c, err := s.peek()
		if err != nil {
			return err
		}
		s.pos++
		switch c {
		case closing:
			return nil
		case ',':
		default:
			s.pos--
			return s.syntax("want ',' or %q, got %q", closing, c)
		}
	}
}

// skip passes over one value.
func (s *scanner) skip() error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func([]byte) error { return s.skip() })
	case '[':
		return s.array(func() error { return s.skip() })
	case '"':
		_, err = s.string()
	case 't':
		err = s.literal("true")
	case 'f':
		err = s.literal("false")
	case 'n':
		err = s.literal("null")
	default:
		_, err = s.number()
	}
	return err
}

// number gives the text of a number.
func (s *scanner) number() ([]byte, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	start := s.pos
	if c == '-' {
		s.pos++
	}
	whole := s.digits()
	if whole == 0 || whole > 1 && s.data[s.pos-whole] == '0' {
		s.pos = start
		return nil, s.syntax("want a number, got %s", kindOf(c))
	}
	if s.at('.') {
		s.pos++
		if s.digits() == 0 {
			return nil, s.syntax("a digit must follow the point")
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if s.digits() == 0 {
			return nil, s.syntax("the exponent has no digit")
		}
	}
	return s.data[start:s.pos], nil
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.data) && s.data[s.pos] == c }

func (s *scanner) digits() int {
	start := s.pos
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos - start
}

// string gives the value of a string, valid until the next call; it is part of the data when nothing is escaped.
func (s *scanner) string() ([]byte, error) {
	if err := s.take('"'); err != nil {
		return nil, err
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			text := s.data[start:s.pos]
			s.pos++
			if !utf8.Valid(text) {
				return nil, s.syntax("a string is not UTF-8")
			}
			return text, nil
		case c == '\\':
			s.scratch = append(s.scratch[:0], s.data[start:s.pos]...)
			return s.escaped()
		case c < ' ':
			return nil, s.syntax("a control character in a string")
		}
		s.pos++
	}
	return nil, errTruncated
}

// escaped goes on with a string at its first backslash.
func (s *scanner) escaped() ([]byte, error) {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			if !utf8.Valid(s.scratch) {
				return nil, s.syntax("a string is not UTF-8")
			}
			return s.scratch, nil
		case c < ' ':
			return nil, s.syntax("a control character in a string")
		case c != '\\':
			s.scratch = append(s.scratch, c)
		default:
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, errTruncated
}

func (s *scanner) escape() error {
	if s.pos >= len(s.data) {
		return errTruncated
	}
	c := s.data[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, err := s.unicode()
		s.scratch = utf8.AppendRune(s.scratch, r)
		return err
	default:
		return s.syntax("unknown escape \\%c", c)
	}
	s.scratch = append(s.scratch, c)
	return nil
}

func (s *scanner) unicode() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.at('\\') {
		s.pos++
		if err := s.literal("u"); err != nil {
			return 0, err
		}
		low, err := s.hex4()
		if err != nil {
			return 0, err
		}
		if whole := utf16.DecodeRune(r, low); whole != utf8.RuneError {
			return whole, nil
		}
	}
	return 0, s.syntax("half of a surrogate pair")
}

func (s *scanner) hex4() (rune, error) {
	if len(s.data)-s.pos < 4 {
		return 0, errTruncated
	}
	var r rune
	for _, c := range s.data[s.pos : s.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.syntax("want 4 hexadecimal digits")
		}
		r = r<<4 | rune(c)
	}
	s.pos += 4
	return r, nil
}
