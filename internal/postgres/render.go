package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"time"
)

// PostgreSQL counts from 2000-01-01.
const (
	epochDays   = 10957
	epochMicros = epochDays * dayMicros
	dayMicros   = 86400 * 1e6
	// What acequia holds: the years 1 to 9999.
	firstDay    = -719162
	lastDay     = 2932896
	firstMicros = firstDay * dayMicros
	lastMicros  = (lastDay+1)*dayMicros - 1
)

// render appends what the server prints for a value in binary.
func (c *codec) render(dst, v []byte) ([]byte, error) {
	if c.cast {
		return append(dst, v...), nil
	}
	if w := widths[c.op]; w != 0 && len(v) != w {
		return dst, errMalformed
	}
	switch c.op {
	case opText:
		return append(dst, v...), nil
	case opBytea:
		return hex.AppendEncode(append(dst, `\x`...), v), nil
	case opWKB:
		return appendUpper(dst, hex.AppendEncode(nil, v)), nil
	case opJSONB:
		if len(v) == 0 || v[0] != 1 {
			return dst, errMalformed
		}
		return append(dst, v[1:]...), nil
	case opNumeric, opNarrow, opWide:
		return renderNumeric(dst, v)
	case opList:
		return c.renderArray(dst, v)
	case opStruct:
		return c.renderRecord(dst, v)
	case opHstore:
		return renderHstore(dst, v)
	default:
		return c.renderFixed(dst, v), nil
	}
}

// renderFixed renders what has a fixed width.
func (c *codec) renderFixed(dst, v []byte) []byte {
	switch c.op {
	case opBool:
		return append(dst, "ft"[v[0]&1])
	case opFloat32:
		return renderFloat(dst, float64(math.Float32frombits(binary.BigEndian.Uint32(v))), 32)
	case opFloat64:
		return renderFloat(dst, math.Float64frombits(binary.BigEndian.Uint64(v)), 64)
	case opXID8:
		return strconv.AppendUint(dst, binary.BigEndian.Uint64(v), 10)
	case opDate:
		return renderDate(dst, int32(binary.BigEndian.Uint32(v))) //nolint:gosec // signed
	case opStamp:
		return renderStamp(dst, int64(binary.BigEndian.Uint64(v)), "") //nolint:gosec // signed
	case opStampTZ:
		return renderStamp(dst, int64(binary.BigEndian.Uint64(v)), "+00") //nolint:gosec // signed
	case opTime:
		return renderTime(dst, int64(binary.BigEndian.Uint64(v))) //nolint:gosec // signed
	case opTimeTZ:
		return renderTimeTZ(dst, v)
	case opInterval:
		return renderInterval(dst, v)
	case opUUID:
		return renderUUID(dst, v)
	case opLSN:
		return renderLSN(dst, v)
	default:
		n, _ := c.integer(v) // only dates and timestamps are odd
		return strconv.AppendInt(dst, n, 10)
	}
}

// renderFloat appends the shortest digits that give the value back, as extra_float_digits above 0 prints them (src/common/d2s.c): with an
// exponent below 1e-4 and from as many digits on as always hold.
func renderFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, "NaN"...)
	case math.IsInf(v, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(v, -1):
		return append(dst, "-Infinity"...)
	}
	digits := 15
	if bits == 32 {
		digits = 6
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= math.Pow10(digits)) {
		format = 'e'
	}
	text := strconv.AppendFloat(nil, v, format, -1, bits)
	for more := bytes.IndexByte(text, 'e') - bytes.IndexByte(text, '.'); format == 'e' && halfway(text, v, bits); more++ {
		text = strconv.AppendFloat(nil, v, format, max(more, 1), bits)
	}
	return append(dst, text...)
}

// halfway says whether digits lie in the middle between a value and the next: they give it back, as it is even, but the server trusts no
// reader to round so, and prints more digits.
func halfway(digits []byte, v float64, bits int) bool {
	exact, ok := new(big.Rat).SetString(string(digits))
	if !ok {
		return false
	}
	away := exact.Cmp(new(big.Rat).SetFloat64(v))
	if away == 0 {
		return false
	}
	next := math.Nextafter(v, math.Inf(away))
	if bits == 32 {
		next = float64(math.Nextafter32(float32(v), float32(math.Inf(away))))
	}
	if math.IsInf(next, 0) {
		return false
	}
	sum := new(big.Rat).Add(new(big.Rat).SetFloat64(v), new(big.Rat).SetFloat64(next))
	return exact.Add(exact, exact).Cmp(sum) == 0
}

// renderDate appends a date in binary as the server prints it in DateStyle ISO.
func renderDate(dst []byte, days int32) []byte {
	switch days {
	case math.MaxInt32:
		return append(dst, "infinity"...)
	case math.MinInt32:
		return append(dst, "-infinity"...)
	}
	year, month, day := time.Unix((int64(days)+epochDays)*86400, 0).UTC().Date()
	dst = appendYear(dst, year, month, day)
	return appendEra(dst, year)
}

// appendYear appends year-month-day; the year before 1 is 1 BC.
func appendYear(dst []byte, year int, month time.Month, day int) []byte {
	if year < 1 {
		year = 1 - year
	}
	dst = appendPadded(dst, int64(year), 4)
	dst = appendPadded(append(dst, '-'), int64(month), 2)
	return appendPadded(append(dst, '-'), int64(day), 2)
}

func appendEra(dst []byte, year int) []byte {
	if year < 1 {
		return append(dst, " BC"...)
	}
	return dst
}

func appendPadded(dst []byte, n int64, width int) []byte {
	for limit := int64(math.Pow10(width - 1)); n < limit && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, n, 10)
}

// renderStamp appends a timestamp in binary as the server prints it, zone behind the time.
func renderStamp(dst []byte, micros int64, zone string) []byte {
	switch micros {
	case math.MaxInt64:
		return append(dst, "infinity"...)
	case math.MinInt64:
		return append(dst, "-infinity"...)
	}
	days, of := micros/dayMicros, micros%dayMicros
	if of < 0 {
		days, of = days-1, of+dayMicros
	}
	year, month, day := time.Unix((days+epochDays)*86400, 0).UTC().Date()
	dst = appendYear(dst, year, month, day)
	dst = renderTime(append(dst, ' '), of)
	return appendEra(append(dst, zone...), year)
}

// renderTime appends microseconds of a day, 24:00:00 included.
func renderTime(dst []byte, micros int64) []byte {
	seconds, fraction := micros/1e6, micros%1e6
	dst = appendPadded(dst, seconds/3600, 2)
	dst = appendPadded(append(dst, ':'), seconds/60%60, 2)
	dst = appendPadded(append(dst, ':'), seconds%60, 2)
	return appendFraction(dst, fraction)
}

// appendFraction appends microseconds as a fraction without zeros at its end.
func appendFraction(dst []byte, fraction int64) []byte {
	if fraction == 0 {
		return dst
	}
	dst = appendPadded(append(dst, '.'), fraction, 6)
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// renderTimeTZ appends a time with its zone, of which the server sends seconds west of UTC.
func renderTimeTZ(dst, v []byte) []byte {
	dst = renderTime(dst, int64(binary.BigEndian.Uint64(v)))               //nolint:gosec // signed
	zone, sign := -int64(int32(binary.BigEndian.Uint32(v[8:]))), byte('+') //nolint:gosec // signed
	if zone < 0 {
		zone, sign = -zone, '-'
	}
	dst = appendPadded(append(dst, sign), zone/3600, 2)
	if zone%3600 == 0 {
		return dst
	}
	dst = appendPadded(append(dst, ':'), zone/60%60, 2)
	if zone%60 == 0 {
		return dst
	}
	return appendPadded(append(dst, ':'), zone%60, 2)
}

// renderInterval appends an interval as IntervalStyle iso_8601 prints it: years and months, days, and the time stay apart.
func renderInterval(dst, v []byte) []byte {
	micros := int64(binary.BigEndian.Uint64(v))             //nolint:gosec // signed
	days := int64(int32(binary.BigEndian.Uint32(v[8:])))    //nolint:gosec // signed
	months := int64(int32(binary.BigEndian.Uint32(v[12:]))) //nolint:gosec // signed
	switch {
	case micros == math.MaxInt64 && days == math.MaxInt32 && months == math.MaxInt32: // PostgreSQL 17
		return append(dst, "infinity"...)
	case micros == math.MinInt64 && days == math.MinInt32 && months == math.MinInt32:
		return append(dst, "-infinity"...)
	case micros == 0 && days == 0 && months == 0:
		return append(dst, "PT0S"...)
	}
	dst = append(dst, 'P')
	part := func(n int64, unit byte) {
		if n != 0 {
			dst = append(strconv.AppendInt(dst, n, 10), unit)
		}
	}
	part(months/12, 'Y')
	part(months%12, 'M')
	part(days, 'D')
	if micros == 0 {
		return dst
	}
	dst = append(dst, 'T')
	part(micros/3600e6, 'H')
	part(micros/60e6%60, 'M')
	if seconds, fraction := micros/1e6%60, micros%1e6; seconds != 0 || fraction != 0 {
		if micros < 0 {
			dst, seconds, fraction = append(dst, '-'), -seconds, -fraction
		}
		dst = append(appendFraction(strconv.AppendInt(dst, seconds, 10), fraction), 'S')
	}
	return dst
}

const hexDigits = "0123456789abcdef"

func renderUUID(dst, v []byte) []byte {
	for i, b := range v {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return dst
}

func renderLSN(dst, v []byte) []byte {
	n := binary.BigEndian.Uint64(v)
	dst = appendUpperHex(dst, n>>32)
	return appendUpperHex(append(dst, '/'), n&math.MaxUint32)
}

func appendUpperHex(dst []byte, n uint64) []byte {
	return appendUpper(dst, strconv.AppendUint(nil, n, 16))
}

func appendUpper(dst, digits []byte) []byte {
	for _, b := range digits {
		if b >= 'a' {
			b -= 'a' - 'A'
		}
		dst = append(dst, b)
	}
	return dst
}
