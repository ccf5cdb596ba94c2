package file

import (
	"bytes"
	"math/bits"
	"strconv"

	"github.com/acequia-io/acequia/record"
)

const (
	microsASecond = 1_000_000
	secondsADay   = 86_400
)

var powers = [...]int64{ //nolint:gochecknoglobals // a constant table
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
}

var floatPowers = [...]float64{ //nolint:gochecknoglobals // a constant table: the powers of ten that a float64 holds exactly
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// parseInt reads a whole number of 64 bits.
func parseInt(v []byte) (n int64, ok bool) {
	negative := false
	if len(v) > 0 && (v[0] == '-' || v[0] == '+') {
		negative = v[0] == '-'
		v = v[1:]
	}
	if len(v) == 0 {
		return 0, false
	}
	if len(v) <= 18 {
		for _, c := range v {
			if c -= '0'; c > 9 {
				return 0, false
			}
			n = n*10 + int64(c)
		}
		if negative {
			n = -n
		}
		return n, true
	}
	return longInt(v, negative)
}

// longInt reads the digits of a number that may not fit, or has zeros in front.
func longInt(v []byte, negative bool) (int64, bool) {
	var n uint64
	for _, c := range v {
		if c -= '0'; c > 9 {
			return 0, false
		}
		high, low := bits.Mul64(n, 10)
		low, carry := bits.Add64(low, uint64(c), 0)
		if n = low; high+carry > 0 {
			return 0, false
		}
	}
	switch {
	case negative && n <= 1<<63:
		return -int64(n), true
	case !negative && n < 1<<63:
		return int64(n), true
	}
	return 0, false
}

// parseNarrow reads a decimal that is held in 64 bits.
func parseNarrow(v []byte, precision, scale int) (n int64, ok bool) {
	digits, point, i := 0, -1, 0
	if len(v) > 0 && (v[0] == '-' || v[0] == '+') {
		i = 1
	}
	for _, c := range v[i:] {
		if d := c - '0'; d <= 9 {
			n = n*10 + int64(d)
			digits++
			continue
		}
		if c != '.' || point >= 0 {
			return slowNarrow(v, precision, scale)
		}
		point = digits
	}
	fraction := 0
	if point >= 0 {
		fraction = digits - point
	}
	if digits == 0 || fraction > scale || digits+scale-fraction > record.NarrowDigits {
		return slowNarrow(v, precision, scale)
	}
	if n *= powers[scale-fraction]; n >= powers[precision] {
		return 0, false
	}
	if v[0] == '-' {
		n = -n
	}
	return n, true
}

func slowNarrow(v []byte, precision, scale int) (int64, bool) {
	w, ok := parseWide(v, precision, scale)
	return int64(w.Lo), ok //nolint:gosec // two's complement
}

// number is a decimal number taken apart: its value is digits times ten to the power of exp.
type number struct {
	digits   []byte // without zeros in front, maybe with a point in them
	count    int    // of the digits; 0: the number is zero
	exp      int
	negative bool
}

// maxExponent bounds what an exponent is taken for; no decimal reaches it.
const maxExponent = 1 << 20

// takeApart reads a number as people and programs write it: 12, -0.50, 1.5e-7. Zeros at the end count for the exponent.
func takeApart(v []byte) (n number, ok bool) {
	if len(v) > 0 && (v[0] == '-' || v[0] == '+') {
		n.negative = v[0] == '-'
		v = v[1:]
	}
	mantissa := v
	if at := bytes.IndexAny(v, "eE"); at >= 0 {
		e, ok := parseInt(v[at+1:])
		if !ok || e > maxExponent || e < -maxExponent {
			return n, false
		}
		mantissa, n.exp = v[:at], int(e)
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte{'.'})
	if len(whole)+len(fraction) == 0 || !allDigits(whole) || !allDigits(fraction) {
		return n, false
	}
	n.exp -= len(fraction)
	if len(whole)+len(fraction) < len(mantissa) { // zeros after the point can go without harm
		short := bytes.TrimRight(fraction, "0")
		n.exp += len(fraction) - len(short)
		mantissa = mantissa[:len(mantissa)-len(fraction)+len(short)]
		fraction = short
	}
	if len(fraction) == 0 {
		short := bytes.TrimRight(whole, "0")
		n.exp += len(whole) - len(short)
		mantissa = short
	}
	n.digits = bytes.TrimLeft(mantissa, "0.")
	n.count = len(n.digits)
	if bytes.IndexByte(n.digits, '.') >= 0 {
		n.count--
	}
	return n, true
}

func allDigits(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// parseWide reads a decimal exactly: a digit that the type has no place for is an error, unless it is a zero.
func parseWide(v []byte, precision, scale int) (w record.Int128, ok bool) {
	n, ok := takeApart(v)
	if !ok || n.count == 0 {
		return w, ok
	}
	zeros := n.exp + scale
	if zeros < 0 || n.count+zeros > precision {
		return w, false
	}
	var high, low uint64
	push := func(digit byte) {
		h, l := bits.Mul64(low, 10)
		l, carry := bits.Add64(l, uint64(digit), 0)
		high, low = high*10+h+carry, l
	}
	for _, c := range n.digits {
		if c != '.' {
			push(c - '0')
		}
	}
	for range zeros {
		push(0)
	}
	if n.negative {
		var borrow uint64
		low, borrow = bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	return record.Int128{Hi: int64(high), Lo: low}, true //nolint:gosec // below 10^38
}

// parseFloat reads a float of 32 or 64 bits; one that is out of range is refused.
func parseFloat(v []byte, size int) (float64, bool) {
	if f, ok := shortFloat(v); ok && size == 64 {
		return f, true
	}
	for _, c := range v {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return specialFloat(v)
		}
	}
	f, err := strconv.ParseFloat(string(v), size)
	return f, err == nil
}

// shortFloat reads what two floats make exactly: up to 15 digits, divided by a power of ten.
func shortFloat(v []byte) (float64, bool) {
	var n int64
	digits, point, i := 0, -1, 0
	if len(v) > 0 && v[0] == '-' {
		i = 1
	}
	for _, c := range v[i:] {
		if d := c - '0'; d <= 9 {
			n = n*10 + int64(d)
			digits++
			continue
		}
		if c != '.' || point >= 0 {
			return 0, false
		}
		point = digits
	}
	if digits == 0 || digits > 15 || n == 0 && i == 1 { // minus zero is another float than zero
		return 0, false
	}
	f := float64(n)
	if point >= 0 {
		f /= floatPowers[digits-point]
	}
	if i == 1 {
		f = -f
	}
	return f, true
}

func specialFloat(v []byte) (float64, bool) {
	switch string(v) {
	case "NaN", "nan", "Inf", "inf", "+Inf", "+inf", "-Inf", "-inf", "Infinity", "+Infinity", "-Infinity":
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err == nil
	}
	return 0, false
}

// parseBool reads true and false, also as t, f, 1 and 0, in letters of any case.
func parseBool(v []byte) (n int64, ok bool) {
	switch {
	case len(v) == 1:
		switch v[0] {
		case '1', 't', 'T':
			return 1, true
		case '0', 'f', 'F':
			return 0, true
		}
	case len(v) == 4 && bytes.EqualFold(v, []byte("true")):
		return 1, true
	case len(v) == 5 && bytes.EqualFold(v, []byte("false")):
		return 0, true
	}
	return 0, false
}

// two reads two digits; anything else gives 255.
func two(v []byte) int {
	a, b := v[0]-'0', v[1]-'0'
	if a > 9 || b > 9 {
		return 255
	}
	return int(a)*10 + int(b)
}

// parseDate reads YYYY-MM-DD and gives days since 1970-01-01.
func parseDate(v []byte) (int64, bool) {
	if len(v) != 10 || v[4] != '-' || v[7] != '-' {
		return 0, false
	}
	century, of, month, day := two(v), two(v[2:]), two(v[5:]), two(v[8:])
	if century > 99 || of > 99 || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, false
	}
	year := century*100 + of
	if day > 28 && day > daysOf(year, month) {
		return 0, false
	}
	return days(year, month, day), true
}

func daysOf(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// days counts from 1970-01-01, in the Gregorian calendar; years begin in March, so that the odd day comes last.
func days(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	inYear := (153*(month-3)+2)/5 + day - 1
	n := int64(year)*365 + int64(inYear) - 719_468
	if year >= 0 {
		return n + int64(year/4) - int64(year/100) + int64(year/400)
	}
	return n - 1 // only the months before March of the year 0
}

// parseTime reads a date and a time of day, with T or a blank between them, and gives microseconds since 1970. With
// zoned, Z or an offset must follow; else nothing may.
func parseTime(v []byte, zoned bool) (int64, bool) {
	if len(v) < 19 || v[13] != ':' || v[16] != ':' || v[10] != 'T' && v[10] != ' ' && v[10] != 't' {
		return 0, false
	}
	day, ok := parseDate(v[:10])
	hour, minute, second := two(v[11:]), two(v[14:]), two(v[17:])
	if !ok || hour > 23 || minute > 59 || second > 59 {
		return 0, false
	}
	micros, rest, ok := fraction(v[19:])
	if !ok {
		return 0, false
	}
	offset := 0
	if zoned {
		if offset, ok = zone(rest); !ok {
			return 0, false
		}
	} else if len(rest) > 0 {
		return 0, false
	}
	seconds := day*secondsADay + int64(hour*3600+minute*60+second-offset)
	return seconds*microsASecond + micros, true
}

// fraction reads the part of a second; finer than a microsecond there may only be zeros.
func fraction(v []byte) (micros int64, rest []byte, ok bool) {
	if len(v) == 0 || v[0] != '.' {
		return 0, v, true
	}
	v = v[1:]
	n := 0
	for n < len(v) && v[n] >= '0' && v[n] <= '9' {
		switch {
		case n < 6:
			micros = micros*10 + int64(v[n]-'0')
		case v[n] != '0':
			return 0, nil, false
		}
		n++
	}
	if n == 0 {
		return 0, nil, false
	}
	return micros * powers[max(0, 6-n)], v[n:], true
}

// zone reads Z, +02:00, +0200 or +02, and gives seconds.
func zone(v []byte) (int, bool) {
	if len(v) == 1 && (v[0] == 'Z' || v[0] == 'z') {
		return 0, true
	}
	if len(v) < 3 || v[0] != '+' && v[0] != '-' {
		return 0, false
	}
	hours, minutes := two(v[1:]), 0
	switch {
	case len(v) == 6 && v[3] == ':':
		minutes = two(v[4:])
	case len(v) == 5:
		minutes = two(v[3:])
	case len(v) != 3:
		return 0, false
	}
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	seconds := hours*3600 + minutes*60
	if v[0] == '-' {
		return -seconds, true
	}
	return seconds, true
}
