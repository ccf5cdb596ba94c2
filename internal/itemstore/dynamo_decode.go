package itemstore

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/record"
)

// Image is what an item of DynamoDB says.
type Image struct {
	Doc     []byte // as record.Batch.AppendJSON writes it, columns that are not there as null; nil when deleted
	Deleted bool   // it is a tombstone
	Marker  bool   // it is no item of a record, but remembers a truncate
}

// ReadImage reads an item, written by a Dynamo or by anybody else; nil is no item. Attributes that the schema does not know come last.
func ReadImage(s *record.Schema, item map[string]types.AttributeValue) Image {
	switch {
	case item == nil || deleted(item):
		return Image{Deleted: true, Marker: isMarker(item)}
	case isMarker(item):
		return Image{Marker: true}
	}
	return Image{Doc: document(nil, s, item)}
}

func deleted(item attributes) bool {
	v, ok := item[deletedAttribute].(*types.AttributeValueMemberBOOL)
	return ok && v.Value
}

// document appends the JSON of an item.
func document(dst []byte, s *record.Schema, item attributes) []byte {
	held, _ := item[unindexedAttribute].(*types.AttributeValueMemberM)
	value := func(name string) types.AttributeValue {
		if v, ok := item[name]; ok || held == nil {
			return v
		}
		return held.Value[name]
	}
	dst = append(dst, '{')
	add := func(name string, f *record.Field, v types.AttributeValue) {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = appendAttribute(append(record.AppendJSONString(dst, name), ':'), f, v)
	}
	known := func(string) bool { return false }
	if s != nil {
		for i := range s.Fields {
			add(s.Fields[i].Name, &s.Fields[i], value(s.Fields[i].Name))
		}
		known = func(name string) bool { return s.Index(name) >= 0 }
	}
	names := slices.Collect(maps.Keys(item))
	if held != nil {
		names = slices.AppendSeq(names, maps.Keys(held.Value))
	}
	slices.Sort(names)
	for _, name := range names {
		if !known(name) && !system(name) {
			add(name, nil, value(name))
		}
	}
	return append(dst, '}')
}

// appendAttribute appends a value as the JSON that a field wants; without a field as it comes.
func appendAttribute(dst []byte, f *record.Field, v types.AttributeValue) []byte {
	var kind record.Kind
	if f != nil {
		kind = f.Kind
	}
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return record.AppendJSONString(dst, v.Value)
	case *types.AttributeValueMemberN:
		return appendNumber(dst, f, v.Value)
	case *types.AttributeValueMemberB:
		return appendBinary(dst, kind, v.Value)
	case *types.AttributeValueMemberBOOL:
		return fmt.Appendf(dst, "%t", v.Value)
	case *types.AttributeValueMemberL:
		return appendList(dst, f, v.Value)
	case *types.AttributeValueMemberSS:
		return appendList(dst, f, eachOf(v.Value, func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }))
	case *types.AttributeValueMemberNS:
		return appendList(dst, f, eachOf(v.Value, func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }))
	case *types.AttributeValueMemberBS:
		return appendList(dst, f, eachOf(v.Value, func(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }))
	case *types.AttributeValueMemberM:
		return appendMembers(dst, f, v.Value)
	}
	return append(dst, "null"...)
}

func eachOf[T any](values []T, attribute func(T) types.AttributeValue) []types.AttributeValue {
	out := make([]types.AttributeValue, len(values))
	for i, v := range values {
		out[i] = attribute(v)
	}
	return out
}

func appendNumber(dst []byte, f *record.Field, text string) []byte {
	if f == nil {
		return append(dst, text...)
	}
	switch f.Kind {
	case record.Decimal:
		return append(append(append(dst, '"'), scaled(plain(text), f.Scale)...), '"')
	case record.Int32, record.Int64:
		return append(dst, plain(text)...)
	case record.String:
		return record.AppendJSONString(dst, text)
	}
	return append(dst, text...)
}

// scaled gives a number the zeros of its column that DynamoDB leaves out.
func scaled(text string, scale int) string {
	_, fraction, _ := strings.Cut(text, ".")
	if fraction == "" && scale > 0 {
		text += "."
	}
	return text + strings.Repeat("0", max(0, scale-len(fraction)))
}

// plain writes a number without an exponent, and without zeros after its point.
func plain(text string) string {
	if !strings.ContainsAny(text, "eE.") {
		return text
	}
	digits, exponent, ok := significant(text)
	switch {
	case !ok:
		return text
	case digits == "":
		return "0"
	case exponent < 0:
		digits, exponent = strings.Repeat("0", -exponent)+digits, 0
	}
	if exponent+1 > len(digits) {
		digits += strings.Repeat("0", exponent+1-len(digits))
	}
	if fraction := digits[exponent+1:]; fraction != "" {
		digits = digits[:exponent+1] + "." + fraction
	}
	if text[0] == '-' {
		return "-" + digits
	}
	return digits
}

func appendBinary(dst []byte, kind record.Kind, value []byte) []byte {
	if kind == record.String { // text that is not UTF-8
		return append(base64.StdEncoding.AppendEncode(append(dst, `{"$base64":"`...), value), `"}`...)
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), value), '"')
}

func appendList(dst []byte, f *record.Field, values []types.AttributeValue) []byte {
	var element *record.Field
	if f != nil && f.Kind == record.List {
		element = &f.Fields[0]
	}
	if f != nil && f.Kind == record.String { // JSON as text
		return record.AppendJSONString(dst, appendList(nil, nil, values))
	}
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendAttribute(dst, element, v)
	}
	return append(dst, ']')
}

func appendMembers(dst []byte, f *record.Field, values attributes) []byte {
	if f != nil && f.Kind == record.String {
		return record.AppendJSONString(dst, appendMembers(nil, nil, values))
	}
	member := func(string) *record.Field { return nil }
	if f != nil && f.Kind == record.Struct {
		member = func(name string) *record.Field {
			if i := slices.IndexFunc(f.Fields, func(m record.Field) bool { return m.Name == name }); i >= 0 {
				return &f.Fields[i]
			}
			return nil
		}
	}
	dst = append(dst, '{')
	for i, name := range slices.Sorted(maps.Keys(values)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendAttribute(append(record.AppendJSONString(dst, name), ':'), member(name), values[name])
	}
	return append(dst, '}')
}

// item makes an item of what a table holds; a marker, or what has no key, is none.
func (l *layout) item(from attributes) (Item, bool) {
	if isMarker(from) {
		return Item{}, false
	}
	out := Item{Key: l.keyText(from)}
	out.Version = versionOf(from)
	if out.Deleted = deleted(from); !out.Deleted {
		out.Doc = document(nil, l.schema, from)
	}
	return out, true
}

// versionOf is an item's; one that acequia did not write is older than all that it writes.
func versionOf(item attributes) record.Version {
	text, ok := item[versionAttribute].(*types.AttributeValueMemberS)
	if !ok {
		return record.Version{}
	}
	v, err := record.ParseVersion(text.Value)
	if err != nil {
		return record.Version{}
	}
	return v
}

// keyText writes the key of an item as items' keys are written.
func (l *layout) keyText(item attributes) string {
	if l.text {
		if s, ok := item[keyAttribute].(*types.AttributeValueMemberS); ok {
			return s.Value
		}
		return ""
	}
	if one := &l.schema.Fields[l.schema.Key[0]]; len(l.schema.Key) == 1 && one.Kind == record.String {
		switch v := item[one.Name].(type) {
		case *types.AttributeValueMemberS:
			return v.Value
		case *types.AttributeValueMemberB:
			return string(v.Value)
		}
		return ""
	}
	out := []byte{'['}
	for i, k := range l.schema.Key {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendAttribute(out, &l.schema.Fields[k], item[l.schema.Fields[k].Name])
	}
	return string(append(out, ']'))
}
