package postgres

import (
	"encoding/binary"
	"math/bits"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// The head of a numeric in binary: digits of base 10,000, weight of the first, sign, digits after the point to print
// (src/backend/utils/adt/numeric.c, numeric_send).
const (
	numericHead     = 8
	numericNegative = 0x4000
	numericSpecial  = 0xC000 // NaN, and with lower bits the infinities
)

var tens = [...]uint64{ //nolint:gochecknoglobals // a constant table
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// magnitude is an unsigned number of 128 bits.
type magnitude struct{ hi, lo uint64 }

// times multiplies by m and adds n; over says that it does not fit.
func (u magnitude) times(m, n uint64) (_ magnitude, over bool) {
	h1, l1 := bits.Mul64(u.lo, m)
	h2, l2 := bits.Mul64(u.hi, m)
	lo, carry := bits.Add64(l1, n, 0)
	hi, carry2 := bits.Add64(h1, l2, carry)
	return magnitude{hi, lo}, h2 != 0 || carry2 != 0
}

// reaches says whether it has more than so many digits.
func (u magnitude) reaches(digits int) bool {
	limit, _ := magnitude{0, tens[min(digits, 19)]}.times(tens[max(0, digits-19)], 0)
	return u.hi > limit.hi || u.hi == limit.hi && u.lo >= limit.lo
}

func (u magnitude) signed(negative bool) record.Int128 {
	if negative {
		lo, borrow := bits.Sub64(0, u.lo, 0)
		hi, _ := bits.Sub64(0, u.hi, borrow)
		return record.Int128{Hi: int64(hi), Lo: lo} //nolint:gosec // two's complement
	}
	return record.Int128{Hi: int64(u.hi), Lo: u.lo} //nolint:gosec // at most 38 digits
}

// decimal reads a numeric in binary as an unscaled value; gather.ErrOdd when it is special or has other digits than the field.
func decimal(v []byte, precision, scale int) (record.Int128, error) {
	if len(v) < numericHead || len(v) != numericHead+2*int(binary.BigEndian.Uint16(v)) {
		return record.Int128{}, errMalformed
	}
	weight, sign := int(int16(binary.BigEndian.Uint16(v[2:]))), binary.BigEndian.Uint16(v[4:]) //nolint:gosec // signed
	if sign&numericSpecial == numericSpecial {
		return record.Int128{}, gather.ErrOdd
	}
	var u magnitude
	var over bool
	for d := v[numericHead:]; len(d) > 0; d = d[2:] {
		digit, exponent := uint64(binary.BigEndian.Uint16(d)), 4*weight+scale // the digit counts 10^exponent
		weight--
		switch {
		case exponent >= 0:
			u, over = u.times(10000, digit)
		case exponent > -4:
			if digit%tens[-exponent] != 0 {
				return record.Int128{}, gather.ErrOdd
			}
			u, over = u.times(tens[4+exponent], digit/tens[-exponent])
		default:
			over = digit != 0
		}
		if over {
			return record.Int128{}, gather.ErrOdd
		}
	}
	for rest := 4*(weight+1) + scale; rest > 0 && u != (magnitude{}); rest -= 19 { // zeros that were not sent
		if u, over = u.times(tens[min(rest, 19)], 0); over {
			return record.Int128{}, gather.ErrOdd
		}
	}
	if u.reaches(precision) {
		return record.Int128{}, gather.ErrOdd
	}
	return u.signed(sign == numericNegative), nil
}

// decimalText reads a numeric as it is printed: digits, perhaps with a sign and a point.
func decimalText(v []byte, precision, scale int) (record.Int128, error) {
	negative := len(v) > 0 && v[0] == '-'
	if negative {
		v = v[1:]
	}
	var u magnitude
	after, digits, over := -1, 0, false
	for _, b := range v {
		switch {
		case b == '.' && after < 0:
			after = 0
			continue
		case b < '0' || b > '9':
			return record.Int128{}, notDecimal(v)
		case after == scale && b != '0', over:
			return record.Int128{}, gather.ErrOdd
		case after == scale:
			continue
		case after >= 0:
			after++
		}
		digits++
		u, over = u.times(10, uint64(b-'0'))
	}
	if digits == 0 {
		return record.Int128{}, errMalformed
	}
	for ; max(after, 0) < scale && !over; after = max(after, 0) + 1 {
		u, over = u.times(10, 0)
	}
	if over || u.reaches(precision) {
		return record.Int128{}, gather.ErrOdd
	}
	return u.signed(negative), nil
}

func notDecimal(v []byte) error {
	switch string(v) {
	case "NaN", "Infinity":
		return gather.ErrOdd
	}
	return errMalformed
}

// renderNumeric appends a numeric in binary as the server prints it.
func renderNumeric(dst, v []byte) ([]byte, error) {
	if len(v) < numericHead || len(v) != numericHead+2*int(binary.BigEndian.Uint16(v)) {
		return dst, errMalformed
	}
	weight, sign, after := int(int16(binary.BigEndian.Uint16(v[2:]))), binary.BigEndian.Uint16(v[4:]), int(binary.BigEndian.Uint16(v[6:])&0x3fff) //nolint:gosec // signed
	switch sign {
	case 0xF000:
		return append(dst, "-Infinity"...), nil
	case 0xD000:
		return append(dst, "Infinity"...), nil
	case numericSpecial:
		return append(dst, "NaN"...), nil
	case numericNegative:
		dst = append(dst, '-')
	}
	digits := v[numericHead:]
	at := func(exponent int) uint16 { // the digit of 10000^exponent
		i := 2 * (weight - exponent)
		if i < 0 || i >= len(digits) {
			return 0
		}
		return binary.BigEndian.Uint16(digits[i:])
	}
	begun := false
	for e := max(weight, 0); e >= 0; e-- {
		dst, begun = appendGroup(dst, at(e), begun), true
	}
	if after == 0 {
		return dst, nil
	}
	dst = append(dst, '.')
	for e := -1; after > 0; e-- {
		group := appendGroup(nil, at(e), true)
		dst = append(dst, group[:min(after, 4)]...)
		after -= 4
	}
	return dst, nil
}

// appendGroup appends four digits; without the leading zeros when nothing stands before them.
func appendGroup(dst []byte, d uint16, begun bool) []byte {
	four := [4]byte{byte('0' + d/1000%10), byte('0' + d/100%10), byte('0' + d/10%10), byte('0' + d%10)}
	from := 0
	for !begun && from < 3 && four[from] == '0' {
		from++
	}
	return append(dst, four[from:]...)
}
