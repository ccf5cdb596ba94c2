package itemstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/record"
)

// StreamRecord is what a record of a table's stream says of an item:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_StreamRecord.html. Images that the stream's view leaves out are nil.
type StreamRecord struct {
	Event          string // INSERT, MODIFY or REMOVE
	Keys, Old, New map[string]types.AttributeValue
}

// StreamChange is what became of the item, as the change log of the embedded store tells it.
type StreamChange struct {
	Op      record.Op
	Doc     []byte // as record.Batch.AppendJSON writes it
	KeyOnly bool   // Doc has the columns of the key alone
}

var errKeysOnly = errors.New("the record has the keys alone: set the view type of the stream to NEW_IMAGE or NEW_AND_OLD_IMAGES")

// Change reads a record; false: nothing that a reader could see. What acequia deletes leaves a tombstone, which is no item.
func (r StreamRecord) Change(schema *record.Schema) (c StreamChange, told bool, err error) {
	switch r.Event {
	case "INSERT", "MODIFY", "REMOVE":
	default:
		return c, false, fmt.Errorf("the event %q of a stream is not known", r.Event)
	}
	before, after := ReadImage(schema, r.Old), ReadImage(schema, r.New)
	if before.Marker || after.Marker {
		return c, false, nil
	}
	if r.New == nil && r.Event != "REMOVE" {
		return c, false, errKeysOnly
	}
	blind := r.Old == nil && r.Event != "INSERT" // the stream has no old images
	switch {
	case !after.Deleted && (blind || !before.Deleted):
		return StreamChange{Op: record.Update, Doc: after.Doc}, true, nil
	case !after.Deleted:
		return StreamChange{Op: record.Insert, Doc: after.Doc}, true, nil
	case before.Deleted && !blind:
		return c, false, nil // there was nothing, or a tombstone
	case blind:
		return StreamChange{Op: record.Delete, Doc: ReadImage(keyOf(schema), r.Keys).Doc, KeyOnly: true}, true, nil
	}
	return StreamChange{Op: record.Delete, Doc: before.Doc}, true, nil
}

// keyOf has the columns of the key alone.
func keyOf(schema *record.Schema) *record.Schema {
	out := &record.Schema{Stream: schema.Stream}
	for _, k := range schema.Key {
		out.Fields = append(out.Fields, schema.Fields[k])
	}
	return out
}

// SequenceVersion makes a version of a sequence number of a stream: 21 to 40 digits, so that it takes 133 bits. Hi, Lo and Index are
// one number of 160.
func SequenceVersion(sequence string) (record.Version, error) {
	var v record.Version
	if sequence == "" {
		return v, errors.New("a sequence number is empty")
	}
	for _, c := range []byte(sequence) {
		if c < '0' || c > '9' {
			return v, fmt.Errorf("%q is no sequence number", sequence)
		}
		low := uint64(v.Index)*10 + uint64(c-'0')
		carry, middle := bits.Mul64(v.Lo, 10)
		var more uint64
		v.Lo, more = bits.Add64(middle, low>>32, 0)
		over, high := bits.Mul64(v.Hi, 10)
		v.Index = uint32(low) //nolint:gosec // the rest is carried
		v.Hi, more = bits.Add64(high, carry, more)
		if over > 0 || more > 0 {
			return v, fmt.Errorf("the sequence number %s is too long", sequence)
		}
	}
	return v, nil
}

var errAttribute = errors.New("it is no attribute value of DynamoDB")

// jsonAttribute reads a value in DynamoDB's JSON: an object of one member, whose name is the type.
type jsonAttribute struct{ value types.AttributeValue }

// ParseStreamRecord reads images in DynamoDB's JSON, as events of Lambda and of EventBridge Pipes have them:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_AttributeValue.html. No text is no image.
func ParseStreamRecord(event string, keys, before, after []byte) (StreamRecord, error) {
	var images [3]attributes
	for i, text := range [...][]byte{keys, before, after} {
		if len(text) == 0 {
			continue
		}
		var all map[string]jsonAttribute
		if err := json.Unmarshal(text, &all); err != nil {
			return StreamRecord{}, fmt.Errorf("read image: %w", err)
		}
		images[i] = valuesOf(all)
	}
	return StreamRecord{Event: event, Keys: images[0], Old: images[1], New: images[2]}, nil
}

func valuesOf(all map[string]jsonAttribute) attributes {
	if all == nil {
		return nil
	}
	out := make(attributes, len(all))
	for name, a := range all {
		out[name] = a.value
	}
	return out
}

// UnmarshalJSON implements json.Unmarshaler.
func (a *jsonAttribute) UnmarshalJSON(text []byte) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil || len(members) != 1 {
		return errAttribute
	}
	for kind, text := range members {
		v, err := attributeFrom(kind, text)
		if err != nil {
			return err
		}
		a.value = v
	}
	return nil
}

func attributeFrom(kind string, text []byte) (v types.AttributeValue, err error) {
	read := func(into any) {
		if json.Unmarshal(text, into) != nil || string(text) == "null" {
			err = errAttribute
		}
	}
	switch kind {
	case "S":
		v := &types.AttributeValueMemberS{}
		read(&v.Value)
		return v, err
	case "N":
		v := &types.AttributeValueMemberN{}
		read(&v.Value)
		return v, errors.Join(err, numeric(v.Value))
	case "B":
		v := &types.AttributeValueMemberB{}
		read(&v.Value)
		return v, err
	case "BOOL":
		v := &types.AttributeValueMemberBOOL{}
		read(&v.Value)
		return v, err
	case "NULL":
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case "SS":
		v := &types.AttributeValueMemberSS{}
		read(&v.Value)
		return v, err
	case "NS":
		v := &types.AttributeValueMemberNS{}
		read(&v.Value)
		return v, errors.Join(err, numeric(v.Value...))
	case "BS":
		v := &types.AttributeValueMemberBS{}
		read(&v.Value)
		return v, err
	case "L":
		var all []jsonAttribute
		read(&all)
		return &types.AttributeValueMemberL{Value: eachOf(all, func(a jsonAttribute) types.AttributeValue { return a.value })}, err
	case "M":
		var all map[string]jsonAttribute
		read(&all)
		return &types.AttributeValueMemberM{Value: valuesOf(all)}, err
	}
	return nil, errAttribute
}

// numeric refuses what is no number in JSON either, for documents take numbers as they are.
func numeric(all ...string) error {
	for _, text := range all {
		if !json.Valid([]byte(text)) || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
			return errAttribute
		}
	}
	return nil
}
