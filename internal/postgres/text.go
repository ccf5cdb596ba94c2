package postgres

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"unicode/utf8"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// text appends one value as a session of Connect prints it to a prepared column that has so many slots. When it gives an error it has
// appended nothing.
func (c *codec) text(dst *record.Column, v []byte, slots int) error {
	switch c.op {
	case opBool, opInt16, opInt32, opInt64, opOID, opDate, opStamp, opStampTZ:
		n, err := c.textInteger(v)
		if err != nil {
			return err
		}
		dst.Ints = append(dst.Ints, n)
	case opFloat32, opFloat64:
		bits := 64
		if c.op == opFloat32 {
			bits = 32
		}
		f, err := strconv.ParseFloat(string(v), bits)
		if err != nil {
			return errMalformed
		}
		dst.Floats = append(dst.Floats, float(f))
	case opNarrow, opWide, opXID8:
		d, err := decimalText(v, c.field.Precision, c.field.Scale)
		if err != nil {
			return err
		}
		c.appendDecimal(dst, d)
	case opBytea:
		return appendHex(dst, v, `\x`)
	case opWKB:
		return appendHex(dst, v, "")
	case opList:
		return c.textList(dst, v)
	case opStruct:
		return c.textStruct(dst, v, slots)
	case opHstore:
		return c.textHstore(dst, v)
	default:
		if c.verify && !utf8.Valid(v) {
			return gather.ErrOdd
		}
		dst.AppendText(v)
	}
	return nil
}

// textInteger reads a value that is held in Ints.
func (c *codec) textInteger(v []byte) (int64, error) {
	switch c.op {
	case opBool:
		if len(v) != 1 || v[0] != 't' && v[0] != 'f' {
			return 0, errMalformed
		}
		return int64(v[0] >> 4 & 1), nil // 't' is 0x74, 'f' 0x66
	case opDate:
		days, rest, err := parseDate(v)
		if err == nil && len(rest) > 0 {
			err = errMalformed
		}
		return days, err
	case opStamp, opStampTZ:
		return parseStamp(v, c.op == opStampTZ)
	default:
		n, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil || c.field.Kind == record.Int32 && int64(int32(n)) != n { //nolint:gosec // that is the question
			return 0, errMalformed
		}
		return n, nil
	}
}

func appendHex(dst *record.Column, v []byte, prefix string) error {
	digits, ok := bytes.CutPrefix(v, []byte(prefix))
	if !ok {
		return errMalformed
	}
	at := len(dst.Bytes)
	out, err := hex.AppendDecode(dst.Bytes, digits)
	if err != nil {
		dst.Bytes = dst.Bytes[:at]
		return errMalformed
	}
	dst.Bytes = out
	dst.Offsets = append(dst.Offsets, uint32(len(out))) //nolint:gosec // Decoder keeps below 4 GiB
	return nil
}

// parseDate reads year-month-day and gives what stands behind it; gather.ErrOdd for infinities and years that are not 1 to 9999.
func parseDate(v []byte) (days int64, rest []byte, err error) {
	if bytes.HasSuffix(v, []byte("infinity")) || bytes.HasSuffix(v, []byte(" BC")) {
		return 0, nil, gather.ErrOdd
	}
	year, rest, ok := parseDigits(v, 4)
	if !ok || len(rest) < 6 {
		return 0, nil, errMalformed
	}
	if rest[0] != '-' {
		if rest[0] >= '0' && rest[0] <= '9' {
			return 0, nil, gather.ErrOdd
		}
		return 0, nil, errMalformed
	}
	month, rest, ok1 := parseDigits(rest[1:], 2)
	if !ok1 || len(rest) < 3 || rest[0] != '-' {
		return 0, nil, errMalformed
	}
	day, rest, ok2 := parseDigits(rest[1:], 2)
	if !ok2 || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0, nil, errMalformed
	}
	return daysOf(year, month, day), rest, nil
}

// daysOf counts the days from 1970-01-01, by years that begin in March.
func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - 719468
}

func parseDigits(v []byte, n int) (value int64, rest []byte, ok bool) {
	if len(v) < n {
		return 0, nil, false
	}
	for _, b := range v[:n] {
		if b < '0' || b > '9' {
			return 0, nil, false
		}
		value = value*10 + int64(b-'0')
	}
	return value, v[n:], true
}

// parseStamp reads a timestamp as microseconds since 1970; with a zone it has to be that of UTC.
func parseStamp(v []byte, zoned bool) (int64, error) {
	days, rest, err := parseDate(v)
	if err != nil {
		return 0, err
	}
	if len(rest) < 9 || rest[0] != ' ' || rest[3] != ':' || rest[6] != ':' {
		return 0, errMalformed
	}
	hour, _, ok1 := parseDigits(rest[1:], 2)
	minute, _, ok2 := parseDigits(rest[4:], 2)
	second, rest, ok3 := parseDigits(rest[7:], 2)
	if !ok1 || !ok2 || !ok3 {
		return 0, errMalformed
	}
	micros := ((days*24+hour)*60+minute)*60e6 + second*1e6
	if len(rest) > 0 && rest[0] == '.' {
		unit := int64(100000)
		for rest = rest[1:]; len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' && unit > 0; rest = rest[1:] {
			micros += int64(rest[0]-'0') * unit
			unit /= 10
		}
	}
	if zoned {
		after, ok := bytes.CutPrefix(rest, []byte("+00"))
		if !ok {
			return 0, errMalformed
		}
		rest = after
	}
	if len(rest) > 0 {
		return 0, errMalformed
	}
	return micros, nil
}
