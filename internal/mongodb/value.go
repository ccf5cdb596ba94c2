package mongodb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// errCorrupt is of bytes that are no BSON, see https://bsonspec.org/spec.html.
var errCorrupt = errors.New("the document is no BSON")

// deepest is how deep documents may stand in each other: the server's own limit is 100.
const deepest = 200

// Value is a value as BSON holds it: a part of the document that it was read from.
type Value struct {
	Type bson.Type
	Data []byte
}

// element is a named value.
type element struct {
	name []byte
	Value
}

// elements walks a document without decoding it.
type elements struct {
	rest []byte
	err  error
}

// walk begins with the elements of a document or an array.
func walk(doc []byte) elements {
	if len(doc) < 5 || int(int32(binary.LittleEndian.Uint32(doc))) != len(doc) || doc[len(doc)-1] != 0 { //nolint:gosec // compared
		return elements{err: errCorrupt}
	}
	return elements{rest: doc[4 : len(doc)-1]}
}

// next gives the next element; false: there is none, or err says why it cannot be read.
func (e *elements) next(to *element) bool {
	if e.err != nil || len(e.rest) == 0 {
		return false
	}
	to.Type = bson.Type(e.rest[0])
	end := bytes.IndexByte(e.rest[1:], 0)
	if end < 0 {
		e.err = errCorrupt
		return false
	}
	to.name = e.rest[1 : 1+end]
	e.rest = e.rest[2+end:]
	n := size(to.Type, e.rest)
	if n < 0 || n > len(e.rest) {
		e.err = errCorrupt
		return false
	}
	to.Data = e.rest[:n:n]
	e.rest = e.rest[n:]
	return true
}

// size is how many bytes a value takes; -1: these are no value.
func size(t bson.Type, b []byte) int {
	switch t {
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
		return 0
	case bson.TypeBoolean:
		return 1
	case bson.TypeInt32:
		return 4
	case bson.TypeDouble, bson.TypeInt64, bson.TypeDateTime, bson.TypeTimestamp:
		return 8
	case bson.TypeObjectID:
		return 12
	case bson.TypeDecimal128:
		return 16
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return textSize(b)
	case bson.TypeDBPointer:
		if n := textSize(b); n > 0 {
			return n + 12
		}
	case bson.TypeBinary:
		if n := length(b); n >= 0 && n <= len(b)-5 {
			return n + 5
		}
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		if n := length(b); n >= 5 && n <= len(b) {
			return n
		}
	case bson.TypeRegex:
		if i := bytes.IndexByte(b, 0); i >= 0 {
			if j := bytes.IndexByte(b[i+1:], 0); j >= 0 {
				return i + j + 2
			}
		}
	}
	return -1
}

func length(b []byte) int {
	if len(b) < 4 {
		return -1
	}
	return int(int32(binary.LittleEndian.Uint32(b))) //nolint:gosec // two's complement
}

// textSize is that of a string, which counts its closing zero.
func textSize(b []byte) int {
	n := length(b)
	if n < 1 || n > len(b)-4 || b[3+n] != 0 {
		return -1
	}
	return n + 4
}

// text is what a string, a symbol or code holds.
func (v Value) text() []byte { return v.Data[4 : len(v.Data)-1] }

func (v Value) int32() int64 { return int64(int32(binary.LittleEndian.Uint32(v.Data))) } //nolint:gosec // two's complement

// word is an int64, a date in milliseconds since 1970, or a timestamp.
func (v Value) word() int64 { return int64(binary.LittleEndian.Uint64(v.Data)) } //nolint:gosec // two's complement

func (v Value) double() float64 { return math.Float64frombits(binary.LittleEndian.Uint64(v.Data)) }

// decimal gives the two words of a Decimal128.
func (v Value) decimal() bson.Decimal128 {
	return bson.NewDecimal128(binary.LittleEndian.Uint64(v.Data[8:]), binary.LittleEndian.Uint64(v.Data))
}

// binary gives subtype and bytes. The old generic subtype counts its length twice.
func (v Value) binary() (subtype byte, data []byte, ok bool) {
	subtype, data = v.Data[4], v.Data[5:]
	if subtype != bson.TypeBinaryBinaryOld {
		return subtype, data, true
	}
	if n := length(data); n < 0 || n != len(data)-4 {
		return subtype, nil, false
	}
	return subtype, data[4:], true
}

// Field finds a value by its path, whose names dots divide; false: there is none.
func Field(doc []byte, path ...string) (v Value, ok bool) {
	v = Value{bson.TypeEmbeddedDocument, doc}
	for _, name := range path {
		if v.Type != bson.TypeEmbeddedDocument {
			return Value{}, false
		}
		found := false
		var e element
		for all := walk(v.Data); all.next(&e); {
			if string(e.name) == name {
				v, found = e.Value, true
				break
			}
		}
		if !found {
			return Value{}, false
		}
	}
	return v, true
}

// Millis is a date, in milliseconds since 1970; false: the value is none.
func (v Value) Millis() (int64, bool) {
	if v.Type != bson.TypeDateTime {
		return 0, false
	}
	return v.word(), true
}

// typeName is that of the type as queries write it (https://www.mongodb.com/docs/manual/reference/bson-types/).
func typeName(t bson.Type) string {
	names := map[bson.Type]string{
		bson.TypeDouble: "double", bson.TypeString: "string", bson.TypeEmbeddedDocument: "object", bson.TypeArray: "array", bson.TypeBinary: "binData",
		bson.TypeUndefined: "undefined", bson.TypeObjectID: "objectId", bson.TypeBoolean: "bool", bson.TypeDateTime: "date", bson.TypeNull: "null",
		bson.TypeRegex: "regex", bson.TypeDBPointer: "dbPointer", bson.TypeJavaScript: "javascript", bson.TypeSymbol: "symbol",
		bson.TypeCodeWithScope: "javascriptWithScope", bson.TypeInt32: "int", bson.TypeTimestamp: "timestamp", bson.TypeInt64: "long",
		bson.TypeDecimal128: "decimal", bson.TypeMinKey: "minKey", bson.TypeMaxKey: "maxKey",
	}
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("type %d", byte(t))
}
