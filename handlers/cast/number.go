package cast

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"

	"github.com/acequia-io/acequia/record"
)

// number is a whole number of up to 38 digits.
type number struct {
	hi, lo   uint64
	negative bool
}

func numberOf(v record.Int128) number {
	n := number{hi: uint64(v.Hi), lo: v.Lo, negative: v.Hi < 0} //nolint:gosec // two's complement
	if n.negative {
		n.hi, n.lo = negated(n.hi, n.lo)
	}
	return n
}

func negated(hi, lo uint64) (uint64, uint64) {
	lo, borrow := bits.Sub64(0, lo, 0)
	hi, _ = bits.Sub64(0, hi, borrow)
	return hi, lo
}

func (n *number) int128() record.Int128 {
	hi, lo := n.hi, n.lo
	if n.negative {
		hi, lo = negated(hi, lo)
	}
	return record.Int128{Hi: int64(hi), Lo: lo} //nolint:gosec // two's complement
}

// below says whether n has fewer digits than a power of ten.
func (n *number) below(limit *number) bool {
	return n.hi < limit.hi || n.hi == limit.hi && n.lo < limit.lo
}

// add appends a digit; false: it is too large.
func (n *number) add(digit uint64) bool {
	if n.hi == 0 && n.lo < math.MaxUint64/10 {
		n.lo = n.lo*10 + digit
		return true
	}
	over, hi := bits.Mul64(n.hi, 10)
	carry, lo := bits.Mul64(n.lo, 10)
	lo, c := bits.Add64(lo, digit, 0)
	hi, over2 := bits.Add64(hi, carry, c)
	n.hi, n.lo = hi, lo
	return over == 0 && over2 == 0
}

// shift multiplies by a power of ten, or divides where the exponent is negative; false: it is too large, or a digit
// would be lost.
func (n *number) shift(exponent int) bool {
	for ; exponent > 0; exponent-- {
		if !n.add(0) {
			return false
		}
	}
	for ; exponent < 0; exponent++ {
		hi, rest := bits.Div64(0, n.hi, 10)
		lo, rest := bits.Div64(rest, n.lo, 10)
		if rest != 0 {
			return false
		}
		n.hi, n.lo = hi, lo
	}
	return true
}

// int gives the number as one of 64 bits; false: it is too large.
func (n *number) int() (int64, bool) {
	v := int64(n.lo) //nolint:gosec // checked below
	if n.negative {
		v = -v
	}
	return v, n.hi == 0 && (n.lo <= math.MaxInt64 || n.negative && n.lo == 1<<63)
}

// parse reads -12.34 as a whole number of units of a scale. Digits behind the scale must be 0.
func parse(text []byte, scale int) (n number, ok bool) {
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		n.negative, text = text[0] == '-', text[1:]
	}
	digits, left := 0, math.MaxInt // left: digits that still have a place
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9' && left > 0:
			if !n.add(uint64(c - '0')) {
				return n, false
			}
			digits++
			if left <= scale {
				left--
			}
		case c == '0':
			digits++
		case c == '.' && left > scale:
			left = scale
		default:
			return n, false
		}
	}
	return n, digits > 0 && n.shift(min(left, scale))
}

// store puts a decimal into its slot; false: it has too many digits.
func (w *work) store(n number, slot int) bool {
	if !n.below(&w.limit) {
		return false
	}
	if v := n.int128(); w.to.Wide() {
		w.out.Wide[slot] = v
	} else {
		w.out.Ints[slot] = int64(v.Lo) //nolint:gosec // 18 digits
	}
	return true
}

// storeInt puts an integer into its slot; false: it is out of range.
func (w *work) storeInt(v int64, slot int) bool {
	w.out.Ints[slot] = v
	return w.to.Kind != record.Int32 || v == int64(int32(v)) //nolint:gosec // that is the question
}

// storeText puts the float that a text says into its slot; false: the text is no number, is out of range, or has more
// digits than a float has. What a float is written as, with as many digits as anyone likes, is that float.
func (w *work) storeText(text []byte, slot int) bool {
	width := 64
	if w.to.Kind == record.Float32 {
		width = 32
	}
	switch string(text) {
	case "NaN":
		w.out.Floats[slot] = math.NaN()
		return true
	case "Infinity", "+Inf", "Inf", "-Infinity", "-Inf":
		w.out.Floats[slot] = math.Inf(1)
		if text[0] == '-' {
			w.out.Floats[slot] = math.Inf(-1)
		}
		return true
	}
	for _, c := range text {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return false
		}
	}
	f, err := strconv.ParseFloat(string(text), width)
	w.out.Floats[slot] = f
	return err == nil && w.holds(text, f, width)
}

// holds says whether a float, written with as many digits as a text, is what the text says.
func (w *work) holds(text []byte, f float64, width int) bool {
	sure, least := 15, 1e-290 // so many digits every float has, if it is not near the least
	if width == 32 {
		sure, least = 6, 1e-30
	}
	var room [64]byte
	digits := significant(room[:0], text)
	if len(digits) == 0 || len(digits) <= sure && math.Abs(f) >= least {
		return true
	}
	written := strconv.AppendFloat(w.room[:0], f, 'e', len(digits)-1, width)
	var other [64]byte
	return bytes.Equal(significant(other[:0], written), digits)
}

// significant appends the digits of a number from the first to the last that is not 0.
func significant(dst, text []byte) []byte {
	start := len(dst)
	for _, c := range text {
		switch {
		case c == 'e' || c == 'E':
			return bytes.TrimRight(dst, "0")
		case c >= '1' && c <= '9' || c == '0' && len(dst) > start:
			dst = append(dst, c)
		}
	}
	return bytes.TrimRight(dst, "0")
}
