package itemstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/record"
)

// An index of DynamoDB has one entry an item, so that of the elements of a list is a table of its own: one item for each element, with the
// key of the item that has it. Entries are written before their item, and those that it has no more are removed after it, each by version.
// So an item that is there is found; an entry that a crash has left is not believed: who reads looks at the item.

func (t *dynamoTable) hasEntries() bool {
	return slices.ContainsFunc(t.Indexes, func(x Index) bool { return x.Each })
}

// elementsOf are the texts of the elements of a column, which is a list or the JSON text of one; each once.
func elementsOf(item attributes, column string) []string {
	v := item[column]
	if held, ok := item[unindexedAttribute].(*types.AttributeValueMemberM); ok && v == nil {
		v = held.Value[column]
	}
	var out []string
	add := func(text string) {
		if text != "" && !slices.Contains(out, text) { // a key cannot be empty
			out = append(out, text)
		}
	}
	switch v := v.(type) {
	case *types.AttributeValueMemberL:
		for _, e := range v.Value {
			switch e := e.(type) {
			case *types.AttributeValueMemberS:
				add(e.Value)
			case *types.AttributeValueMemberN:
				add(plain(e.Value))
			case *types.AttributeValueMemberBOOL:
				add(strconv.FormatBool(e.Value))
			}
		}
	case *types.AttributeValueMemberSS:
		out = v.Value
	case *types.AttributeValueMemberS:
		var list []any
		if json.Unmarshal([]byte(v.Value), &list) != nil {
			return nil
		}
		for _, e := range list {
			add(elementText(e))
		}
	}
	return out
}

// elementText is how a value stands in an entry; "" where it cannot.
func elementText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case int64, bool:
		return fmt.Sprint(v)
	}
	return ""
}

// enter writes the entries of an item that is about to be written.
func (t *dynamoTable) enter(ctx context.Context, w work) error {
	for _, x := range t.Indexes {
		if !x.Each {
			continue
		}
		for _, element := range elementsOf(w.item, x.Columns[0]) {
			entry := entryKey(element, w.Key)
			w.layout.stamp(entry, w.Version, w.Expires)
			name := Entries(t.Name, x.Name)
			err := t.store.call(ctx, name, t.limit, units(entry), func(ctx context.Context) error {
				_, err := t.store.client.PutItem(ctx, &dynamodb.PutItemInput{
					TableName: &name, Item: entry, ConditionExpression: aws.String(newer), ExpressionAttributeNames: map[string]string{"#v": versionAttribute},
					ExpressionAttributeValues: attributes{":v": &types.AttributeValueMemberS{Value: w.Version.String()}},
				})
				return err
			})
			if err = passed(err); err != nil {
				return t.store.explain(err, "write an entry (dynamodb:PutItem)", name)
			}
		}
	}
	return nil
}

// leave removes the entries that an item had and has no more.
func (t *dynamoTable) leave(ctx context.Context, w work, old attributes) error {
	for _, x := range t.Indexes {
		if !x.Each || deleted(old) {
			continue
		}
		stay := elementsOf(w.item, x.Columns[0])
		for _, element := range elementsOf(old, x.Columns[0]) {
			if slices.Contains(stay, element) {
				continue
			}
			if err := t.remove(ctx, Entries(t.Name, x.Name), entryKey(element, w.Key), w.Version); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes an entry, unless a newer copy of its item has written it again.
func (t *dynamoTable) remove(ctx context.Context, name string, key attributes, v record.Version) error {
	err := t.store.call(ctx, name, t.limit, 1, func(ctx context.Context) error {
		_, err := t.store.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &name, Key: key, ConditionExpression: aws.String(newer), ExpressionAttributeNames: map[string]string{"#v": versionAttribute},
			ExpressionAttributeValues: attributes{":v": &types.AttributeValueMemberS{Value: v.String()}},
		})
		return err
	})
	if err = passed(err); err != nil {
		return t.store.explain(err, "remove an entry (dynamodb:DeleteItem)", name)
	}
	return nil
}

func entryKey(element, key string) attributes {
	return attributes{elementAttribute: &types.AttributeValueMemberS{Value: element}, itemAttribute: &types.AttributeValueMemberS{Value: key}}
}
