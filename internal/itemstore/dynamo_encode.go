package itemstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/record"
)

// attributes are those of an item.
type attributes = map[string]types.AttributeValue

// Limits of DynamoDB that no emulator enforces:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html.
const (
	maxDigits   = 38
	maxExponent = 125  // of the first digit
	minExponent = -130 // of the first digit
	maxNesting  = 32
)

// encode gives the item of a row: columns that are null have no attribute, absent ones neither. What cannot be kept is a
// *record.ColumnError.
func (l *layout) encode(p *Put, b *record.Batch, row int) (attributes, error) {
	out := make(attributes, len(b.Columns)+3)
	var held attributes
	for i := range b.Columns {
		f, c := &b.Schema.Fields[i], &b.Columns[i]
		if c.IsAbsent(row) || !c.IsValid(row) {
			continue
		}
		if system(f.Name) {
			return nil, &record.ColumnError{Column: f.Name, Err: errors.New("the name of the attribute is taken by acequia")}
		}
		v, err := attribute(f, c, row, 1)
		if err != nil {
			return nil, &record.ColumnError{Column: f.Name, Err: err}
		}
		if x := slices.IndexFunc(l.indexed, func(k keyColumn) bool { return k.name == f.Name }); x >= 0 {
			size, right := keySize(v, l.indexed[x].kind)
			if right && size > l.indexed[x].most {
				return nil, tooLong(l.indexed[x], size)
			}
			if !right || size == 0 {
				if held == nil {
					held = attributes{}
				}
				held[f.Name] = v
				continue
			}
		}
		out[f.Name] = v
	}
	if held != nil {
		out[unindexedAttribute] = &types.AttributeValueMemberM{Value: held}
	}
	key, err := l.keyOf(p.Key, b, row)
	if err != nil {
		return nil, err
	}
	maps.Copy(out, key)
	l.stamp(out, p.Version, p.Expires)
	return out, fitsItem(out)
}

func (l *layout) stamp(out attributes, v record.Version, expires int64) {
	out[versionAttribute] = &types.AttributeValueMemberS{Value: v.String()}
	if expires > 0 {
		out[expiresAttribute] = &types.AttributeValueMemberN{Value: strconv.FormatInt(expires, 10)}
	}
}

// tombstone is what is left of a deleted item.
func (l *layout) tombstone(key attributes, v record.Version, expires int64) attributes {
	out := maps.Clone(key)
	out[deletedAttribute] = &types.AttributeValueMemberBOOL{Value: true}
	l.stamp(out, v, expires)
	return out
}

func fitsItem(item attributes) error {
	if size := sizeOf(item); size > MaxItem {
		return fmt.Errorf("the item has %d bytes with the names of its attributes, the limit is %d", size, MaxItem)
	}
	return nil
}

// system says whether an attribute is no column.
func system(name string) bool {
	return slices.Contains([]string{versionAttribute, deletedAttribute, expiresAttribute, unindexedAttribute, keyAttribute, truncatedAttribute}, name)
}

// keyOf gives the attributes of a row's key, whose text is parsed only where the row does not have its columns.
func (l *layout) keyOf(text string, b *record.Batch, row int) (attributes, error) {
	lacking := func(k int) bool { return b.Columns[k].IsAbsent(row) || !b.Columns[k].IsValid(row) }
	if l.text || slices.ContainsFunc(b.Schema.Key, lacking) {
		return l.key(text)
	}
	out := make(attributes, len(b.Schema.Key))
	for _, k := range b.Schema.Key {
		v, err := attribute(&b.Schema.Fields[k], &b.Columns[k], row, 1)
		if err != nil {
			return nil, &record.ColumnError{Column: b.Schema.Fields[k].Name, Err: err}
		}
		out[b.Schema.Fields[k].Name] = v
	}
	return l.checked(out)
}

// key gives the attributes of a key that is written as items' keys are.
func (l *layout) key(text string) (attributes, error) {
	if l.text {
		return attributes{keyAttribute: &types.AttributeValueMemberS{Value: text}}, nil
	}
	one := l.schema.Key[0]
	if len(l.schema.Key) == 1 && l.schema.Fields[one].Kind == record.String {
		return l.checked(attributes{l.schema.Fields[one].Name: textAttribute([]byte(text))})
	}
	var values []json.RawMessage
	if err := json.Unmarshal([]byte(text), &values); err != nil || len(values) != len(l.schema.Key) {
		return nil, errNoKey
	}
	fields := make([]record.Field, len(values))
	object := []byte{'{'}
	for i, k := range l.schema.Key {
		fields[i] = l.schema.Fields[k]
		if i > 0 {
			object = append(object, ',')
		}
		object = append(append(record.AppendJSONString(object, fields[i].Name), ':'), values[i]...)
	}
	s, err := record.NewSchema(l.schema.Stream, nil, fields...)
	if err != nil {
		return nil, err
	}
	b := record.NewBuilder(s, 1)
	if err := b.AppendJSON(append(object, '}')); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoKey, err)
	}
	batch := b.Batch(nil)
	defer batch.Release()
	out := attributes{}
	for i := range fields {
		if out[fields[i].Name], err = attribute(&fields[i], &batch.Columns[i], 0, 1); err != nil {
			return nil, &record.ColumnError{Column: fields[i].Name, Err: err}
		}
	}
	return l.checked(out)
}

// checked looks at the sizes of a key.
func (l *layout) checked(key attributes) (attributes, error) {
	for _, k := range l.keys {
		size, right := keySize(key[k.name], k.kind)
		switch {
		case !right:
			return nil, &record.ColumnError{Column: k.name, Err: fmt.Errorf("a key of type %s cannot hold the value", k.kind)}
		case size == 0:
			return nil, &record.ColumnError{Column: k.name, Err: errors.New("a key cannot be empty")}
		case size > k.most:
			return nil, tooLong(k, size)
		}
	}
	return key, nil
}

func tooLong(k keyColumn, size int) error {
	return &record.ColumnError{Column: k.name, Err: fmt.Errorf("the value has %d bytes, possible in a key are %d", size, k.most)}
}

// keySize is the size of a value that stands in a key, and whether it is of the key's type.
func keySize(v types.AttributeValue, kind types.ScalarAttributeType) (size int, right bool) {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value), kind == types.ScalarAttributeTypeS
	case *types.AttributeValueMemberB:
		return len(v.Value), kind == types.ScalarAttributeTypeB
	case *types.AttributeValueMemberN:
		return 1, kind == types.ScalarAttributeTypeN
	}
	return 0, false
}

// textAttribute is text, or bytes where it is not UTF-8.
func textAttribute(text []byte) types.AttributeValue {
	if !utf8.Valid(text) {
		return &types.AttributeValueMemberB{Value: slices.Clone(text)}
	}
	return &types.AttributeValueMemberS{Value: string(text)}
}

// attribute gives the value of a slot; depth is how deep it stands.
func attribute(f *record.Field, c *record.Column, slot, depth int) (types.AttributeValue, error) {
	if !c.IsValid(slot) {
		return &types.AttributeValueMemberNULL{Value: true}, nil
	}
	if c.Const {
		slot = 0
	}
	switch f.Kind {
	case record.Bool:
		return &types.AttributeValueMemberBOOL{Value: c.Ints[slot] != 0}, nil
	case record.Int32, record.Int64:
		return &types.AttributeValueMemberN{Value: strconv.FormatInt(c.Ints[slot], 10)}, nil
	case record.Float32, record.Float64, record.Decimal:
		text := string(record.AppendText(nil, f, c, slot))
		return &types.AttributeValueMemberN{Value: text}, checkNumber(text)
	case record.String:
		return textAttribute(c.Text(slot)), nil
	case record.Bytes:
		return &types.AttributeValueMemberB{Value: slices.Clone(c.Text(slot))}, nil
	case record.Date, record.Timestamp, record.LocalTimestamp, record.VersionText:
		return &types.AttributeValueMemberS{Value: string(record.AppendText(nil, f, c, slot))}, nil
	case record.List, record.Struct:
		if depth > maxNesting {
			return nil, fmt.Errorf("it nests deeper than %d", maxNesting)
		}
	}
	if f.Kind == record.List {
		list := make([]types.AttributeValue, 0, c.Offsets[slot+1]-c.Offsets[slot])
		for e := c.Offsets[slot]; e < c.Offsets[slot+1]; e++ {
			v, err := attribute(&f.Fields[0], &c.Children[0], int(e), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return &types.AttributeValueMemberL{Value: list}, nil
	}
	members := make(attributes, len(f.Fields))
	for i := range f.Fields {
		v, err := attribute(&f.Fields[i], &c.Children[i], slot, depth+1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Fields[i].Name, err)
		}
		members[f.Fields[i].Name] = v
	}
	return &types.AttributeValueMemberM{Value: members}, nil
}

// checkNumber says why DynamoDB has no such number, without telling it.
func checkNumber(text string) error {
	digits, exponent, ok := significant(text)
	switch {
	case !ok:
		return errors.New("DynamoDB has neither NaN nor infinities")
	case len(digits) > maxDigits:
		return fmt.Errorf("the number has %d digits, the limit is %d", len(digits), maxDigits)
	case digits != "" && (exponent > maxExponent || exponent < minExponent):
		return fmt.Errorf("the number has the exponent %d, possible are %d to %d", exponent, minExponent, maxExponent)
	}
	return nil
}

// significant gives the digits of a number without zeros at the ends, and the exponent of the first; "" is zero.
func significant(text string) (digits string, exponent int, ok bool) {
	mantissa, power, scientific := strings.Cut(strings.ToLower(strings.TrimLeft(text, "+-")), "e")
	if scientific {
		n, err := strconv.Atoi(power)
		if err != nil {
			return "", 0, false
		}
		exponent = n
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	if all == "" || strings.Trim(all, "0123456789") != "" {
		return "", 0, false
	}
	digits = strings.TrimLeft(all, "0")
	exponent += len(whole) - 1 - (len(all) - len(digits))
	return strings.TrimRight(digits, "0"), exponent, true
}

// sizeOf is the size of an item as DynamoDB counts it:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html.
func sizeOf(item attributes) int {
	size := 0
	for name, v := range item {
		size += len(name) + sizeOfValue(v)
	}
	return size
}

func sizeOfValue(v types.AttributeValue) int {
	const container, element = 3, 1
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return len(v.Value)
	case *types.AttributeValueMemberB:
		return len(v.Value)
	case *types.AttributeValueMemberN:
		digits, _, _ := significant(v.Value)
		return len(digits)/2 + 3 // the most that it may be: two digits a byte, one more where they begin or end half, sign, one for the exponent
	case *types.AttributeValueMemberL:
		size := container
		for _, e := range v.Value {
			size += element + sizeOfValue(e)
		}
		return size
	case *types.AttributeValueMemberM:
		return container + element*len(v.Value) + sizeOf(v.Value)
	}
	return 1
}
