package sqs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/acequia-io/acequia/record"
)

// images makes rows of the records of DynamoDB Streams, as sources/itemchanges makes them of the embedded table's changes:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html.
type images struct{ schema *record.Schema }

// change is a record of a stream.
type change struct {
	ID       string `json:"eventID"`
	Name     string `json:"eventName"`
	Identity struct {
		Principal string `json:"principalId"`
	} `json:"userIdentity"`
	Of struct {
		At       json.Number                           `json:"ApproximateCreationDateTime"` // seconds since 1970, whole or not
		Keys     map[string]map[string]json.RawMessage `json:"Keys"`
		New      map[string]map[string]json.RawMessage `json:"NewImage"`
		Old      map[string]map[string]json.RawMessage `json:"OldImage"`
		Sequence string                                `json:"SequenceNumber"`
	} `json:"dynamodb"`
}

var (
	errNoImage = errors.New("the record has the keys alone: set the view type of the stream to NEW_IMAGE or NEW_AND_OLD_IMAGES")
	errNoID    = errors.New("the record has no eventID or no SequenceNumber")
	errValue   = errors.New("it is no attribute value of DynamoDB")
)

// unfold puts the values among the others that sinks/items keeps apart, for an index of the table could not have them as its key.
func unfold(image map[string]map[string]json.RawMessage) error {
	text, there := image["_unindexed"]["M"]
	if !there {
		return nil
	}
	var apart map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &apart); err != nil {
		return errValue
	}
	for name, v := range apart {
		if _, there := image[name]; !there {
			image[name] = v
		}
	}
	return nil
}

// isMarker says whether an item is none of a record: it remembers that the table was emptied.
func isMarker(image map[string]map[string]json.RawMessage) bool { return image["_truncated"] != nil }

// row gives the row of a record. given is false of a record that tells nothing: a tombstone that is removed was deleted before.
func (d *images) row(text []byte) (r row, given bool, err error) {
	var c change
	if err := json.Unmarshal(text, &c); err != nil {
		return r, false, err
	}
	r.id, r.own = c.ID, true
	if at, _, err := new(big.Float).Parse(cmpNumber(c.Of.At), 10); err == nil {
		r.at, _ = at.Mul(at, big.NewFloat(1e6)).Add(at, big.NewFloat(0.5)).Int64() //nolint:mnd // microseconds, rounded
	}
	if c.ID == "" || c.Of.Sequence == "" {
		return r, false, errNoID
	}
	if isMarker(c.Of.New) || isMarker(c.Of.Old) {
		return r, false, nil
	}
	if err := errors.Join(unfold(c.Of.New), unfold(c.Of.Old)); err != nil {
		return r, false, err
	}
	if r.version, err = sequence(c.Of.Sequence); err != nil {
		return r, false, err
	}
	image := c.Of.New
	switch c.Name {
	case "INSERT":
		r.op = record.Insert
	case "MODIFY":
		r.op = record.Update
	case "REMOVE":
		r.op, image = record.Delete, c.Of.Old
		if isTombstone(c.Of.Old) {
			return r, false, nil
		}
	default:
		return r, false, fmt.Errorf("the eventName %q is not known", c.Name)
	}
	if isTombstone(c.Of.New) {
		if isTombstone(c.Of.Old) {
			return r, false, nil
		}
		r.op = record.Delete
		if len(c.Of.Old) > 0 {
			image = c.Of.Old
		}
	}
	if r.op != record.Delete && len(image) == 0 {
		return r, false, errNoImage
	}
	if r.op == record.Delete {
		r.partial = true
		if len(image) == 0 {
			image = c.Of.Keys
		}
	}
	r.object, err = d.object(image)
	return r, err == nil, err
}

func cmpNumber(n json.Number) string {
	if n == "" {
		return "0"
	}
	return string(n)
}

// isTombstone says whether an item stands for one that was deleted (docs/AWS.md).
func isTombstone(image map[string]map[string]json.RawMessage) bool {
	return string(image["_deleted"]["BOOL"]) == "true"
}

// sequence makes a version of a sequence number: up to 40 decimal digits, which two words hold up to 3.4e38.
func sequence(text string) (v record.Version, err error) {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || n.Sign() < 0 || n.BitLen() > 128 {
		return v, fmt.Errorf("the SequenceNumber %q is not one of 128 bits", text)
	}
	v.Hi, v.Lo = new(big.Int).Rsh(n, 64).Uint64(), new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0))).Uint64()
	return v, nil
}

// object writes an image as the row that it holds. Attributes that are no columns stay in it, so that they are told, but for those
// that sinks keep beside an item, whose names begin with _.
func (d *images) object(image map[string]map[string]json.RawMessage) ([]byte, error) {
	out := []byte{'{'}
	for i := range d.schema.Fields {
		f := &d.schema.Fields[i]
		v, there := image[f.Name]
		if !there {
			continue
		}
		out = append(record.AppendJSONString(out, f.Name), ':')
		var err error
		if out, err = appendValue(out, f, v); err != nil {
			return nil, &record.ColumnError{Column: f.Name, Err: err}
		}
		out = append(out, ',')
	}
	for name := range image {
		if d.schema.Index(name) < 0 && !strings.HasPrefix(name, "_") {
			return nil, &record.ColumnError{Column: name, Err: errors.New("unknown column")}
		}
	}
	return append(bytes.TrimSuffix(out, []byte{','}), '}'), nil
}

// appendValue writes an attribute value as the JSON of a field.
func appendValue(dst []byte, f *record.Field, v map[string]json.RawMessage) ([]byte, error) {
	if len(v) != 1 {
		return dst, errValue
	}
	for kind, text := range v {
		switch kind {
		case "NULL":
			return append(dst, "null"...), nil
		case "BOOL":
			return append(dst, text...), nil
		case "S":
			return append(dst, text...), nil
		case "B":
			if f.Kind == record.String {
				return append(append(append(dst, `{"$base64":`...), text...), '}'), nil
			}
			return append(dst, text...), nil
		case "N":
			return appendNumber(dst, f, text)
		case "L", "SS", "NS", "BS":
			return appendList(dst, f, kind, text)
		case "M":
			return appendMap(dst, f, text)
		}
	}
	return dst, errValue
}

func appendNumber(dst []byte, f *record.Field, text []byte) ([]byte, error) {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return dst, errValue
	}
	if f.Kind == record.Decimal || f.Kind == record.String {
		return record.AppendJSONString(dst, fixed(digits)), nil
	}
	if !json.Valid([]byte(digits)) {
		return dst, errValue
	}
	return append(dst, digits...), nil
}

// fixed writes a number without an exponent. DynamoDB's have 38 digits and exponents up to 125.
func fixed(number string) string {
	digits, exponent, found := strings.Cut(strings.ToLower(number), "e")
	if !found {
		return number
	}
	n, ok := new(big.Rat).SetString(digits + "e" + exponent)
	if !ok || len(exponent) > len("-130") {
		return number
	}
	text := n.FloatString(200) //nolint:mnd // more than any has
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

func appendList(dst []byte, f *record.Field, kind string, text []byte) ([]byte, error) {
	if f.Kind != record.List {
		return dst, fmt.Errorf("want %s, got a list or a set", f.Kind)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return dst, errValue
	}
	dst = append(dst, '[')
	for i, one := range all {
		v := map[string]json.RawMessage{strings.TrimSuffix(kind, "S"): one}
		if kind == "L" {
			v = nil
			if err := json.Unmarshal(one, &v); err != nil {
				return dst, errValue
			}
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendValue(dst, &f.Fields[0], v); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendMap(dst []byte, f *record.Field, text []byte) ([]byte, error) {
	if f.Kind != record.Struct {
		return dst, fmt.Errorf("want %s, got a map", f.Kind)
	}
	var all map[string]map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return dst, errValue
	}
	d := images{schema: &record.Schema{Fields: f.Fields}}
	inner, err := d.object(all)
	return append(dst, inner...), err
}
