package mysql

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
)

// render gives a value as the server prints it.
func (c *codec) render(v []byte) (dst []byte, err error) {
	switch c.op {
	case opText, opBytes, opNarrow, opWide:
		return append(dst, v...), nil
	case opNumeric: // a ZEROFILL puts zeros before it
		sign := bytes.HasPrefix(v, []byte{'-'})
		if sign {
			dst, v = append(dst, '-'), v[1:]
		}
		for len(v) > 1 && v[0] == '0' && v[1] != '.' {
			v = v[1:]
		}
		return append(dst, v...), nil
	case opInt, opUint, opUint64:
		return c.renderInteger(v)
	case opFloat32:
		if len(v) != 4 {
			return dst, errMalformed
		}
		return strconv.AppendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(v))), 'g', -1, 32), nil
	case opFloat64:
		if len(v) != 8 {
			return dst, errMalformed
		}
		return strconv.AppendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(v)), 'g', -1, 64), nil
	case opBit, opBit64:
		n, ok := bigEndian(v)
		if !ok {
			return dst, errMalformed
		}
		return strconv.AppendUint(dst, n, 10), nil
	case opDate, opDateTime, opMoment:
		day, ok := readCivil(v)
		if !ok {
			return dst, errMalformed
		}
		dst = day.appendDay(dst)
		if c.op == opDate {
			return dst, nil
		}
		dst = append(dst, ' ')
		dst = appendTwo(appendTwo(appendTwo(dst, day.hour, ':'), day.minute, ':'), day.second, 0)
		return appendFraction(dst, day.micros, c.digits), nil
	case opTime:
		return appendDuration(dst, v, c.digits)
	case opGeometry:
		return geometry(dst, v)
	}
	return dst, errMalformed
}

// appendTwo writes two digits, and what stands behind them; 0: nothing.
func appendTwo(dst []byte, n int, behind byte) []byte {
	dst = append(dst, byte('0'+n/10%10), byte('0'+n%10))
	if behind != 0 {
		dst = append(dst, behind)
	}
	return dst
}

func (c *codec) renderInteger(v []byte) ([]byte, error) {
	if len(v) != c.width {
		return nil, errMalformed
	}
	var room [8]byte
	copy(room[:], v)
	n := binary.LittleEndian.Uint64(room[:])
	if c.op == opInt {
		unused := 64 - 8*c.width
		return strconv.AppendInt(nil, int64(n<<unused)>>unused, 10), nil //nolint:gosec // signed
	}
	return strconv.AppendUint(nil, n, 10), nil
}
