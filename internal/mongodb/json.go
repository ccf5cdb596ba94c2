package mongodb

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/record"
)

var (
	errDeep = errors.New("the document is nested more than 200 deep")
	errUTF8 = errors.New("a text is no UTF-8")
)

// AppendJSON appends a value as canonical Extended JSON v2, which keeps every type
// (https://github.com/mongodb/specifications/blob/master/source/extended-json/extended-json.md).
func AppendJSON(dst []byte, v Value) ([]byte, error) { return appendJSON(dst, v, 0) }

func appendJSON(dst []byte, v Value, depth int) ([]byte, error) { //nolint:cyclop // one line a type
	if depth > deepest {
		return dst, errDeep
	}
	switch v.Type {
	case bson.TypeNull:
		return append(dst, "null"...), nil
	case bson.TypeBoolean:
		return strconv.AppendBool(dst, v.Data[0] != 0), nil
	case bson.TypeString:
		return appendString(dst, v.text())
	case bson.TypeEmbeddedDocument:
		return appendDocument(dst, v.Data, depth)
	case bson.TypeArray:
		return appendArray(dst, v.Data, depth)
	case bson.TypeInt32:
		return append(strconv.AppendInt(append(dst, `{"$numberInt":"`...), v.int32(), 10), `"}`...), nil
	case bson.TypeInt64:
		return append(strconv.AppendInt(append(dst, `{"$numberLong":"`...), v.word(), 10), `"}`...), nil
	case bson.TypeDouble:
		return append(appendDouble(append(dst, `{"$numberDouble":"`...), v.double()), `"}`...), nil
	case bson.TypeDecimal128:
		return append(append(append(dst, `{"$numberDecimal":"`...), v.decimal().String()...), `"}`...), nil
	case bson.TypeDateTime:
		return append(strconv.AppendInt(append(dst, `{"$date":{"$numberLong":"`...), v.word(), 10), `"}}`...), nil
	case bson.TypeObjectID:
		return append(hex.AppendEncode(append(dst, `{"$oid":"`...), v.Data), `"}`...), nil
	case bson.TypeTimestamp:
		w := uint64(v.word()) //nolint:gosec // two words
		dst = strconv.AppendUint(append(dst, `{"$timestamp":{"t":`...), w>>32, 10)
		return append(strconv.AppendUint(append(dst, `,"i":`...), w&math.MaxUint32, 10), `}}`...), nil
	case bson.TypeBinary:
		return appendBinary(dst, v)
	case bson.TypeUndefined:
		return append(dst, `{"$undefined":true}`...), nil
	case bson.TypeMinKey:
		return append(dst, `{"$minKey":1}`...), nil
	case bson.TypeMaxKey:
		return append(dst, `{"$maxKey":1}`...), nil
	case bson.TypeSymbol:
		return closed(appendString(append(dst, `{"$symbol":`...), v.text()))
	case bson.TypeJavaScript:
		return closed(appendString(append(dst, `{"$code":`...), v.text()))
	case bson.TypeRegex, bson.TypeDBPointer, bson.TypeCodeWithScope:
		return appendRare(dst, v, depth)
	}
	return dst, errCorrupt
}

func closed(dst []byte, err error) ([]byte, error) { return append(dst, '}'), err }

func appendString(dst, s []byte) ([]byte, error) {
	if !utf8.Valid(s) {
		return dst, errUTF8
	}
	return record.AppendJSONString(dst, s), nil
}

func appendDocument(dst, doc []byte, depth int) ([]byte, error) {
	dst = append(dst, '{')
	var e element
	all := walk(doc)
	for first := true; all.next(&e); first = false {
		if !first {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendString(dst, e.name); err != nil {
			return dst, err
		}
		if dst, err = appendJSON(append(dst, ':'), e.Value, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), all.err
}

func appendArray(dst, array []byte, depth int) ([]byte, error) {
	dst = append(dst, '[')
	var e element
	all := walk(array)
	for first := true; all.next(&e); first = false {
		if !first {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendJSON(dst, e.Value, depth+1); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), all.err
}

// appendDouble writes the shortest number that is read back as the same, and shows that it is no integer.
func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, f, 'G', -1, 64)
	if !slices.ContainsFunc(dst[at:], func(c byte) bool { return c == 'E' || c == '.' }) {
		dst = append(dst, ".0"...)
	}
	return dst
}

func appendBinary(dst []byte, v Value) ([]byte, error) {
	subtype, data, ok := v.binary()
	if !ok {
		return dst, errCorrupt
	}
	dst = base64.StdEncoding.AppendEncode(append(dst, `{"$binary":{"base64":"`...), data)
	dst = hex.AppendEncode(append(dst, `","subType":"`...), []byte{subtype})
	return append(dst, `"}}`...), nil
}

// appendRare writes the types that have several parts.
func appendRare(dst []byte, v Value, depth int) ([]byte, error) {
	var err error
	switch v.Type {
	case bson.TypeRegex:
		pattern, options, _ := bytes.Cut(v.Data, []byte{0})
		if dst, err = appendString(append(dst, `{"$regularExpression":{"pattern":`...), pattern); err != nil {
			return dst, err
		}
		sorted := slices.Clone(options[:len(options)-1])
		slices.Sort(sorted)
		dst, err = appendString(append(dst, `,"options":`...), sorted)
		return append(dst, `}}`...), err
	case bson.TypeDBPointer:
		if dst, err = appendString(append(dst, `{"$dbPointer":{"$ref":`...), v.Data[4:len(v.Data)-13]); err != nil {
			return dst, err
		}
		dst = hex.AppendEncode(append(dst, `,"$id":{"$oid":"`...), v.Data[len(v.Data)-12:])
		return append(dst, `"}}}`...), nil
	default:
		return appendScoped(dst, v.Data, depth)
	}
}

// appendScoped writes code with its scope.
func appendScoped(dst, data []byte, depth int) ([]byte, error) {
	code := data[4:] // behind the length of all
	n := textSize(code)
	if n < 0 || n > len(code) {
		return dst, errCorrupt
	}
	dst, err := appendString(append(dst, `{"$code":`...), code[4:n-1])
	if err != nil {
		return dst, err
	}
	return closed(appendDocument(append(dst, `,"$scope":`...), code[n:], depth+1))
}
