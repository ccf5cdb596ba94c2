package record

import (
	"encoding/base64"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	timestampLayout = "2006-01-02T15:04:05.000000Z"
	localLayout     = "2006-01-02T15:04:05.000000"
	dateLayout      = "2006-01-02"
	secondsADay     = 86400
)

// AppendJSON appends a row as a JSON object, in column order: decimals as strings of all their digits, timestamps in
// RFC 3339 with microseconds, bytes in base64, NaN and infinities as strings. Absent columns are left out. Text that is
// not UTF-8 becomes {"$base64": ...}, so that nothing is lost.
func (b *Batch) AppendJSON(dst []byte, row int) []byte {
	dst = append(dst, '{')
	for i := range b.Columns {
		c := &b.Columns[i]
		if c.IsAbsent(row) {
			continue
		}
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(AppendJSONString(dst, b.Schema.Fields[i].Name), ':')
		dst = AppendValue(dst, &b.Schema.Fields[i], c, row)
	}
	return append(dst, '}')
}

// AppendValueJSON appends the value of one column of a row, as AppendJSON writes it.
func (b *Batch) AppendValueJSON(dst []byte, column, row int) []byte {
	return AppendValue(dst, &b.Schema.Fields[column], &b.Columns[column], row)
}

// AppendValue appends the value of a slot, as AppendJSON writes it.
func AppendValue(dst []byte, f *Field, c *Column, row int) []byte {
	if !c.IsValid(row) {
		return append(dst, "null"...)
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
		return appendFloat(dst, c.Floats[row], 32)
	case Float64:
		return appendFloat(dst, c.Floats[row], 64)
	case Decimal:
		dst = append(dst, '"')
		if f.Wide() {
			dst = AppendDecimal(dst, c.Wide[row], f.Scale)
		} else {
			dst = AppendDecimal(dst, Int128{Hi: c.Ints[row] >> 63, Lo: uint64(c.Ints[row])}, f.Scale) //nolint:gosec // two's complement
		}
		return append(dst, '"')
	case Date:
		return appendTime(dst, time.Unix(c.Ints[row]*secondsADay, 0), dateLayout)
	case Timestamp:
		return appendTime(dst, time.UnixMicro(c.Ints[row]), timestampLayout)
	case LocalTimestamp:
		return appendTime(dst, time.UnixMicro(c.Ints[row]), localLayout)
	case String:
		return appendText(dst, c.Text(row))
	case Bytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, c.Text(row))
		return append(dst, '"')
	case VersionText:
		dst = append(dst, '"')
		dst = c.Versions.At(row).AppendText(dst, 0)
		return append(dst, '"')
	case List:
		dst = append(dst, '[')
		for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
			if e > c.Offsets[row] {
				dst = append(dst, ',')
			}
			dst = AppendValue(dst, &f.Fields[0], &c.Children[0], int(e))
		}
		return append(dst, ']')
	case Struct:
		dst = append(dst, '{')
		for i := range f.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(AppendJSONString(dst, f.Fields[i].Name), ':')
			dst = AppendValue(dst, &f.Fields[i], &c.Children[i], row)
		}
		return append(dst, '}')
	}
	return append(dst, "null"...)
}

func appendFloat(dst []byte, v float64, bits int) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.AppendQuote(dst, strconv.FormatFloat(v, 'g', -1, bits))
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func appendTime(dst []byte, t time.Time, layout string) []byte {
	dst = append(dst, '"')
	return append(t.UTC().AppendFormat(dst, layout), '"')
}

func appendText(dst, v []byte) []byte {
	if !utf8.Valid(v) {
		dst = append(dst, `{"$base64":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, v), `"}`...)
	}
	return AppendJSONString(dst, v)
}

const hexDigits = "0123456789abcdef"

// AppendJSONString appends valid UTF-8 as a JSON string.
func AppendJSONString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// Big gives the value as a big integer.
func (v Int128) Big() *big.Int {
	n := new(big.Int).Lsh(big.NewInt(v.Hi), 64)
	return n.Add(n, new(big.Int).SetUint64(v.Lo))
}
