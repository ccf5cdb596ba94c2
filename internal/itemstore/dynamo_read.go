package itemstore

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Get finds an item as it stands now; a tombstone is found too.
func (d *Dynamo) Get(ctx context.Context, table, key string) (Item, bool, error) {
	t, err := d.table(table)
	if err != nil {
		return Item{}, false, err
	}
	at, err := t.layout.key(key)
	if err != nil { // nothing can be under it
		return Item{}, false, nil //nolint:nilerr // nothing is there
	}
	stored, err := t.get(ctx, at)
	if err != nil || len(stored) == 0 {
		return Item{}, false, err
	}
	item, ok := t.layout.item(stored)
	return item, ok, nil
}

// Count is what DynamoDB last counted, some six hours ago at most; tombstones are among them.
func (d *Dynamo) Count(ctx context.Context, table string) (int64, error) {
	t, err := d.table(table)
	if err != nil {
		return 0, err
	}
	found, err := d.describe(ctx, t.Table, table)
	if err != nil {
		return 0, err
	}
	return aws.ToInt64(found.ItemCount), nil
}

// Ping says whether the tables are there, those that are expected too.
func (d *Dynamo) Ping(ctx context.Context) error {
	if err := d.Find(ctx); err != nil {
		return err
	}
	for _, t := range d.Tables() {
		if _, err := d.describe(ctx, t, t.Name); err != nil {
			return err
		}
	}
	return nil
}

// List gives the items of a table in DynamoDB's order, at most limit of them, after where an item said; tombstones are left out.
func (d *Dynamo) List(ctx context.Context, table string, limit int, after string) ([]Item, error) {
	t, err := d.table(table)
	if err != nil {
		return nil, err
	}
	in := &dynamodb.ScanInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), FilterExpression: aws.String("attribute_not_exists(#d)"), ExpressionAttributeNames: map[string]string{"#d": deletedAttribute},
		Limit: aws.Int32(int32(min(limit+1, 1000))), //nolint:gosec // small
	}
	names := make([]string, len(t.layout.keys))
	for i, k := range t.layout.keys {
		names[i] = k.name
	}
	return t.pages(limit, names, after, func(start attributes) ([]attributes, attributes, error) {
		in.ExclusiveStartKey = start
		var out *dynamodb.ScanOutput
		err := d.call(ctx, t.Name, nil, 0, func(ctx context.Context) (err error) {
			out, err = d.client.Scan(ctx, in)
			return err
		})
		if err != nil {
			return nil, nil, d.explain(err, "list items (dynamodb:Scan)", t.Name)
		}
		return out.Items, out.LastEvaluatedKey, nil
	})
}

// pages gathers items until there are enough. keys are the attributes that tell where an item stands.
func (t *dynamoTable) pages(limit int, keys []string, after string, page func(start attributes) ([]attributes, attributes, error)) ([]Item, error) {
	start, err := readPlace(after)
	if err != nil {
		return nil, err
	}
	var out []Item
	for {
		found, next, err := page(start)
		if err != nil {
			return nil, err
		}
		for _, one := range found {
			item, ok := t.layout.item(one)
			if !ok || item.Deleted {
				continue
			}
			item.After = placeOf(one, keys)
			if out = append(out, item); len(out) == limit {
				return out, nil
			}
		}
		if start = next; len(start) == 0 {
			return out, nil
		}
	}
}

// placeOf writes where an item stands: its keys, each with its type.
func placeOf(item attributes, keys []string) string {
	place := map[string][2]string{}
	for _, name := range keys {
		switch v := item[name].(type) {
		case *types.AttributeValueMemberS:
			place[name] = [2]string{"S", v.Value}
		case *types.AttributeValueMemberN:
			place[name] = [2]string{"N", v.Value}
		case *types.AttributeValueMemberB:
			place[name] = [2]string{"B", base64.StdEncoding.EncodeToString(v.Value)}
		}
	}
	text, _ := json.Marshal(place) //nolint:errchkjson // texts alone
	return string(text)
}

func readPlace(text string) (attributes, error) {
	if text == "" {
		return nil, nil
	}
	var place map[string][2]string
	if err := json.Unmarshal([]byte(text), &place); err != nil {
		return nil, fmt.Errorf("a place among items: %w", err)
	}
	out := attributes{}
	for name, v := range place {
		switch v[0] {
		case "S":
			out[name] = &types.AttributeValueMemberS{Value: v[1]}
		case "N":
			out[name] = &types.AttributeValueMemberN{Value: v[1]}
		default:
			bytes, err := base64.StdEncoding.DecodeString(v[1])
			if err != nil {
				return nil, fmt.Errorf("a place among items: %w", err)
			}
			out[name] = &types.AttributeValueMemberB{Value: bytes}
		}
	}
	return out, nil
}

// Query gives the items that an index finds by values, one for each of its columns, at most limit of them, after where an item said;
// tombstones are left out. An index of columns may be a moment behind, one of elements is not.
func (d *Dynamo) Query(ctx context.Context, table, index string, values []any, limit int, after string) ([]Item, error) {
	t, err := d.table(table)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(t.Indexes, func(x Index) bool { return x.Name == index })
	if i < 0 || len(values) != len(t.Indexes[i].Columns) {
		return nil, fmt.Errorf("items table %s has no index %q of %d columns", table, index, len(values))
	}
	if x := t.Indexes[i]; !x.Each {
		return t.byColumns(ctx, x, values, limit, after)
	}
	return t.byElement(ctx, t.Indexes[i], elementText(values[0]), limit, after)
}

// byColumns asks an index of DynamoDB's.
func (t *dynamoTable) byColumns(ctx context.Context, x Index, values []any, limit int, after string) ([]Item, error) {
	in := &dynamodb.QueryInput{
		TableName: &t.Name, IndexName: &x.Name, FilterExpression: aws.String("attribute_not_exists(#d)"), ExpressionAttributeNames: map[string]string{"#d": deletedAttribute},
		ExpressionAttributeValues: attributes{}, Limit: aws.Int32(int32(min(limit+1, 1000))), //nolint:gosec // small
	}
	conditions := make([]string, len(x.Columns))
	for i, column := range x.Columns {
		v, ok := t.layout.argument(column, values[i])
		if !ok { // no item has it
			return nil, nil
		}
		conditions[i] = fmt.Sprintf("#c%d = :c%d", i, i)
		in.ExpressionAttributeNames[fmt.Sprintf("#c%d", i)], in.ExpressionAttributeValues[fmt.Sprintf(":c%d", i)] = column, v
	}
	in.KeyConditionExpression = aws.String(strings.Join(conditions, " AND "))
	return t.pages(limit, t.placesIn(x), after, func(start attributes) ([]attributes, attributes, error) {
		in.ExclusiveStartKey = start
		var out *dynamodb.QueryOutput
		err := t.store.call(ctx, t.Name, nil, 0, func(ctx context.Context) (err error) {
			out, err = t.store.client.Query(ctx, in)
			return err
		})
		if err != nil {
			return nil, nil, t.store.explain(err, "ask index "+x.Name+" (dynamodb:Query)", t.Name)
		}
		return out.Items, out.LastEvaluatedKey, nil
	})
}

// placesIn are the attributes that tell where an item stands in an index: the keys of the index and of the table.
func (t *dynamoTable) placesIn(x Index) []string {
	names := slices.Clone(t.layout.indexKeys[x.Name])
	for _, k := range t.layout.keys {
		if !slices.Contains(names, k.name) {
			names = append(names, k.name)
		}
	}
	return names
}

// argument is a value as a column has it; false: none can be equal.
func (l *layout) argument(column string, value any) (types.AttributeValue, bool) {
	kind := types.ScalarAttributeTypeS
	i := slices.IndexFunc(l.indexed, func(k keyColumn) bool { return k.name == column })
	if i >= 0 {
		kind = l.indexed[i].kind
	} else if i = slices.IndexFunc(l.keys, func(k keyColumn) bool { return k.name == column }); i >= 0 {
		kind = l.keys[i].kind
	}
	text := elementText(value)
	switch kind {
	case types.ScalarAttributeTypeN:
		return &types.AttributeValueMemberN{Value: text}, checkNumber(text) == nil
	case types.ScalarAttributeTypeB:
		bytes, err := base64.StdEncoding.DecodeString(text)
		return &types.AttributeValueMemberB{Value: bytes}, err == nil
	case types.ScalarAttributeTypeS:
	}
	return &types.AttributeValueMemberS{Value: text}, text != ""
}

// byElement finds items by an element of a list.
func (t *dynamoTable) byElement(ctx context.Context, x Index, element string, limit int, after string) ([]Item, error) {
	if element == "" {
		return nil, nil
	}
	name := Entries(t.Name, x.Name)
	in := &dynamodb.QueryInput{
		TableName: &name, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("#e = :e"), ExpressionAttributeNames: map[string]string{"#e": elementAttribute},
		ExpressionAttributeValues: attributes{":e": &types.AttributeValueMemberS{Value: element}}, Limit: aws.Int32(int32(min(limit+1, 1000))), //nolint:gosec // small
	}
	var err error
	if in.ExclusiveStartKey, err = readPlace(after); err != nil {
		return nil, err
	}
	var out []Item
	for {
		var page *dynamodb.QueryOutput
		err := t.store.call(ctx, name, nil, 0, func(ctx context.Context) (err error) {
			page, err = t.store.client.Query(ctx, in)
			return err
		})
		if err != nil {
			return nil, t.store.explain(err, "ask index "+x.Name+" (dynamodb:Query)", name)
		}
		found := make([]Item, len(page.Items))
		err = t.store.each(ctx, len(page.Items), func(ctx context.Context, i int) (err error) {
			found[i], err = t.entered(ctx, x, element, page.Items[i])
			return err
		})
		if err != nil {
			return nil, err
		}
		for i, item := range found {
			if item.Doc == nil {
				continue
			}
			item.After = placeOf(page.Items[i], []string{elementAttribute, itemAttribute})
			if out = append(out, item); len(out) == limit {
				return out, nil
			}
		}
		if in.ExclusiveStartKey = page.LastEvaluatedKey; len(page.LastEvaluatedKey) == 0 {
			return out, nil
		}
	}
}

// entered gives the item of an entry, if it still has the element.
func (t *dynamoTable) entered(ctx context.Context, x Index, element string, entry attributes) (Item, error) {
	text, ok := entry[itemAttribute].(*types.AttributeValueMemberS)
	if !ok {
		return Item{}, nil
	}
	key, err := t.layout.key(text.Value)
	if err != nil {
		return Item{}, nil //nolint:nilerr // nothing can be under it
	}
	stored, err := t.get(ctx, key)
	if err != nil || len(stored) == 0 || !slices.Contains(elementsOf(stored, x.Columns[0]), element) {
		return Item{}, err
	}
	item, _ := t.layout.item(stored)
	return item, nil
}
