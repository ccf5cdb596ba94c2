package parquet

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/acequia-io/acequia/record"

	enc "github.com/parquet-go/parquet-go/encoding"
)

// words appends integers, and what is stored as such.
func (p *packed) words(out *record.Column, data *enc.Values, lo, hi int, bad func(int, error)) {
	at := len(out.Ints)
	out.Ints = slices.Grow(out.Ints, hi-lo)
	switch {
	case data.Kind() == enc.Int64:
		out.Ints = append(out.Ints, data.Int64()[lo:hi]...)
	case p.from.as == unsigned:
		for _, v := range data.Uint32()[lo:hi] {
			out.Ints = append(out.Ints, int64(v))
		}
	default:
		dst := out.Ints[:at+hi-lo]
		for i, v := range data.Int32()[lo:hi] {
			dst[at+i] = int64(v)
		}
		out.Ints = dst
	}
	v := out.Ints[at:]
	switch p.to.Kind {
	case record.Decimal:
		p.decimals(out, at, data.Kind() == enc.Int64 && p.from.as == unsigned, bad)
	case record.Timestamp, record.LocalTimestamp:
		p.times(v, bad)
	case record.Int32, record.Date:
		for i, n := range v {
			if int64(int32(n)) != n { //nolint:gosec // that is the question
				bad(i, fmt.Errorf("%d does not fit 32 bits", n))
				v[i] = 0
			}
		}
	}
}

// times makes microseconds of what a file counts.
func (p *packed) times(v []int64, bad func(int, error)) {
	const most = int64(1) << 62 / 1000
	switch p.from.as {
	case millis:
		for i, n := range v {
			if n >= most || n <= -most {
				bad(i, fmt.Errorf("%d milliseconds are too many", n))
				n = 0
			}
			v[i] = n * 1000
		}
	case nanos:
		for i, n := range v {
			if n%1000 != 0 {
				bad(i, errFine)
			}
			v[i] = n / 1000
		}
	}
}

// decimals makes unscaled values of integers, which stand in Ints from at.
func (p *packed) decimals(out *record.Column, at int, sign bool, bad func(int, error)) {
	v := out.Ints[at:]
	zeros := p.to.Scale - p.from.field.Scale
	if !p.to.Wide() && zeros == 0 && !sign {
		limit := int64(powers[p.to.Precision].Lo) //nolint:gosec // below 10^19
		for i, n := range v {
			if n >= limit || n <= -limit {
				bad(i, misfit(p.to))
				v[i] = 0
			}
		}
		return
	}
	values := slices.Clone(v)
	out.Ints = out.Ints[:at]
	for i, n := range values {
		w := widened(n)
		if sign {
			w.Hi = 0
		}
		p.decimal(out, w, i, bad)
	}
	if p.to.Wide() {
		out.Ints = nil
	}
}

func misfit(f *record.Field) error { return fmt.Errorf("the value does not fit %s", f.TypeName()) }

// decimal appends an unscaled value with the zeros that the field has behind it.
func (p *packed) decimal(out *record.Column, w record.Int128, i int, bad func(int, error)) {
	f, zeros := p.to, p.to.Scale-p.from.field.Scale
	high, low := uint64(w.Hi), w.Lo //nolint:gosec // two's complement
	negative := w.Hi < 0
	if negative {
		high, low = negate(high, low)
	}
	if limit := powers[max(0, f.Precision-zeros)]; f.Precision < zeros || high > uint64(limit.Hi) || high == uint64(limit.Hi) && low >= limit.Lo { //nolint:gosec // positive
		bad(i, misfit(f))
		high, low = 0, 0
	}
	for range zeros {
		h, l := bits.Mul64(low, 10)
		high, low = high*10+h, l
	}
	if negative {
		high, low = negate(high, low)
	}
	if f.Wide() {
		out.Wide = append(out.Wide, record.Int128{Hi: int64(high), Lo: low})
	} else {
		out.Ints = append(out.Ints, int64(low))
	}
}

func negate(high, low uint64) (uint64, uint64) {
	l, borrow := bits.Sub64(0, low, 0)
	h, _ := bits.Sub64(0, high, borrow)
	return h, l
}

// bigEndian reads a number of any length that fits 128 bits.
func bigEndian(v []byte) (w record.Int128, ok bool) {
	if len(v) == 0 {
		return w, false
	}
	sign := byte(int8(v[0]) >> 7) //nolint:gosec // all bits are the sign's
	for len(v) > 16 {
		if v[0] != sign || byte(int8(v[1])>>7) != sign { //nolint:gosec // as above
			return w, false
		}
		v = v[1:]
	}
	high, low := uint64(0), uint64(0)
	if sign != 0 {
		high, low = ^high, ^low
	}
	for _, b := range v {
		high, low = high<<8|low>>56, low<<8|uint64(b)
	}
	return record.Int128{Hi: int64(high), Lo: low}, true
}
