package record

import (
	"math/bits"
	"strconv"
	"time"
)

// AppendText appends a scalar value as plain text: what AppendJSON writes, without quotes and escapes. Text and bytes are
// appended as they are. A null, a list and a struct give nothing.
func AppendText(dst []byte, f *Field, c *Column, row int) []byte {
	if !c.IsValid(row) {
		return dst
	}
	if c.Const {
		row = 0
	}
	switch f.Kind {
	case Bool:
		return strconv.AppendBool(dst, c.Ints[row] != 0)
	case Int32, Int64:
		return strconv.AppendInt(dst, c.Ints[row], 10)
	case Float32:
		return strconv.AppendFloat(dst, c.Floats[row], 'g', -1, 32)
	case Float64:
		return strconv.AppendFloat(dst, c.Floats[row], 'g', -1, 64)
	case Decimal:
		return AppendDecimal(dst, c.Unscaled(f, row), f.Scale)
	case Date:
		return time.Unix(c.Ints[row]*secondsADay, 0).UTC().AppendFormat(dst, dateLayout)
	case Timestamp:
		return time.UnixMicro(c.Ints[row]).UTC().AppendFormat(dst, timestampLayout)
	case LocalTimestamp:
		return time.UnixMicro(c.Ints[row]).UTC().AppendFormat(dst, localLayout)
	case String, Bytes:
		return append(dst, c.Text(row)...)
	case VersionText:
		return c.Versions.At(row).AppendText(dst, 0)
	case List, Struct:
	}
	return dst
}

// Unscaled is the unscaled value of a decimal, wherever it is held.
func (c *Column) Unscaled(f *Field, row int) Int128 {
	if c.Const {
		row = 0
	}
	if f.Wide() {
		return c.Wide[row]
	}
	return Int128{Hi: c.Ints[row] >> 63, Lo: uint64(c.Ints[row])} //nolint:gosec // two's complement
}

// AppendDecimal appends an unscaled value with its decimal point.
func AppendDecimal(dst []byte, v Int128, scale int) []byte {
	const word = 1e19            // the greatest power of ten in 64 bits
	hi, lo := uint64(v.Hi), v.Lo //nolint:gosec // two's complement
	if v.Hi < 0 {
		dst = append(dst, '-')
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	upper, lower := bits.Div64(hi, lo, word) // hi is at most 2^63, which is below the divisor
	var room [40]byte
	at := len(room)
	for n := 0; lower != 0 || upper != 0 || n <= scale; n++ {
		if n == 19 {
			lower, upper = upper, 0
		}
		if n == scale && scale > 0 {
			at--
			room[at] = '.'
		}
		at--
		room[at] = byte('0' + lower%10)
		lower /= 10
	}
	return append(dst, room[at:]...)
}
