package file

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
)

// problem is what is wrong with a record: it becomes a dead letter.
type problem struct {
	code   string
	column string
	err    error
}

// piece is what a scanner found at the beginning of what it was shown. When n is 0 it needs to see more.
type piece struct {
	n     int  // bytes
	lines int  // that end in them
	row   bool // there is a record: it was set in the table, or bad says why not
	bad   *problem
}

// scanner takes records apart.
type scanner interface {
	// scan sets the first record of buf in the table. last says that nothing follows buf. Slack bytes behind it may be read.
	scan(buf []byte, last bool, t *table) piece
}

// span is where the value of a field stands in its record, without quotes.
type span struct {
	lo, hi  int32
	quoted  bool
	doubled bool // there are doubled quotes in it
}

// csv takes records apart as RFC 4180 has them, with any delimiter of one byte.
type csv struct {
	delimiter byte
	fields    []span // of the record
	count     int    // of the record; fields may be shorter when the record is too long for the header
	high      bool   // the record has bytes above ASCII
	names     []string
	from      []int // by column of the table: its field
	text      []byte
}

// newCSV makes a scanner for records of so many fields; 0: any number.
func newCSV(delimiter byte, fields int) *csv {
	return &csv{delimiter: delimiter, fields: make([]span, fields)}
}

var (
	errBareQuote   = errors.New("a quote stands inside a field that does not begin with one")
	errAfterQuote  = errors.New("something follows a closing quote")
	errOpenedQuote = errors.New("a quote is opened and never closed")
)

func (c *csv) scan(buf []byte, last bool, t *table) piece {
	p, err := c.split(buf, last)
	switch {
	case err != nil:
		p.bad = &problem{code: codeQuote, err: err}
		return p
	case !p.row:
		return p
	case c.count != len(c.names):
		p.bad = &problem{code: codeRagged, err: fmt.Errorf("%d fields, but %d columns", c.count, len(c.names))}
		return p
	}
	known := !c.high || utf8.Valid(buf[:p.n])
	for column, field := range c.from {
		s := c.fields[field]
		var err error
		switch {
		case s.lo == s.hi && !s.quoted:
			err = t.null(column)
		case s.doubled:
			err = t.text(column, c.undouble(buf[s.lo:s.hi]), known)
		default:
			err = t.text(column, buf[s.lo:s.hi], known)
		}
		if err != nil {
			t.undo()
			p.bad = &problem{code: codeOf(err), column: t.schema.Fields[column].Name, err: err}
			return p
		}
	}
	return p
}

// codeOf gives the code of a value's error.
func codeOf(err error) string {
	switch {
	case errors.Is(err, errUTF8):
		return codeText
	case errors.Is(err, errNoKey):
		return codeKey
	}
	return codeValue
}

// undouble makes one quote of two.
func (c *csv) undouble(v []byte) []byte {
	c.text = c.text[:0]
	for {
		at := bytes.IndexByte(v, '"')
		if at < 0 {
			c.text = append(c.text, v...)
			return c.text
		}
		c.text = append(c.text, v[:at+1]...)
		v = v[at+2:]
	}
}

// split finds the fields of the first record of buf. An error means that the first line is no record, nor the beginning
// of one: reading goes on behind it.
func (c *csv) split(buf []byte, last bool) (piece, error) {
	c.count, c.high = 0, false
	end := bytes.IndexByte(buf, '\n')
	line, n := buf, len(buf)
	switch {
	case end >= 0:
		line, n = buf[:end], end+1
	case !last:
		return piece{}, nil
	}
	if bytes.IndexByte(line, '"') >= 0 {
		return c.splitQuoted(buf, last, n)
	}
	if k := len(line); k > 0 && line[k-1] == '\r' {
		line = line[:k-1]
	}
	p := piece{n: n, lines: 1, row: len(line) > 0}
	if p.row {
		c.splitPlain(line)
	}
	return p, nil
}

const (
	eachByte = 0x0101010101010101
	topBits  = 0x8080808080808080
)

// matches sets the top bit of each byte of w that is b, and no other.
func matches(w, b uint64) uint64 {
	x := w ^ b*eachByte
	return ^((x&^topBits + ^uint64(topBits)) | x) & topBits
}

// splitPlain finds the fields of a line without quotes, 8 bytes at a time.
func (c *csv) splitPlain(line []byte) {
	size := len(line)
	all := line[:size+8]
	fields, count, start := c.fields, 0, int32(0)
	delimiter := uint64(c.delimiter)
	var high uint64
	for i := 0; i < size; i += 8 {
		w := binary.LittleEndian.Uint64(all[i:])
		if over := i + 8 - size; over > 0 {
			w &= ^uint64(0) >> (8 * uint(over))
		}
		high |= w
		for m := matches(w, delimiter); m != 0; m &= m - 1 {
			at := int32(i + bits.TrailingZeros64(m)>>3) //nolint:gosec // a record is far below 2 GiB
			if count < len(fields) {
				fields[count] = span{lo: start, hi: at}
			}
			count++
			start = at + 1
		}
	}
	if count < len(fields) {
		fields[count] = span{lo: start, hi: int32(size)} //nolint:gosec // as above
	}
	c.count, c.high = count+1, high&topBits != 0
}

// splitQuoted finds the fields of a record with quotes in its first line, which is first bytes long.
func (c *csv) splitQuoted(buf []byte, last bool, first int) (piece, error) {
	c.high = true // not looked at
	bad := piece{n: first, lines: 1, row: true}
	i := 0
	for {
		s := span{lo: int32(i), quoted: i < len(buf) && buf[i] == '"'}
		end := c.bare
		if s.quoted {
			end = c.quoted
		}
		next, err := end(buf, i, &s)
		switch {
		case err != nil:
			return bad, err
		case next < 0 && !last:
			return piece{}, nil
		case next < 0 && s.hi < 0:
			return bad, errOpenedQuote
		}
		if c.count < len(c.fields) {
			c.fields[c.count] = s
		}
		c.count++
		if next < 0 {
			next = len(buf)
		} else if buf[next] == c.delimiter {
			i = next + 1
			continue
		}
		n := next
		if n < len(buf) { // at the end of the line, which may be of two bytes
			n += bytes.IndexByte(buf[next:], '\n') + 1
		}
		lines := bytes.Count(buf[:n], []byte{'\n'})
		return piece{n: n, lines: max(1, lines), row: true}, nil
	}
}

// quoted finds the end of the field that begins with the quote at i: next is the place of the delimiter or the end of the
// line, and negative when buf ends before it is known.
func (c *csv) quoted(buf []byte, i int, s *span) (next int, err error) {
	s.lo, s.hi = int32(i+1), -1 //nolint:gosec // a record is far below 2 GiB
	j := i + 1
	for {
		q := bytes.IndexByte(buf[j:], '"')
		if q < 0 {
			return -1, nil
		}
		j += q + 1
		if j < len(buf) && buf[j] == '"' {
			s.doubled = true
			j++
			continue
		}
		break
	}
	s.hi = int32(j - 1) //nolint:gosec // as above
	switch {
	case j == len(buf), j == len(buf)-1 && buf[j] == '\r':
		return -1, nil
	case buf[j] == c.delimiter, buf[j] == '\n', buf[j] == '\r' && buf[j+1] == '\n':
		return j, nil
	}
	return 0, errAfterQuote
}

// bare finds the end of the field without quotes that begins at i, as quoted does.
func (c *csv) bare(buf []byte, i int, s *span) (next int, err error) {
	for j := i; j < len(buf); j++ {
		switch buf[j] {
		case c.delimiter:
			s.hi = int32(j) //nolint:gosec // a record is far below 2 GiB
			return j, nil
		case '\n':
			s.hi = int32(j) //nolint:gosec // as above
			if j > i && buf[j-1] == '\r' {
				s.hi--
			}
			return j, nil
		case '"':
			return 0, errBareQuote
		}
	}
	s.hi = int32(len(buf)) //nolint:gosec // as above
	if len(buf) > i && buf[len(buf)-1] == '\r' {
		s.hi--
	}
	return -1, nil
}
