package postgres

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/acequia-io/acequia/record"
)

// span is where a value lies in a buffer; a negative length is NULL.
type span struct{ at, n int32 }

const (
	// blockRows is how many rows are decoded at a time, column by column: few enough for the processor's first cache.
	blockRows = 128
	// blockStride keeps the spans of the columns from falling on the same lines of that cache.
	blockStride = blockRows + 8
	// slack is how many bytes behind the values of a buffer may be read.
	slack = 16
)

// block is some rows in binary. The buffer is slack longer than its values need.
type block struct {
	buf   []byte
	spans []span // of column c and row r at c*blockStride+r
}

func (b *block) column(c, from, to int) []span { return b.spans[c*blockStride+from : c*blockStride+to] }

func (b *block) value(c, row int) []byte {
	s := b.spans[c*blockStride+row]
	if s.n < 0 {
		return nil
	}
	return b.buf[s.at : s.at+s.n : s.at+s.n]
}

// column decodes the values of one column into field f. When one cannot be held and is refused, it gives its place in at.
func (d *Decoder) column(f int, buf []byte, at []span) (bad int, err error) {
	c, dst := &d.layout.fields[f].codec, &d.columns[f]
	switch {
	case c.cast || c.verify:
	case c.op == opInt64 || c.op == opStamp || c.op == opStampTZ:
		return d.words(f, buf, at)
	case c.op == opInt32 || c.op == opDate:
		return d.halves(f, buf, at)
	case c.op == opNarrow:
		return d.narrows(f, buf, at)
	case c.op == opText:
		d.texts(dst, buf, at)
		return 0, nil
	}
	for i, s := range at {
		if s.n < 0 {
			d.null(f, d.rows+i)
			continue
		}
		v := buf[s.at : s.at+s.n : s.at+s.n]
		if err := c.binary(dst, v, d.rows+i); err != nil {
			if err := d.odd(f, d.rows+i, v, err); err != nil {
				return i, err
			}
		}
	}
	return 0, nil
}

// extend makes room for n values, which the caller writes.
func extend[T any](s []T, n int) []T { return slices.Grow(s, n)[:len(s)+n] }

// words decodes values of eight bytes.
func (d *Decoder) words(f int, buf []byte, at []span) (bad int, err error) {
	c, dst := &d.layout.fields[f].codec, &d.columns[f]
	before := len(dst.Ints)
	dst.Ints = extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	lowest, highest, epoch := int64(math.MinInt64), int64(math.MaxInt64), int64(0)
	if c.op != opInt64 {
		lowest, highest, epoch = firstMicros-epochMicros, lastMicros-epochMicros, epochMicros
	}
	for i, s := range at {
		out[i] = 0
		if s.n == 8 {
			n := int64(binary.BigEndian.Uint64(buf[s.at:])) //nolint:gosec // signed
			if n >= lowest && n <= highest {
				out[i] = n + epoch
				continue
			}
		}
		if err := d.gap(f, i, buf, s); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// halves decodes values of four bytes.
func (d *Decoder) halves(f int, buf []byte, at []span) (bad int, err error) {
	c, dst := &d.layout.fields[f].codec, &d.columns[f]
	before := len(dst.Ints)
	dst.Ints = extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	lowest, highest, epoch := int64(math.MinInt32), int64(math.MaxInt32), int64(0)
	if c.op == opDate {
		lowest, highest, epoch = firstDay-epochDays, lastDay-epochDays, epochDays
	}
	for i, s := range at {
		out[i] = 0
		if s.n == 4 {
			n := int64(int32(binary.BigEndian.Uint32(buf[s.at:]))) //nolint:gosec // signed
			if n >= lowest && n <= highest {
				out[i] = n + epoch
				continue
			}
		}
		if err := d.gap(f, i, buf, s); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// narrows decodes decimals of at most 18 digits.
func (d *Decoder) narrows(f int, buf []byte, at []span) (bad int, err error) {
	c, dst := &d.layout.fields[f].codec, &d.columns[f]
	before := len(dst.Ints)
	dst.Ints = extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	scale, limit := c.field.Scale, tens[c.field.Precision]
	for i, s := range at {
		out[i] = 0
		if s.n >= numericHead {
			v := buf[s.at : s.at+s.n]
			n, ok := narrow(v, scale, limit)
			if ok {
				out[i] = n
				continue
			}
			if wide, err := decimal(v, c.field.Precision, scale); err == nil {
				out[i] = int64(wide.Lo) //nolint:gosec // at most 18 digits
				continue
			}
		}
		if err := d.gap(f, i, buf, s); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// narrow reads a numeric of few digits; not ok says nothing, and decimal has to read it.
func narrow(v []byte, scale int, limit uint64) (n int64, ok bool) {
	head := binary.BigEndian.Uint64(v)
	digits, weight, sign := int(head>>48), int(int16(head>>32)), uint16(head>>16) //nolint:gosec // its four fields
	rest := 4*(weight-digits+1) + scale                                           // the last digit counts 10^rest
	if len(v) != numericHead+2*digits || 4*(weight+1)+scale > 19 || rest < -3 || sign&^numericNegative != 0 {
		return 0, false
	}
	if digits == 0 {
		return 0, true
	}
	d, u := v[numericHead:], uint64(0)
	for ; len(d) > 2; d = d[2:] {
		u = u*10000 + uint64(binary.BigEndian.Uint16(d))
	}
	last, exact := uint64(binary.BigEndian.Uint16(d)), true
	switch rest {
	case -1:
		u, exact = u*1000+last/10, last%10 == 0
	case -2:
		u, exact = u*100+last/100, last%100 == 0
	case -3:
		u, exact = u*10+last/1000, last%1000 == 0
	default:
		u = (u*10000 + last) * tens[rest]
	}
	if !exact || u >= limit {
		return 0, false
	}
	if sign == numericNegative {
		return -int64(u), true //nolint:gosec // below limit
	}
	return int64(u), true //nolint:gosec // below limit
}

// texts copies texts, short ones by two words.
func (d *Decoder) texts(dst *record.Column, buf []byte, at []span) {
	total := slack
	for _, s := range at {
		total += int(max(s.n, 0))
	}
	bytes := slices.Grow(dst.Bytes, total)
	before := len(dst.Offsets)
	dst.Offsets = extend(dst.Offsets, len(at))
	out := dst.Offsets[before:]
	end := len(bytes)
	bytes = bytes[:cap(bytes)]
	for i, s := range at {
		switch {
		case s.n < 0:
			dst.SetNull(d.rows + i)
		case s.n <= slack:
			copy(bytes[end:end+slack], buf[s.at:s.at+slack])
			end += int(s.n)
		default:
			end += copy(bytes[end:], buf[s.at:s.at+s.n])
		}
		out[i] = uint32(end) //nolint:gosec // Decoder keeps below 4 GiB
	}
	dst.Bytes = bytes[:end]
}

// gap is for the slot of row i, which is zero already: NULL, or a value that is odd or malformed.
func (d *Decoder) gap(f, i int, buf []byte, s span) error {
	if s.n < 0 {
		d.columns[f].SetNull(d.rows + i)
		return nil
	}
	c := &d.layout.fields[f].codec
	v := buf[s.at : s.at+s.n : s.at+s.n]
	var probe record.Column
	err := c.binary(&probe, v, 0)
	if err == nil {
		err = errMalformed // the kernel reads all that can be read
	}
	if err := d.beside(f, d.rows+i, v, err); err != nil {
		return err
	}
	d.columns[f].SetNull(d.rows + i)
	return nil
}
