package mysql

import (
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/record"
)

// op is how the values of a type are read.
type op uint8

const (
	opText     op = iota // any text, as it is sent
	opInt                // little-endian, as all numbers, of 1, 2, 4 or 8 bytes
	opUint               // of 1, 2 or 4 bytes
	opUint64             // of 8 bytes, as a decimal
	opFloat32            //
	opFloat64            //
	opNarrow             // decimal of at most 18 digits; it is sent as text
	opWide               // decimal of at most 38 digits
	opNumeric            // decimal of more digits, as text
	opBit                // big-endian, at most 63 bits
	opBit64              // 64 bits, as a decimal
	opBytes              //
	opDate               // year, month, day, as far as they are not 0
	opDateTime           // the same, with hour, minute, second, microseconds
	opMoment             // the same, in UTC
	opTime               // sign, days, hour, minute, second, microseconds; as text
	opGeometry           // SRID and well-known binary, as extended well-known binary
)

// errMalformed says that the server and this package disagree on the type.
var errMalformed = errors.New("these bytes are no value of the type")

// codec reads the values of one type into the columns of one field.
type codec struct {
	op     op
	field  record.Field // without a name
	width  int          // of a value of a number; 0: its length is sent with it
	signed bool         // as the result must say of a number
	digits int          // of the fraction of a second
	note   string       // what a plan says of it
}

const (
	// maxDigits is the greatest precision of a decimal.
	maxDigits = 38
	// unsignedDigits is those of 2^64-1.
	unsignedDigits = 20
)

// numbers are the types whose values have a width of their own.
var numbers = map[string]int{ //nolint:gochecknoglobals // a constant table
	"tinyint": 1, "smallint": 2, "year": 2, "mediumint": 4, "int": 4, "integer": 4, "bigint": 8, "float": 4, "double": 8,
}

// codecOf chooses how a type is read.
func codecOf(t *Type) codec {
	kind := func(o op, k record.Kind) codec { return codec{op: o, field: record.Field{Kind: k}} }
	switch t.Data {
	case "tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year":
		return integerCodec(t)
	case "float":
		return codec{op: opFloat32, width: 4, field: record.Field{Kind: record.Float32}}
	case "double", "real":
		return codec{op: opFloat64, width: 8, field: record.Field{Kind: record.Float64}}
	case "decimal", "numeric":
		if t.Precision > maxDigits || t.Precision == 0 {
			c := kind(opNumeric, record.String)
			c.note = fmt.Sprintf("text, for it has more than %d digits", maxDigits)
			return c
		}
		return decimalCodec(record.Field{Kind: record.Decimal, Precision: t.Precision, Scale: t.Scale})
	case "bit":
		if t.Precision < 64 {
			return kind(opBit, record.Int64)
		}
		return codec{op: opBit64, field: record.Field{Kind: record.Decimal, Precision: unsignedDigits}}
	case "date":
		return kind(opDate, record.Date)
	case "datetime":
		return codec{op: opDateTime, digits: t.Fraction, field: record.Field{Kind: record.LocalTimestamp}}
	case "timestamp":
		return codec{op: opMoment, digits: t.Fraction, field: record.Field{Kind: record.Timestamp}}
	case "time":
		return codec{op: opTime, digits: t.Fraction, field: record.Field{Kind: record.String}}
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector":
		return kind(opBytes, record.Bytes)
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection":
		c := kind(opGeometry, record.Bytes)
		c.note = "extended well-known binary"
		return c
	}
	return kind(opText, record.String) // char, text, enum, set, json, uuid, inet6 and what is to come
}

func integerCodec(t *Type) codec {
	c := codec{op: opInt, width: numbers[t.Data], signed: !t.Unsigned, field: record.Field{Kind: record.Int32}}
	switch {
	case t.Data == "year":
		c.op, c.signed = opUint, false
	case t.Data == "bigint" && t.Unsigned:
		c.op, c.field = opUint64, record.Field{Kind: record.Decimal, Precision: unsignedDigits}
	case t.Data == "bigint":
		c.field.Kind = record.Int64
	case t.Unsigned && c.width == 4 && t.Data != "mediumint":
		c.op, c.field.Kind = opUint, record.Int64
	case t.Unsigned:
		c.op = opUint
	}
	return c
}

func decimalCodec(f record.Field) codec {
	if f.Wide() {
		return codec{op: opWide, field: f}
	}
	return codec{op: opNarrow, field: f}
}

// fit lets the codec write into a field that is wider than its own; not ok: it cannot.
func (c *codec) fit(held record.Field) (ok bool) {
	if held.Kind != record.Decimal {
		return true
	}
	if c.op == opUint64 || c.op == opBit64 {
		return held.Scale == 0 && held.Wide()
	}
	*c = decimalCodec(record.Field{Kind: record.Decimal, Precision: held.Precision, Scale: held.Scale}) // that has no notes
	return true
}
