package mongodb

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/record"
)

// exactInt is up to where a double has every integer.
const exactInt = 1 << 53

// appendNumber appends a number so that two numbers have one text exactly when the server takes them for equal, whatever their types
// are: all of its digits, and none that says nothing.
func appendNumber(dst []byte, v Value) []byte {
	switch v.Type {
	case bson.TypeInt32:
		return strconv.AppendInt(dst, v.int32(), 10)
	case bson.TypeInt64:
		return strconv.AppendInt(dst, v.word(), 10)
	case bson.TypeDouble:
		return appendExact(dst, v.double())
	default: // a Decimal128
	}
	d := v.decimal()
	switch n, exp, err := d.BigInt(); {
	case d.IsNaN():
		return append(dst, "NaN"...)
	case err != nil:
		return append(dst, d.String()...) // Infinity, or -Infinity
	default:
		return appendScaled(dst, n, -exp)
	}
}

// appendExact writes all digits of a double, whose value is a sum of powers of two.
func appendExact(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return appendDouble(dst, f)
	case f == math.Trunc(f) && math.Abs(f) <= exactInt:
		return strconv.AppendInt(dst, int64(f), 10)
	}
	r := new(big.Rat).SetFloat64(f)
	text := r.FloatString(r.Denom().BitLen() - 1)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(text, "0")
	}
	return append(dst, text...)
}

// appendScaled writes n divided by a power of ten, in plain digits.
func appendScaled(dst []byte, n *big.Int, scale int) []byte {
	if n.Sign() == 0 {
		return append(dst, '0')
	}
	digits := new(big.Int).Abs(n).String()
	if n.Sign() < 0 {
		dst = append(dst, '-')
	}
	if scale <= 0 {
		return append(append(dst, digits...), strings.Repeat("0", -scale)...)
	}
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	whole, fraction := digits[:len(digits)-scale], strings.TrimRight(digits[len(digits)-scale:], "0")
	dst = append(dst, whole...)
	if fraction != "" {
		dst = append(append(dst, '.'), fraction...)
	}
	return dst
}

// parseNumber gives a value that the server takes for equal to the number with a text of appendNumber.
func parseNumber(text string) (any, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && string(appendExact(nil, f)) == text {
		return f, true
	}
	d, err := bson.ParseDecimal128(text)
	return d, err == nil
}

// unscaled gives a decimal as an integer of a scale; false: it has more digits, or is none.
func unscaled(d bson.Decimal128, precision, scale int) (record.Int128, bool) {
	n, exp, err := d.BigInt()
	if err != nil || exp+scale > precision && n.Sign() != 0 {
		return record.Int128{}, false
	}
	return rescale(n, exp+scale, precision)
}

// rescale multiplies by a power of ten, exactly.
func rescale(n *big.Int, power, precision int) (record.Int128, bool) {
	if n.Sign() == 0 {
		return record.Int128{}, true
	}
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(power, -power))), nil)
	if power >= 0 {
		n = new(big.Int).Mul(n, ten)
	} else {
		var rest big.Int
		if n, _ = new(big.Int).QuoRem(n, ten, &rest); rest.Sign() != 0 {
			return record.Int128{}, false
		}
	}
	if limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil); n.CmpAbs(limit) >= 0 {
		return record.Int128{}, false
	}
	return int128(n), true
}

// int128 holds an integer of up to 38 digits.
func int128(n *big.Int) record.Int128 {
	low := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64)) // of a negative number: two's complement
	return record.Int128{Hi: new(big.Int).Rsh(n, 64).Int64(), Lo: low.Uint64()}
}
