package mongodb

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/acequia-io/acequia/fault"
)

// A key is an _id as text, which tells its type: oid:65f2…, s:text, n:42. The server compares values of different types by their types
// alone, but numbers of any type by value: 1, 1.0 and Decimal128 1 are the same _id, and "1" is another.
//
// Keys of one kind stand in one bracket: what $gt and $lte compare.

// bracket is the keys of one kind.
type bracket struct {
	name  string
	types []bson.Type
	alias string // of the types, as $type takes it; "": all that are in no other
	plain bool   // the server's order of its keys is that of their texts
}

// brackets are in the order in which a sort by _id gives them, see
// https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/. Other types are rare as an _id; most of them stand behind.
var brackets = []bracket{ //nolint:gochecknoglobals // a constant table
	{name: "null", types: []bson.Type{bson.TypeNull}, alias: "null"},
	{name: numberBracket, types: []bson.Type{bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128}, alias: "number"},
	{name: "s:", types: []bson.Type{bson.TypeString}, alias: "string", plain: true},
	{name: "doc:", types: []bson.Type{bson.TypeEmbeddedDocument}, alias: "object"},
	{name: "bin:", types: []bson.Type{bson.TypeBinary}, alias: "binData"},
	{name: "oid:", types: []bson.Type{bson.TypeObjectID}, alias: "objectId", plain: true},
	{name: "b:", types: []bson.Type{bson.TypeBoolean}, alias: "bool"},
	{name: "date:", types: []bson.Type{bson.TypeDateTime}, alias: "date"},
	{name: "ts:", types: []bson.Type{bson.TypeTimestamp}, alias: "timestamp"},
	{name: rareBracket},
}

const (
	numberBracket = "n:"
	rareBracket   = "x:"
)

func bracketOf(t bson.Type) int {
	i := slices.IndexFunc(brackets, func(b bracket) bool { return slices.Contains(b.types, t) })
	if i < 0 {
		return len(brackets) - 1
	}
	return i
}

func bracketNamed(key string) int {
	return slices.IndexFunc(brackets, func(b bracket) bool { return strings.HasPrefix(key, b.name) })
}

// AppendKey appends an _id as text.
func AppendKey(dst []byte, v Value) ([]byte, error) {
	at := bracketOf(v.Type)
	dst = append(dst, brackets[at].name...)
	switch v.Type {
	case bson.TypeNull:
		return dst, nil
	case bson.TypeObjectID:
		return hex.AppendEncode(dst, v.Data), nil
	case bson.TypeString:
		if _, err := appendString(nil, v.text()); err != nil {
			return dst, err
		}
		return append(dst, v.text()...), nil
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return appendNumber(dst, v), nil
	case bson.TypeBoolean:
		return strconv.AppendBool(dst, v.Data[0] != 0), nil
	case bson.TypeDateTime:
		return strconv.AppendInt(dst, v.word(), 10), nil
	case bson.TypeTimestamp:
		w := uint64(v.word()) //nolint:gosec // two words
		return strconv.AppendUint(append(strconv.AppendUint(dst, w>>32, 10), ':'), w&(1<<32-1), 10), nil
	case bson.TypeBinary:
		subtype, data, ok := v.binary()
		if !ok {
			return dst, errCorrupt
		}
		return hex.AppendEncode(append(hex.AppendEncode(dst, []byte{subtype}), ':'), data), nil
	default:
		return AppendJSON(dst, v)
	}
}

// ParseKey gives an _id that the server takes for equal to the one with this text.
func ParseKey(key string) (any, error) {
	wrong := fault.Stop(fmt.Errorf("mongodb: %q is no key", key))
	at := bracketNamed(key)
	if at < 0 {
		return nil, wrong
	}
	text := key[len(brackets[at].name):]
	switch brackets[at].name {
	case "null":
		if text == "" {
			return bson.RawValue{Type: bson.TypeNull}, nil
		}
	case "oid:":
		if id, err := bson.ObjectIDFromHex(text); err == nil {
			return id, nil
		}
	case "s:":
		return text, nil
	case numberBracket:
		if n, ok := parseNumber(text); ok {
			return n, nil
		}
	case "b:":
		if b, err := strconv.ParseBool(text); err == nil {
			return b, nil
		}
	case "date:":
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
			return bson.DateTime(ms), nil
		}
	case "ts:":
		t, i, _ := strings.Cut(text, ":")
		high, err1 := strconv.ParseUint(t, 10, 32)
		low, err2 := strconv.ParseUint(i, 10, 32)
		if err1 == nil && err2 == nil {
			return bson.Timestamp{T: uint32(high), I: uint32(low)}, nil
		}
	case "bin:":
		sub, data, _ := strings.Cut(text, ":")
		s, err1 := hex.DecodeString(sub)
		b, err2 := hex.DecodeString(data)
		if err1 == nil && err2 == nil && len(s) == 1 {
			return bson.Binary{Subtype: s[0], Data: b}, nil
		}
	default:
		var doc struct{ V bson.RawValue }
		if err := bson.UnmarshalExtJSON([]byte(`{"v":`+text+`}`), true, &doc); err == nil && bracketOf(doc.V.Type) == at {
			return doc.V, nil
		}
	}
	return nil, wrong
}

// KeyRange is the documents whose keys are above After and not above UpTo; "": no bound.
type KeyRange struct {
	After string `json:"after,omitempty"`
	UpTo  string `json:"up_to,omitempty"`
}

// Filter gives the query of a range in the order in which a sort by _id gives keys. No operator compares with keys of rare kinds: neither
// bound may be one (see Divides), and they all stand behind the last bound.
func (r KeyRange) Filter() (bson.D, error) {
	var order []int
	for i := range brackets {
		order = append(order, i)
	}
	return r.filter(order)
}

// FilterByText is Filter where the order of keys is that of their texts; the bounds are Ordered.
func (r KeyRange) FilterByText() (bson.D, error) {
	var order []int
	for i := range brackets {
		order = append(order, i)
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(brackets[a].name, brackets[b].name) })
	return r.filter(order)
}

// filter gives the query of a range in some order of brackets: a condition for each, since no comparison with a key of one finds a key
// of another.
func (r KeyRange) filter(order []int) (bson.D, error) {
	if r.After == "" && r.UpTo == "" {
		return bson.D{}, nil
	}
	first, last := 0, len(order)-1
	var after, upTo any
	var err error
	if r.After != "" {
		first = slices.Index(order, bracketNamed(r.After))
		after, err = ParseKey(r.After)
	}
	if r.UpTo != "" && err == nil {
		last = slices.Index(order, bracketNamed(r.UpTo))
		upTo, err = ParseKey(r.UpTo)
	}
	if err != nil || first < 0 || last < 0 {
		return nil, fault.Stop(fmt.Errorf("mongodb: %q to %q is no range of keys", r.After, r.UpTo))
	}
	one := bson.A{}
	for i := first; i <= last; i++ {
		b := brackets[order[i]]
		if b.name == rareBracket {
			one = append(one, id(bson.E{Key: "$not", Value: bson.D{{Key: "$type", Value: commonTypes()}}}))
			continue
		}
		conditions := []bson.E{{Key: "$type", Value: b.alias}}
		if r.After != "" && i == first {
			conditions = append(conditions, above(after))
		}
		switch {
		case r.UpTo == "" || i < last:
		case b.name == numberBracket: // NaN is less than all numbers, and no operator says so
			conditions = append(conditions, bson.E{Key: "$not", Value: bson.D{{Key: "$gt", Value: upTo}}})
		default:
			conditions = append(conditions, bson.E{Key: "$lte", Value: upTo})
		}
		one = append(one, id(conditions...))
	}
	return bson.D{{Key: "$or", Value: one}}, nil
}

func id(conditions ...bson.E) bson.D { return bson.D{{Key: "_id", Value: bson.D(conditions)}} }

// above is what is greater than a value in the same bracket: NaN is less than all numbers, and no operator compares with it.
func above(v any) bson.E {
	switch n := v.(type) {
	case float64:
		if n != n { //nolint:gocritic // NaN
			return bson.E{Key: "$gte", Value: math.Inf(-1)}
		}
	case bson.Decimal128:
		if n.IsNaN() {
			return bson.E{Key: "$gte", Value: math.Inf(-1)}
		}
	}
	return bson.E{Key: "$gt", Value: v}
}

func commonTypes() bson.A {
	var out bson.A
	for _, b := range brackets[:len(brackets)-1] {
		out = append(out, b.alias)
	}
	return out
}

// Bracket is the place of the kind of a key in the order of keys; -1: it is no key.
func Bracket(key string) int { return bracketNamed(key) }

// Divides says whether a range may end at a key: operators compare with it.
func Divides(key string) bool {
	at := bracketNamed(key)
	return at >= 0 && brackets[at].name != rareBracket
}

// Ordered says whether the texts of keys of its kind have the order of the keys, so that other keys can be compared with it as text.
func Ordered(key string) bool {
	at := bracketNamed(key)
	return at >= 0 && brackets[at].plain
}

// KeyValue gives the _id of ParseKey as BSON holds it.
func KeyValue(key string) (Value, error) {
	id, err := ParseKey(key)
	if err != nil {
		return Value{}, err
	}
	if raw, ok := id.(bson.RawValue); ok {
		return Value{raw.Type, raw.Value}, nil
	}
	t, data, err := bson.MarshalValue(id)
	return Value{t, data}, err
}
