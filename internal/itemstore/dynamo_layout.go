package itemstore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/record"
)

// What items have beside their columns.
const (
	versionAttribute   = "_version"   // text of fixed width, for a number of DynamoDB has 38 digits and a sequence number of its streams 40
	deletedAttribute   = "_deleted"   // true of a tombstone
	expiresAttribute   = "_ttl"       // unix seconds, for DynamoDB's TTL
	unindexedAttribute = "_unindexed" // values that an index of the table cannot have as its key: with them DynamoDB refuses the item
	keyAttribute       = "_key"       // the whole key as text, in tables of records that DynamoDB has no key for
)

// Expires is the attribute by which the TTL of a table lets items go.
const Expires = expiresAttribute

// The attributes of a table of entries, which stands for an index of the elements of a list.
const (
	elementAttribute = "element"
	itemAttribute    = "item"
)

// Entries names the table of the entries of an index of elements.
func Entries(table, index string) string { return table + "." + index }

// scalar is the type that a key attribute has for a column; "": a key cannot be of it.
func scalar(f *record.Field) types.ScalarAttributeType {
	switch f.Kind {
	case record.Int32, record.Int64, record.Float32, record.Float64, record.Decimal:
		return types.ScalarAttributeTypeN
	case record.String, record.Date, record.Timestamp, record.LocalTimestamp, record.VersionText:
		return types.ScalarAttributeTypeS
	case record.Bytes:
		return types.ScalarAttributeTypeB
	case record.Bool, record.List, record.Struct:
	}
	return ""
}

// Design gives the tables that items of a declared table need: its own, and one for each index of elements. Keys of one or two columns
// are partition and sort key; others are one text.
func Design(t Table) []*dynamodb.CreateTableInput {
	own := &dynamodb.CreateTableInput{TableName: aws.String(t.Name), BillingMode: types.BillingModePayPerRequest}
	if names := t.Schema.KeyNames(); natural(t.Schema) {
		own.KeySchema = keySchema(names)
		define(own, t.Schema, names)
	} else {
		own.KeySchema = keySchema([]string{keyAttribute})
		define(own, nil, []string{keyAttribute})
	}
	out := []*dynamodb.CreateTableInput{own}
	for _, x := range t.Indexes {
		if x.Each {
			entries := &dynamodb.CreateTableInput{
				TableName: aws.String(Entries(t.Name, x.Name)), BillingMode: types.BillingModePayPerRequest, KeySchema: keySchema([]string{elementAttribute, itemAttribute}),
			}
			define(entries, nil, []string{elementAttribute, itemAttribute})
			out = append(out, entries)
			continue
		}
		define(own, t.Schema, x.Columns)
		own.GlobalSecondaryIndexes = append(own.GlobalSecondaryIndexes, types.GlobalSecondaryIndex{
			IndexName: aws.String(x.Name), KeySchema: keySchema(x.Columns), Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		})
	}
	if !t.NoChanges {
		own.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages}
	}
	return out
}

// natural says whether the columns of a key can be DynamoDB's.
func natural(s *record.Schema) bool {
	return len(s.Key) <= 2 && !slices.ContainsFunc(s.Key, func(k int) bool { return scalar(&s.Fields[k]) == "" })
}

func keySchema(names []string) []types.KeySchemaElement {
	out := []types.KeySchemaElement{{AttributeName: aws.String(names[0]), KeyType: types.KeyTypeHash}}
	if len(names) > 1 {
		out = append(out, types.KeySchemaElement{AttributeName: aws.String(names[1]), KeyType: types.KeyTypeRange})
	}
	return out
}

// define adds the definitions of attributes that are in keys; without a schema they are text.
func define(in *dynamodb.CreateTableInput, s *record.Schema, names []string) {
	for _, name := range names {
		kind := types.ScalarAttributeTypeS
		if s != nil {
			if i := s.Index(name); i >= 0 {
				kind = scalar(&s.Fields[i])
			}
		}
		if !slices.ContainsFunc(in.AttributeDefinitions, func(d types.AttributeDefinition) bool { return aws.ToString(d.AttributeName) == name }) {
			in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: kind})
		}
	}
}

// Command is what makes the tables of a design with the command line of AWS; more are its options for region and endpoint.
func Command(design []*dynamodb.CreateTableInput, more string) string {
	var out []string
	for _, in := range design {
		name := aws.ToString(in.TableName)
		var s strings.Builder
		fmt.Fprintf(&s, "aws dynamodb create-table%s --table-name %s --billing-mode PAY_PER_REQUEST --attribute-definitions", more, name)
		for _, d := range in.AttributeDefinitions {
			fmt.Fprintf(&s, " AttributeName=%s,AttributeType=%s", aws.ToString(d.AttributeName), d.AttributeType)
		}
		s.WriteString(" --key-schema" + keyWords(in.KeySchema, " "))
		if len(in.GlobalSecondaryIndexes) > 0 {
			s.WriteString(" --global-secondary-indexes")
		}
		for _, x := range in.GlobalSecondaryIndexes {
			fmt.Fprintf(&s, " 'IndexName=%s,KeySchema=[%s],Projection={ProjectionType=ALL}'", aws.ToString(x.IndexName), keyWords(x.KeySchema, ","))
		}
		if in.StreamSpecification != nil {
			s.WriteString(" --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES")
		}
		out = append(out, s.String(),
			fmt.Sprintf("aws dynamodb wait table-exists%s --table-name %s", more, name),
			fmt.Sprintf("aws dynamodb update-time-to-live%s --table-name %s --time-to-live-specification Enabled=true,AttributeName=%s", more, name, expiresAttribute))
	}
	return strings.Join(out, " && ")
}

// keyWords writes a key as the command line does: after a space each, or in braces.
func keyWords(keys []types.KeySchemaElement, between string) string {
	words := make([]string, len(keys))
	for i, k := range keys {
		words[i] = fmt.Sprintf("AttributeName=%s,KeyType=%s", aws.ToString(k.AttributeName), k.KeyType)
		if between == "," {
			words[i] = "{" + words[i] + "}"
		}
	}
	if between == "," {
		return strings.Join(words, ",")
	}
	return between + strings.Join(words, between)
}

// keyColumn is an attribute of a table's key.
type keyColumn struct {
	name string
	kind types.ScalarAttributeType
	most int // bytes
}

// layout is how a table of DynamoDB holds the items of a schema.
type layout struct {
	schema  *record.Schema
	keys    []keyColumn // partition key, sort key
	text    bool        // the key is one text
	indexed []keyColumn // attributes of the keys of indexes

	indexKeys map[string][]string // by index, those of its key
}

// The longest values of keys, of tables and of indexes alike:
// https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html.
const (
	maxPartition = MaxKey
	maxSort      = 1024
)

// layOut finds out how a table that is there holds the items of a schema.
func layOut(d *types.TableDescription, s *record.Schema) (*layout, error) {
	kinds := map[string]types.ScalarAttributeType{}
	for _, a := range d.AttributeDefinitions {
		kinds[aws.ToString(a.AttributeName)] = a.AttributeType
	}
	column := func(k types.KeySchemaElement) keyColumn {
		c := keyColumn{aws.ToString(k.AttributeName), kinds[aws.ToString(k.AttributeName)], maxPartition}
		if k.KeyType == types.KeyTypeRange {
			c.most = maxSort
		}
		return c
	}
	out := &layout{schema: s, indexKeys: map[string][]string{}}
	for _, k := range d.KeySchema {
		out.keys = append(out.keys, column(k))
	}
	add := func(index *string, keys []types.KeySchemaElement) {
		for _, k := range keys {
			c := column(k)
			out.indexKeys[aws.ToString(index)] = append(out.indexKeys[aws.ToString(index)], c.name)
			isKey := slices.ContainsFunc(out.keys, func(o keyColumn) bool { return o.name == c.name })
			if i := slices.IndexFunc(out.indexed, func(o keyColumn) bool { return o.name == c.name }); i >= 0 {
				out.indexed[i].most = min(out.indexed[i].most, c.most)
			} else if !isKey {
				out.indexed = append(out.indexed, c)
			}
		}
	}
	for _, x := range d.GlobalSecondaryIndexes {
		add(x.IndexName, x.KeySchema)
	}
	for _, x := range d.LocalSecondaryIndexes {
		add(x.IndexName, x.KeySchema)
	}
	if len(out.keys) == 1 && out.keys[0].name == keyAttribute && out.keys[0].kind == types.ScalarAttributeTypeS {
		out.text = true
		return out, nil
	}
	return out, out.fits(s)
}

// fits says why records of a schema have no key of the table.
func (l *layout) fits(s *record.Schema) error {
	words := make([]string, len(l.keys))
	good := len(l.keys) == len(s.Key)
	for i, k := range l.keys {
		words[i] = fmt.Sprintf("%s (%s)", k.name, k.kind)
		at := s.Index(k.name)
		good = good && at >= 0 && slices.Contains(s.Key, at) && scalar(&s.Fields[at]) == k.kind
	}
	if good {
		return nil
	}
	of := make([]string, len(s.Key))
	for i, at := range s.Key {
		f := &s.Fields[at]
		of[i] = fmt.Sprintf("%s (%s)", f.Name, cmp.Or(string(scalar(f)), f.Kind.String()))
	}
	return fmt.Errorf("its key is %s, and that of the records is %s", strings.Join(words, ", "), strings.Join(of, ", "))
}

var errNoKey = errors.New("the key is none of the table's")

// marker is the key of the item that holds the version of the newest truncate: what no record has.
func (l *layout) marker() map[string]types.AttributeValue {
	out := map[string]types.AttributeValue{}
	for _, k := range l.keys {
		switch k.kind {
		case types.ScalarAttributeTypeN: // the least number that there is
			out[k.name] = &types.AttributeValueMemberN{Value: leastNumber}
		case types.ScalarAttributeTypeB:
			out[k.name] = &types.AttributeValueMemberB{Value: []byte(markerText)}
		case types.ScalarAttributeTypeS:
			out[k.name] = &types.AttributeValueMemberS{Value: markerText}
		}
	}
	return out
}

const (
	markerText  = "\x00acequia truncated"
	leastNumber = "-9.9999999999999999999999999999999999999E+125"
)

// isMarker says whether an item is that of the truncates. DynamoDB may write the number in another way.
func isMarker(item map[string]types.AttributeValue) bool {
	_, is := item[truncatedAttribute]
	return is
}

const truncatedAttribute = "_truncated" // of the marker alone
