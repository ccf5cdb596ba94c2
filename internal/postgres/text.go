package postgres

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"github.com/acequia-io/acequia/record"
)

// text appends one value as the server prints it in a session of Connect. Nothing is appended when it gives an error.
func (c *codec) text(dst *record.Column, v []byte) (err error) {
	var n int64
	switch c.op {
	case opBool:
		if len(v) != 1 || v[0] != 't' && v[0] != 'f' {
			return errMalformed
		}
		if v[0] == 't' {
			n = 1
		}
	case opInt16, opInt32, opInt64, opOID:
		n, err = strconv.ParseInt(string(v), 10, 64)
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
		return nil
	case opNarrow, opWide, opXID8:
		d, err := decimalText(v, c.field.Precision, c.field.Scale)
		if err != nil {
			return err
		}
		c.appendDecimal(dst, d)
		return nil
	case opDate:
		n, v, err = parseDate(v)
		if err == nil && len(v) > 0 {
			err = trailing(v)
		}
	case opStamp, opStampTZ:
		n, err = parseStamp(v, c.op == opStampTZ)
	case opBytea:
		return appendHex(dst, v, `\x`)
	case opWKB:
		return appendHex(dst, v, "")
	default:
		dst.AppendText(v)
		return nil
	}
	if err != nil {
		return err
	}
	dst.Ints = append(dst.Ints, n)
	return nil
}

func appendHex(dst *record.Column, v []byte, prefix string) error {
	digits, ok := bytes.CutPrefix(v, []byte(prefix))
	if !ok {
		return errMalformed
	}
	if len(dst.Offsets) == 0 {
		dst.Offsets = append(dst.Offsets, 0)
	}
	at := len(dst.Bytes)
	out, err := hex.AppendDecode(dst.Bytes, digits)
	if err != nil {
		dst.Bytes = dst.Bytes[:at]
		return errMalformed
	}
	dst.Bytes = out
	dst.Offsets = append(dst.Offsets, uint32(len(out))) //nolint:gosec // a batch is far below 4 GiB
	return nil
}

// parseDate reads year-month-day and gives what stands behind it; errOdd for infinities and years that are not 1 to 9999.
func parseDate(v []byte) (days int64, rest []byte, err error) {
	if bytes.HasSuffix(v, []byte("infinity")) || bytes.HasSuffix(v, []byte(" BC")) {
		return 0, nil, errOdd
	}
	year, rest, ok := parseDigits(v, 4)
	if !ok || len(rest) < 6 {
		return 0, nil, errMalformed
	}
	if rest[0] != '-' {
		if rest[0] >= '0' && rest[0] <= '9' {
			return 0, nil, errOdd
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
		return 0, trailing(rest)
	}
	return micros, nil
}

func trailing([]byte) error { return errMalformed }
