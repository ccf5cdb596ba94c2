package postgres

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/acequia-io/acequia/internal/gather"
	"github.com/acequia-io/acequia/record"
)

// widths are the lengths of values of fixed width in binary; 0: any.
var widths = [...]int{ //nolint:gochecknoglobals // a constant table
	opBool: 1, opInt16: 2, opInt32: 4, opInt64: 8, opOID: 4, opXID8: 8, opFloat32: 4, opFloat64: 8, opDate: 4, opStamp: 8, opStampTZ: 8,
	opTime: 8, opTimeTZ: 12, opInterval: 16, opUUID: 16, opLSN: 8, opHstore: 0,
}

// binary appends one value as a select list gives it in binary (the send functions under src/backend/utils/adt) to a prepared column
// that has so many slots. When it gives an error it has appended nothing.
func (c *codec) binary(dst *record.Column, v []byte, slots int) error {
	if c.cast {
		return c.text(dst, v, slots)
	}
	if w := widths[c.op]; w != 0 && len(v) != w {
		return errMalformed
	}
	switch c.op {
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
	case opXID8:
		dst.Wide = append(dst.Wide, record.Int128{Lo: binary.BigEndian.Uint64(v)})
	case opBool, opInt16, opInt32, opInt64, opOID, opDate, opStamp, opStampTZ:
		n, err := c.integer(v)
		if err != nil {
			return err
		}
		dst.Ints = append(dst.Ints, n)
	case opList:
		return c.binaryList(dst, v)
	case opStruct:
		return c.binaryStruct(dst, v, slots)
	case opHstore:
		return c.binaryHstore(dst, v)
	default:
		return c.binaryText(dst, v)
	}
	return nil
}

// integer reads a value that is held in Ints and has its width.
func (c *codec) integer(v []byte) (int64, error) {
	switch c.op {
	case opBool:
		return int64(v[0] & 1), nil
	case opInt16:
		return int64(int16(binary.BigEndian.Uint16(v))), nil //nolint:gosec // signed
	case opInt32:
		return int64(int32(binary.BigEndian.Uint32(v))), nil //nolint:gosec // signed
	case opOID:
		return int64(binary.BigEndian.Uint32(v)), nil
	case opDate:
		days := int64(int32(binary.BigEndian.Uint32(v))) + epochDays //nolint:gosec // signed
		if days < firstDay || days > lastDay {
			return 0, gather.ErrOdd
		}
		return days, nil
	case opStamp, opStampTZ:
		micros := int64(binary.BigEndian.Uint64(v)) //nolint:gosec // signed
		if micros < firstMicros-epochMicros || micros > lastMicros-epochMicros {
			return 0, gather.ErrOdd
		}
		return micros + epochMicros, nil
	default:
		return int64(binary.BigEndian.Uint64(v)), nil //nolint:gosec // signed
	}
}

// maxText is the text that a batch may have in one column: a numeric of ten bytes has up to 131,072 digits, and an array may have millions.
const maxText = 1 << 30

// binaryText appends a value that is held as text or bytes.
func (c *codec) binaryText(dst *record.Column, v []byte) (err error) {
	before := len(dst.Bytes)
	if c.field.Kind == record.Bytes {
		dst.Bytes = append(dst.Bytes, v...)
	} else if dst.Bytes, err = c.render(dst.Bytes, v); err == nil && c.verify && !utf8.Valid(dst.Bytes[before:]) {
		err = gather.ErrOdd
	}
	if len(dst.Bytes) > maxText {
		err = errHuge
	}
	if err != nil {
		dst.Bytes = dst.Bytes[:before]
		return err
	}
	dst.Offsets = append(dst.Offsets, uint32(len(dst.Bytes))) //nolint:gosec // Decoder keeps below 4 GiB
	return nil
}

// binaryList appends an array: of one dimension that begins at 1, or without elements.
func (c *codec) binaryList(dst *record.Column, v []byte) error {
	a, err := readArray(v)
	if err != nil {
		return err
	}
	if a.plain() != nil {
		return gather.ErrOdd
	}
	child, field := &dst.Children[0], &c.field.Fields[0]
	from := int(dst.Offsets[len(dst.Offsets)-1])
	at := from
	for v = a.elements; len(v) > 0; at++ {
		var element []byte
		if element, v, err = next(v); err == nil {
			if element == nil {
				child.AppendZero(field)
				child.SetNull(at)
				continue
			}
			err = c.parts[0].binary(child, element, at)
		}
		if err != nil {
			child.Truncate(field, from)
			return err
		}
	}
	if at-from != a.count {
		child.Truncate(field, from)
		return errMalformed
	}
	dst.Offsets = append(dst.Offsets, uint32(at)) //nolint:gosec // Decoder keeps below 4 GiB
	return nil
}

// binaryStruct appends a composite.
func (c *codec) binaryStruct(dst *record.Column, v []byte, slots int) error {
	if len(v) < 4 || int(binary.BigEndian.Uint32(v)) != len(c.parts) {
		return errMalformed
	}
	v = v[4:]
	for i := range c.parts {
		child, field := &dst.Children[i], &c.field.Fields[i]
		var member []byte
		err := errMalformed
		if len(v) >= 4 { // the type of the member
			member, v, err = next(v[4:])
		}
		switch {
		case err != nil:
		case member == nil:
			child.AppendZero(field)
			child.SetNull(slots)
		default:
			err = c.parts[i].binary(child, member, slots)
		}
		if err != nil {
			return c.takeBack(dst, slots, i, err)
		}
	}
	if len(v) > 0 {
		return c.takeBack(dst, slots, len(c.parts), errMalformed)
	}
	return nil
}

// takeBack cuts the members that have got a slot too many.
func (c *codec) takeBack(dst *record.Column, slots, members int, err error) error {
	for i := range members {
		dst.Children[i].Truncate(&c.field.Fields[i], slots)
	}
	return err
}

// binaryHstore appends an hstore (contrib/hstore, hstore_send).
func (c *codec) binaryHstore(dst *record.Column, v []byte) error {
	if len(v) < 4 {
		return errMalformed
	}
	entries, v := int(binary.BigEndian.Uint32(v)), v[4:]
	list := c.hstore(dst)
	for ; entries > 0 && len(v) > 0; entries-- {
		key, rest, err := next(v)
		if err != nil || key == nil {
			return list.takeBack(errMalformed)
		}
		var value []byte
		if value, v, err = next(rest); err != nil {
			return list.takeBack(err)
		}
		if err := list.add(key, value, value == nil); err != nil {
			return list.takeBack(err)
		}
	}
	if entries != 0 || len(v) > 0 {
		return list.takeBack(errMalformed)
	}
	list.end()
	return nil
}

// float makes one NaN of all.
func float(v float64) float64 {
	if math.IsNaN(v) {
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
