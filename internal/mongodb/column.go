package mongodb

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/record"
)

// Column says which field of a document a column of the stream holds.
type Column struct {
	Name string   `json:"name"`
	Path []string `json:"path"` // of names; one: a field of the document itself
	Type string   `json:"type"` // see ParseType
}

// KeyColumn is the column of the _id, and KeyType its type unless another is declared: text that tells the _id's own type.
const (
	KeyColumn = "_id"
	KeyType   = "key"
)

// op is how the values of a column are read.
type op uint8

const (
	opKey op = iota + 1
	opJSON
	opString
	opObjectID
	opUUID
	opNumberText
	opBool
	opInt32
	opInt64
	opFloat
	opDecimal
	opTimestamp
	opBytes
	opList
)

// format is a type of a column: what acequia holds, and how it is read.
type format struct {
	field record.Field
	op    op
	of    *format // of a list
}

var simple = map[string]format{ //nolint:gochecknoglobals // a constant table
	KeyType:      {record.Field{Kind: record.String}, opKey, nil},
	"json":       {record.Field{Kind: record.String}, opJSON, nil},
	"string":     {record.Field{Kind: record.String}, opString, nil},
	"objectid":   {record.Field{Kind: record.String}, opObjectID, nil},
	"uuid":       {record.Field{Kind: record.String}, opUUID, nil},
	"decimal128": {record.Field{Kind: record.String}, opNumberText, nil},
	"bool":       {record.Field{Kind: record.Bool}, opBool, nil},
	"int32":      {record.Field{Kind: record.Int32}, opInt32, nil},
	"int64":      {record.Field{Kind: record.Int64}, opInt64, nil},
	"float64":    {record.Field{Kind: record.Float64}, opFloat, nil},
	"timestamp":  {record.Field{Kind: record.Timestamp}, opTimestamp, nil},
	"bytes":      {record.Field{Kind: record.Bytes}, opBytes, nil},
}

// ParseType reads the type of a column: bool, int32, int64 (also of an int), float64 (also of integers that it holds exactly),
// decimal(precision,scale) (of Decimal128 and integers), decimal128 (its text), timestamp (of a date), string, objectid (24
// hexadecimal digits), uuid (of binary of subtype 4), bytes (of subtype 0), json (of anything, as canonical Extended JSON), list(TYPE).
func ParseType(text string) (err error) {
	_, err = parseFormat(text)
	return err
}

func parseFormat(text string) (format, error) {
	if f, ok := simple[text]; ok {
		return f, nil
	}
	if inner, ok := strings.CutPrefix(text, "list("); ok && strings.HasSuffix(inner, ")") {
		of, err := parseFormat(strings.TrimSuffix(inner, ")"))
		if err != nil || of.op == opList || of.op == opKey {
			return format{}, fmt.Errorf("%q: a list holds values of a type that is no list", text)
		}
		element := of.field
		element.Name, element.Nullable = "element", true
		return format{record.Field{Kind: record.List, Fields: []record.Field{element}}, opList, &of}, nil
	}
	if strings.HasPrefix(text, "decimal(") {
		f, err := record.ParseType("", text)
		f.Nullable = false
		return format{f, opDecimal, nil}, err
	}
	return format{}, fmt.Errorf("%q is no type: want bool, int32, int64, float64, decimal(precision,scale), decimal128, timestamp, string, "+
		"objectid, uuid, bytes, json or list(TYPE)", text)
}

// Dates that acequia holds are of the years 1 to 9999; in milliseconds since 1970.
const (
	firstMilli = -62_135_596_800_000
	lastMilli  = 253_402_300_799_999
)

// append appends a value to a column; odd: the value is not of its type, or the type cannot hold it, and nothing was appended.
func (f *format) append(c *record.Column, v Value) (odd bool, err error) { //nolint:cyclop // one line a type
	switch f.op {
	case opString:
		if v.Type != bson.TypeString {
			return true, nil
		}
		if !utf8.Valid(v.text()) {
			return false, errUTF8
		}
		c.AppendText(v.text())
	case opInt32, opInt64, opFloat, opDecimal:
		return !f.appendNumber(c, v), nil
	case opBool:
		if v.Type != bson.TypeBoolean {
			return true, nil
		}
		c.Ints = append(c.Ints, int64(v.Data[0]))
	case opTimestamp:
		if v.Type != bson.TypeDateTime || v.word() < firstMilli || v.word() > lastMilli {
			return true, nil
		}
		c.Ints = append(c.Ints, v.word()*1000)
	case opList:
		return f.appendList(c, v)
	case opJSON:
		return false, appendTo(c, v, AppendJSON)
	case opKey:
		return false, appendTo(c, v, AppendKey)
	default:
		return !f.appendBytes(c, v), nil
	}
	return false, nil
}

// appendTo appends a text that is made in place.
func appendTo(c *record.Column, v Value, write func([]byte, Value) ([]byte, error)) error {
	text, err := write(c.Bytes, v)
	if err != nil {
		return err
	}
	if len(text) > math.MaxUint32 {
		return errors.New("more than 4 GiB of text in one batch")
	}
	c.Bytes = text
	c.Offsets = append(c.Offsets, uint32(len(text))) //nolint:gosec // looked at above
	return nil
}

// appendNumber appends a number where it is held exactly.
func (f *format) appendNumber(c *record.Column, v Value) bool {
	var n int64
	switch v.Type {
	case bson.TypeInt32:
		n = v.int32()
	case bson.TypeInt64:
		n = v.word()
	case bson.TypeDouble:
		if f.op == opFloat {
			c.Floats = append(c.Floats, v.double())
		}
		return f.op == opFloat
	case bson.TypeDecimal128:
		if f.op == opDecimal {
			return f.appendDecimal(c, v)
		}
		return false
	default:
		return false
	}
	switch {
	case f.op == opDecimal:
		return f.appendUnscaled(c, n)
	case f.op == opFloat && (n < -exactInt || n > exactInt), f.op == opInt32 && v.Type != bson.TypeInt32:
		return false
	case f.op == opFloat:
		c.Floats = append(c.Floats, float64(n))
	default:
		c.Ints = append(c.Ints, n)
	}
	return true
}

func (f *format) appendDecimal(c *record.Column, v Value) bool {
	d := v.decimal()
	if d.IsNaN() || d.IsInf() != 0 {
		return false
	}
	n, ok := unscaled(d, f.field.Precision, f.field.Scale)
	if ok {
		f.put(c, n)
	}
	return ok
}

func (f *format) appendUnscaled(c *record.Column, whole int64) bool {
	n, ok := rescale(big.NewInt(whole), f.field.Scale, f.field.Precision)
	if ok {
		f.put(c, n)
	}
	return ok
}

func (f *format) put(c *record.Column, n record.Int128) {
	if f.field.Wide() {
		c.Wide = append(c.Wide, n)
		return
	}
	c.Ints = append(c.Ints, int64(n.Lo)) //nolint:gosec // two's complement, of 18 digits
}

// appendBytes appends what is held as it stands, or as digits of it.
func (f *format) appendBytes(c *record.Column, v Value) bool {
	switch {
	case f.op == opObjectID && v.Type == bson.TypeObjectID:
		var digits [24]byte
		for i, b := range v.Data {
			const hexDigits = "0123456789abcdef"
			digits[2*i], digits[2*i+1] = hexDigits[b>>4], hexDigits[b&15]
		}
		c.AppendText(digits[:])
		return true
	case f.op == opNumberText && v.Type == bson.TypeDecimal128:
		c.AppendText([]byte(v.decimal().String()))
		return true
	case v.Type != bson.TypeBinary:
		return false
	}
	switch subtype, data, ok := v.binary(); {
	case f.op == opBytes && ok && subtype == bson.TypeBinaryGeneric:
		c.AppendText(data)
		return true
	case f.op == opUUID && ok && subtype == bson.TypeBinaryUUID && len(data) == len(uuid.UUID{}):
		c.AppendText([]byte(uuid.UUID(data).String()))
		return true
	}
	return false
}

// appendList appends an array; one with an element of another type is odd as a whole.
func (f *format) appendList(c *record.Column, v Value) (odd bool, err error) {
	if v.Type != bson.TypeArray {
		return true, nil
	}
	of, items := &f.field.Fields[0], &c.Children[0]
	first := int(c.Offsets[len(c.Offsets)-1])
	slot := first
	var e element
	all := walk(v.Data)
	for ; all.next(&e); slot++ {
		if e.Type == bson.TypeNull {
			items.AppendZero(of)
			items.SetNull(slot)
			continue
		}
		if odd, err = f.of.append(items, e.Value); odd || err != nil {
			items.Truncate(of, first)
			return odd, err
		}
	}
	if all.err != nil {
		items.Truncate(of, first)
		return false, all.err
	}
	c.Offsets = append(c.Offsets, uint32(slot)) //nolint:gosec // elements of one batch
	return false, nil
}
