package mysql

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// integers decodes numbers of at most 63 bits.
func (d *Decoder) integers(f int, c *codec, buf []byte, at []gather.Span) (bad int, err error) {
	dst := &d.Columns[f]
	before := len(dst.Ints)
	dst.Ints = gather.Extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	for i, s := range at {
		if s.N < 0 {
			out[i] = 0
			dst.SetNull(d.Count + i)
			continue
		}
		v := binary.LittleEndian.Uint64(buf[s.At:]) // there is slack
		switch {
		case c.width == 8:
			out[i] = int64(v) //nolint:gosec // signed
		case c.width == 4 && c.op == opInt:
			out[i] = int64(int32(v)) //nolint:gosec // signed
		case c.width == 4:
			out[i] = int64(uint32(v)) //nolint:gosec // its lower half
		case c.width == 2 && c.op == opInt:
			out[i] = int64(int16(v)) //nolint:gosec // signed
		case c.width == 2:
			out[i] = int64(uint16(v)) //nolint:gosec // its lowest bytes
		case c.op == opInt:
			out[i] = int64(int8(v)) //nolint:gosec // signed
		default:
			out[i] = int64(uint8(v)) //nolint:gosec // its lowest byte
		}
	}
	return 0, nil
}

// narrows decodes decimals of at most 18 digits.
func (d *Decoder) narrows(f int, c *codec, buf []byte, at []gather.Span) (bad int, err error) {
	dst := &d.Columns[f]
	before := len(dst.Ints)
	dst.Ints = gather.Extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	for i, s := range at {
		out[i] = 0
		if s.N < 0 {
			dst.SetNull(d.Count + i)
			continue
		}
		n, ok := narrow(buf[s.At:s.At+s.N], c.field.Scale)
		if !ok {
			return i, &gather.ColumnError{Field: f, Err: errMalformed}
		}
		out[i] = n
	}
	return 0, nil
}

// narrow reads a decimal of at most 18 digits as its unscaled value. The server sends all digits of the column's scale, and a field that
// was widened wants more.
func narrow(v []byte, scale int) (n int64, ok bool) {
	const most = 20 // with its sign and its point
	if len(v) == 0 || len(v) > most {
		return 0, false
	}
	negative := v[0] == '-'
	if negative {
		v = v[1:]
	}
	after := 0
	for i, b := range v {
		if b -= '0'; b < 10 {
			n = n*10 + int64(b)
			continue
		}
		if v[i] != '.' || after > 0 {
			return 0, false
		}
		after = len(v) - i - 1
	}
	for ; after < scale; after++ {
		n *= 10
	}
	if negative {
		n = -n
	}
	return n, after == scale
}

// wide reads a decimal of at most 38 digits.
func wide(v []byte, scale int) (record.Int128, bool) {
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		v = v[1:]
	}
	var hi, lo uint64
	digit := func(b uint64) bool {
		h1, l1 := bits.Mul64(lo, 10)
		h2, l2 := bits.Mul64(hi, 10)
		var carry uint64
		lo, carry = bits.Add64(l1, b, 0)
		hi, carry = bits.Add64(l2, h1, carry)
		return h2 == 0 && carry == 0 && hi < 1<<63
	}
	after, point := 0, false
	for _, b := range v {
		switch {
		case b == '.' && !point:
			point = true
			continue
		case b < '0' || b > '9' || !digit(uint64(b-'0')):
			return record.Int128{}, false
		case point:
			after++
		}
	}
	for ; after < scale; after++ {
		if !digit(0) {
			return record.Int128{}, false
		}
	}
	if negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return record.Int128{Hi: int64(hi), Lo: lo}, after == scale && len(v) > 0 //nolint:gosec // two's complement
}

// value appends a value of a type that has no loop of its own.
func (c *codec) value(dst *record.Column, v []byte) error {
	if c.width > 0 && len(v) != c.width && c.op != opUint64 {
		return errMalformed
	}
	switch c.op {
	case opUint64:
		if len(v) != 8 {
			return errMalformed
		}
		dst.Wide = append(dst.Wide, record.Int128{Lo: binary.LittleEndian.Uint64(v)})
	case opFloat32:
		dst.Floats = append(dst.Floats, float64(math.Float32frombits(binary.LittleEndian.Uint32(v))))
	case opFloat64:
		dst.Floats = append(dst.Floats, math.Float64frombits(binary.LittleEndian.Uint64(v)))
	case opWide:
		n, ok := wide(v, c.field.Scale)
		if !ok {
			return errMalformed
		}
		dst.Wide = append(dst.Wide, n)
	case opBit, opBit64:
		n, ok := bigEndian(v)
		switch {
		case !ok || c.op == opBit && n > math.MaxInt64:
			return errMalformed
		case c.op == opBit64:
			dst.Wide = append(dst.Wide, record.Int128{Lo: n})
		default:
			dst.Ints = append(dst.Ints, int64(n)) //nolint:gosec // checked above
		}
	default: // what is held as text
		text, err := c.render(v)
		if err != nil {
			return err
		}
		dst.AppendText(text)
	}
	return nil
}

// bigEndian reads the bits of a BIT.
func bigEndian(v []byte) (n uint64, ok bool) {
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	return n, len(v) > 0 && len(v) <= 8
}

// geometry makes extended well-known binary of what the server sends: a SRID, then well-known binary. Without a SRID they are the same
// (https://dev.mysql.com/doc/refman/8.4/en/gis-data-formats.html).
func geometry(dst, v []byte) ([]byte, error) {
	const head, withSRID = 4 + 1 + 4, 0x20000000
	if len(v) < head || v[4] > 1 {
		return dst, errMalformed
	}
	srid, body := binary.LittleEndian.Uint32(v), v[4:]
	if srid == 0 {
		return append(dst, body...), nil
	}
	dst = append(dst, body[0])
	if body[0] == 1 {
		dst = binary.LittleEndian.AppendUint32(dst, binary.LittleEndian.Uint32(body[1:])|withSRID)
		dst = binary.LittleEndian.AppendUint32(dst, srid)
	} else {
		dst = binary.BigEndian.AppendUint32(dst, binary.BigEndian.Uint32(body[1:])|withSRID)
		dst = binary.BigEndian.AppendUint32(dst, srid)
	}
	return append(dst, body[5:]...), nil
}
