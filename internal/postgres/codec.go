package postgres

import (
	"errors"
	"fmt"
	"slices"

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
	opList               // array
	opStruct             // composite
	opHstore             // list of key and value
)

// errMalformed says that the server and this package disagree on the type.
var errMalformed = errors.New("these bytes are no value of the type")

// codec reads the values of one type into the columns of one field.
type codec struct {
	op     op
	field  record.Field // without a name
	parts  []codec      // the element of a list, the members of a struct
	cast   bool         // a select list has to give the value as text
	output string       // the function that does, when a cast does something else
	verify bool         // text may be no UTF-8
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
	switch {
	case t.Element != nil:
		return listCodec(t)
	case t.Class == 'c' && len(t.Members) > 0:
		return structCodec(t)
	case t.Class == 'e':
		return codec{op: opText, field: record.Field{Kind: record.String}} // its binary form is the label
	case t.Schema == "pg_catalog" && t.Name == "numeric":
		return numericCodec(t.Modifier)
	case t.Schema == "pg_catalog":
		if c, ok := builtin[t.Name]; ok {
			return c
		}
	case t.Class == 'b' && (t.Name == "geometry" || t.Name == "geography"):
		return codec{op: opWKB, field: record.Field{Kind: record.Bytes}, note: "extended well-known binary"}
	case t.Class == 'b' && t.Name == "hstore":
		text := record.Field{Kind: record.String}
		key, value := named(text, "key", false), named(text, "value", true)
		entry := record.Field{Name: "element", Kind: record.Struct, Fields: []record.Field{key, value}}
		return codec{
			op: opHstore, field: record.Field{Kind: record.List, Fields: []record.Field{entry}}, note: "a list of key and value",
			parts: []codec{{op: opText, field: key}, {op: opText, field: value}},
		}
	}
	return textCodec(t)
}

// textCodec reads a type as the server prints it.
func textCodec(t *Type) codec {
	c := codec{op: opText, field: record.Field{Kind: record.String}, cast: true, output: t.Output, note: "text as PostgreSQL prints it"}
	switch {
	case t.Schema == "pg_catalog" && t.Name == "money":
		c.note = "text as the server's lc_monetary prints it"
	case t.Schema == "pg_catalog" && t.Name == "char":
		c.verify = true // any byte
	}
	return c
}

func listCodec(t *Type) codec {
	element := codecOf(t.Element)
	f := record.Field{Kind: record.List, Fields: []record.Field{named(element.field, "element", true)}}
	return codec{op: opList, field: f, parts: []codec{element}, cast: element.cast}
}

func structCodec(t *Type) codec {
	c := codec{op: opStruct, field: record.Field{Kind: record.Struct}}
	for i := range t.Members {
		member := codecOf(&t.Members[i].Type)
		c.parts = append(c.parts, member)
		c.field.Fields = append(c.field.Fields, named(member.field, t.Members[i].Name, true))
		c.cast = c.cast || member.cast
	}
	return c
}

func named(f record.Field, name string, nullable bool) record.Field {
	f.Name, f.Nullable = name, nullable
	return f
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
	return decimalCodec(record.Field{Kind: record.Decimal, Precision: precision, Scale: scale})
}

func decimalCodec(f record.Field) codec {
	if f.Wide() {
		return codec{op: opWide, field: f}
	}
	return codec{op: opNarrow, field: f}
}

// verified gives a codec whose texts are looked at, for a server that takes any bytes as text.
func (c codec) verified() codec {
	c.verify = true
	c.parts = slices.Clone(c.parts)
	for i := range c.parts {
		c.parts[i] = c.parts[i].verified()
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
