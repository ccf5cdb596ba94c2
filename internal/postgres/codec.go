package postgres

import (
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/record"
)

// op is how the values of a type are read.
type op uint8

const (
	opText     op = iota // the text as the server prints it
	opBool               // binary: 1 byte
	opInt16              // big-endian, as all numbers
	opInt32              //
	opInt64              //
	opOID                // unsigned 32 bits
	opXID8               // unsigned 64 bits, as a decimal
	opFloat32            //
	opFloat64            //
	opNarrow             // numeric of at most 18 digits
	opWide               // numeric of at most 38 digits
	opNumeric            // numeric as text
	opBytea              //
	opWKB                // PostGIS, extended well-known binary; its text is hexadecimal
	opJSONB              // binary: a version, then the text
	opDate               // days since 2000-01-01
	opStamp              // microseconds since 2000-01-01
	opStampTZ            // the same, UTC
	opTime               // microseconds of the day
	opTimeTZ             // the same, and seconds west of UTC
	opInterval           // microseconds, days, months
	opUUID               // 16 bytes
	opLSN                // 64 bits
)

// errOdd says that a value is sound, and that its column cannot hold it.
var errOdd = errors.New("the column cannot hold the value")

// codec reads the values of one type into the columns of one field.
type codec struct {
	op     op
	field  record.Field // without a name
	cast   bool         // a select list has to give the value as text
	output string       // the function that does, when a cast does something else
	note   string       // what a plan says of it
}

// builtin are the types of pg_catalog that are read in binary and have no modifier that matters.
var builtin = map[string]codec{ //nolint:gochecknoglobals // a constant table
	"bool":        {op: opBool, field: record.Field{Kind: record.Bool}},
	"int2":        {op: opInt16, field: record.Field{Kind: record.Int32}},
	"int4":        {op: opInt32, field: record.Field{Kind: record.Int32}},
	"int8":        {op: opInt64, field: record.Field{Kind: record.Int64}},
	"oid":         {op: opOID, field: record.Field{Kind: record.Int64}},
	"xid":         {op: opOID, field: record.Field{Kind: record.Int64}},
	"cid":         {op: opOID, field: record.Field{Kind: record.Int64}},
	"xid8":        {op: opXID8, field: record.Field{Kind: record.Decimal, Precision: 20}},
	"float4":      {op: opFloat32, field: record.Field{Kind: record.Float32}},
	"float8":      {op: opFloat64, field: record.Field{Kind: record.Float64}},
	"text":        {op: opText, field: record.Field{Kind: record.String}},
	"varchar":     {op: opText, field: record.Field{Kind: record.String}},
	"bpchar":      {op: opText, field: record.Field{Kind: record.String}},
	"name":        {op: opText, field: record.Field{Kind: record.String}},
	"json":        {op: opText, field: record.Field{Kind: record.String}},
	"jsonb":       {op: opJSONB, field: record.Field{Kind: record.String}},
	"bytea":       {op: opBytea, field: record.Field{Kind: record.Bytes}},
	"date":        {op: opDate, field: record.Field{Kind: record.Date}},
	"timestamp":   {op: opStamp, field: record.Field{Kind: record.LocalTimestamp}},
	"timestamptz": {op: opStampTZ, field: record.Field{Kind: record.Timestamp}},
	"time":        {op: opTime, field: record.Field{Kind: record.String}},
	"timetz":      {op: opTimeTZ, field: record.Field{Kind: record.String}},
	"interval":    {op: opInterval, field: record.Field{Kind: record.String}},
	"uuid":        {op: opUUID, field: record.Field{Kind: record.String}},
	"pg_lsn":      {op: opLSN, field: record.Field{Kind: record.String}},
}

// maxDigits is the greatest precision of a decimal.
const maxDigits = 38

// codecOf chooses how a type is read.
func codecOf(t *Type) codec {
	if t.Schema == "pg_catalog" {
		if t.Name == "numeric" {
			return numericCodec(t.Modifier)
		}
		if c, ok := builtin[t.Name]; ok {
			return c
		}
	}
	text := codec{op: opText, field: record.Field{Kind: record.String}, cast: true, output: t.Output}
	switch {
	case t.Class == 'e':
		text.cast = false // its binary form is the label
		return text
	case t.Class == 'b' && (t.Name == "geometry" || t.Name == "geography"):
		return codec{op: opWKB, field: record.Field{Kind: record.Bytes}, note: "extended well-known binary"}
	case t.Schema == "pg_catalog" && t.Name == "money":
		text.note = "text as the server's lc_monetary prints it"
	default:
		text.note = "text as PostgreSQL prints it"
	}
	return text
}

// numericCodec reads a modifier: precision and scale, where the scale may be negative or above the precision (PostgreSQL 15).
func numericCodec(modifier int32) codec {
	if modifier < 4 {
		return codec{op: opNumeric, field: record.Field{Kind: record.String}, note: "text, for it has no precision"}
	}
	precision := int(modifier-4) >> 16 & 0xffff
	scale := int((modifier-4)&0x7ff^0x400) - 0x400
	if scale < 0 {
		precision, scale = precision-scale, 0
	}
	precision = max(precision, scale)
	if precision > maxDigits {
		return codec{op: opNumeric, field: record.Field{Kind: record.String}, note: fmt.Sprintf("text, for it has more than %d digits", maxDigits)}
	}
	c := codec{op: opNarrow, field: record.Field{Kind: record.Decimal, Precision: precision, Scale: scale}}
	if c.field.Wide() {
		c.op = opWide
	}
	return c
}

// sql is the expression of a select list for a column.
func (c *codec) sql(column string) string {
	switch {
	case !c.cast:
		return quote(column)
	case c.output != "":
		return "pg_catalog.textin(" + c.output + "(" + quote(column) + "))"
	}
	return quote(column) + "::text"
}
