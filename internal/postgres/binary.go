package postgres

import (
	"encoding/binary"
	"math"

	"github.com/acequia-io/acequia/record"
)

// widths are the lengths of values of fixed width in binary; 0: any.
var widths = [...]int{ //nolint:gochecknoglobals // a constant table
	opBool: 1, opInt16: 2, opInt32: 4, opInt64: 8, opOID: 4, opXID8: 8, opFloat32: 4, opFloat64: 8, opDate: 4, opStamp: 8, opStampTZ: 8,
	opTime: 8, opTimeTZ: 12, opInterval: 16, opUUID: 16, opLSN: 8,
}

// binary appends one value as the server sends it in binary (the send functions under src/backend/utils/adt). Nothing is appended when
// it gives an error.
func (c *codec) binary(dst *record.Column, v []byte) error {
	if w := widths[c.op]; w != 0 && len(v) != w {
		return errMalformed
	}
	switch c.op {
	case opBool:
		dst.Ints = append(dst.Ints, int64(v[0]))
	case opInt16:
		dst.Ints = append(dst.Ints, int64(int16(binary.BigEndian.Uint16(v)))) //nolint:gosec // signed
	case opInt32:
		dst.Ints = append(dst.Ints, int64(int32(binary.BigEndian.Uint32(v)))) //nolint:gosec // signed
	case opInt64:
		dst.Ints = append(dst.Ints, int64(binary.BigEndian.Uint64(v))) //nolint:gosec // signed
	case opOID:
		dst.Ints = append(dst.Ints, int64(binary.BigEndian.Uint32(v)))
	case opXID8:
		dst.Wide = append(dst.Wide, record.Int128{Lo: binary.BigEndian.Uint64(v)})
	case opFloat32:
		dst.Floats = append(dst.Floats, float(float64(math.Float32frombits(binary.BigEndian.Uint32(v)))))
	case opFloat64:
		dst.Floats = append(dst.Floats, float(math.Float64frombits(binary.BigEndian.Uint64(v))))
	case opNarrow, opWide:
		d, err := decimal(v, c.field.Precision, c.field.Scale)
		if err != nil {
			return err
		}
		c.appendDecimal(dst, d)
	case opDate:
		days := int64(int32(binary.BigEndian.Uint32(v))) + epochDays //nolint:gosec // signed
		if days < firstDay || days > lastDay {
			return errOdd
		}
		dst.Ints = append(dst.Ints, days)
	case opStamp, opStampTZ:
		micros := int64(binary.BigEndian.Uint64(v)) //nolint:gosec // signed
		if micros < firstMicros-epochMicros || micros > lastMicros-epochMicros {
			return errOdd
		}
		dst.Ints = append(dst.Ints, micros+epochMicros)
	default:
		return c.binaryText(dst, v)
	}
	return nil
}

// binaryText appends a value that is held as text or bytes.
func (c *codec) binaryText(dst *record.Column, v []byte) (err error) {
	if len(dst.Offsets) == 0 {
		dst.Offsets = append(dst.Offsets, 0)
	}
	if dst.Bytes, err = c.render(dst.Bytes, v); err != nil {
		dst.Bytes = dst.Bytes[:dst.Offsets[len(dst.Offsets)-1]]
		return err
	}
	dst.Offsets = append(dst.Offsets, uint32(len(dst.Bytes))) //nolint:gosec // a batch is far below 4 GiB
	return nil
}

// render appends what the server would print for a value in binary; bytes as they are.
func (c *codec) render(dst, v []byte) ([]byte, error) {
	if w := widths[c.op]; w != 0 && len(v) != w {
		return dst, errMalformed
	}
	switch c.op {
	case opText, opBytea, opWKB:
		return append(dst, v...), nil
	case opJSONB:
		if len(v) == 0 || v[0] != 1 {
			return dst, errMalformed
		}
		return append(dst, v[1:]...), nil
	case opNumeric, opNarrow, opWide:
		return renderNumeric(dst, v)
	case opDate:
		return renderDate(dst, int32(binary.BigEndian.Uint32(v))), nil //nolint:gosec // signed
	case opStamp:
		return renderStamp(dst, int64(binary.BigEndian.Uint64(v)), ""), nil //nolint:gosec // signed
	case opStampTZ:
		return renderStamp(dst, int64(binary.BigEndian.Uint64(v)), "+00"), nil //nolint:gosec // signed
	case opTime:
		return renderTime(dst, int64(binary.BigEndian.Uint64(v))), nil //nolint:gosec // signed
	case opTimeTZ:
		return renderTimeTZ(dst, v), nil
	case opInterval:
		return renderInterval(dst, v), nil
	case opUUID:
		return renderUUID(dst, v), nil
	case opLSN:
		return renderLSN(dst, v), nil
	default:
		return dst, errMalformed
	}
}

// float makes one NaN of all.
func float(v float64) float64 {
	if v != v { //nolint:gocritic // NaN
		return math.NaN()
	}
	return v
}

func (c *codec) appendDecimal(dst *record.Column, d record.Int128) {
	if c.op == opNarrow {
		dst.Ints = append(dst.Ints, int64(d.Lo)) //nolint:gosec // at most 18 digits
		return
	}
	dst.Wide = append(dst.Wide, d)
}
