package postgres

import (
	"encoding/binary"
	"math"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// column decodes the values of one column into field f. When one cannot be held and is refused, it gives its place in at.
func (d *Decoder) column(f int, buf []byte, at []gather.Span) (bad int, err error) {
	c, dst := &d.layout.codecs[f], &d.Columns[f]
	switch {
	case c.cast || c.verify:
	case c.op == opInt64 || c.op == opStamp || c.op == opStampTZ:
		return d.words(f, buf, at)
	case c.op == opInt32 || c.op == opDate:
		return d.halves(f, buf, at)
	case c.op == opNarrow:
		return d.narrows(f, buf, at)
	case c.op == opText:
		d.Texts(f, buf, at)
		return 0, nil
	}
	for i, s := range at {
		if s.N < 0 {
			d.Null(f, d.Count+i)
			continue
		}
		v := buf[s.At : s.At+s.N : s.At+s.N]
		if err := c.binary(dst, v, d.Count+i); err != nil {
			if err := d.odd(f, d.Count+i, v, err); err != nil {
				return i, err
			}
		}
	}
	return 0, nil
}

// words decodes values of eight bytes.
func (d *Decoder) words(f int, buf []byte, at []gather.Span) (bad int, err error) {
	c, dst := &d.layout.codecs[f], &d.Columns[f]
	before := len(dst.Ints)
	dst.Ints = gather.Extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	lowest, highest, epoch := int64(math.MinInt64), int64(math.MaxInt64), int64(0)
	if c.op != opInt64 {
		lowest, highest, epoch = firstMicros-epochMicros, lastMicros-epochMicros, epochMicros
	}
	for i, s := range at {
		out[i] = 0
		if s.N == 8 {
			n := int64(binary.BigEndian.Uint64(buf[s.At:])) //nolint:gosec // signed
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
func (d *Decoder) halves(f int, buf []byte, at []gather.Span) (bad int, err error) {
	c, dst := &d.layout.codecs[f], &d.Columns[f]
	before := len(dst.Ints)
	dst.Ints = gather.Extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	lowest, highest, epoch := int64(math.MinInt32), int64(math.MaxInt32), int64(0)
	if c.op == opDate {
		lowest, highest, epoch = firstDay-epochDays, lastDay-epochDays, epochDays
	}
	for i, s := range at {
		out[i] = 0
		if s.N == 4 {
			n := int64(int32(binary.BigEndian.Uint32(buf[s.At:]))) //nolint:gosec // signed
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
func (d *Decoder) narrows(f int, buf []byte, at []gather.Span) (bad int, err error) {
	c, dst := &d.layout.codecs[f], &d.Columns[f]
	before := len(dst.Ints)
	dst.Ints = gather.Extend(dst.Ints, len(at))
	out := dst.Ints[before:]
	scale, limit := c.field.Scale, tens[c.field.Precision]
	for i, s := range at {
		out[i] = 0
		if s.N >= numericHead {
			v := buf[s.At : s.At+s.N]
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

// gap is for the slot of row i, which is zero already: NULL, or a value that is odd or malformed.
func (d *Decoder) gap(f, i int, buf []byte, s gather.Span) error {
	if s.N < 0 {
		d.Columns[f].SetNull(d.Count + i)
		return nil
	}
	c := &d.layout.codecs[f]
	v := buf[s.At : s.At+s.N : s.At+s.N]
	var probe record.Column
	err := c.binary(&probe, v, 0)
	if err == nil {
		err = errMalformed // the kernel reads all that can be read
	}
	if err := d.beside(f, d.Count+i, v, err); err != nil {
		return err
	}
	d.Columns[f].SetNull(d.Count + i)
	return nil
}
