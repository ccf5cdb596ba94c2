package itemstore

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	segments      = 4       // of a table, read at the same time
	pageUnits     = 256     // what a page of 1 MB costs when it is read consistently: a unit is 4 KB
	maxExpression = 4 << 10 // bytes
)

// Scan hands over all items of a table, a page at a time and in no order, from several goroutines; tombstones are left out. Documents have the
// columns that are named, at least; no names are all. Each item is as it stands when its page is read.
func (d *Dynamo) Scan(ctx context.Context, table string, columns []string, do func(page []Item) error) error {
	t, err := d.table(table)
	if err != nil {
		return err
	}
	return d.each(ctx, segments, func(ctx context.Context, segment int) error {
		in := t.wholeScan(columns)
		in.Segment, in.TotalSegments = aws.Int32(int32(segment)), aws.Int32(segments) //nolint:gosec // below segments
		for {
			page, err := t.scanPage(ctx, in)
			if err != nil {
				return d.explain(err, "read all items (dynamodb:Scan)", t.Name)
			}
			items := make([]Item, 0, len(page.Items))
			for _, one := range page.Items {
				if item, ok := t.layout.item(one); ok && !item.Deleted {
					items = append(items, item)
				}
			}
			if len(items) > 0 {
				if err := do(items); err != nil {
					return err
				}
			}
			if in.ExclusiveStartKey = page.LastEvaluatedKey; len(page.LastEvaluatedKey) == 0 {
				return nil
			}
		}
	})
}

// scanPage reads a page, at the rate that the table bears.
func (t *dynamoTable) scanPage(ctx context.Context, in *dynamodb.ScanInput) (page *dynamodb.ScanOutput, err error) {
	err = t.store.call(ctx, t.Name, t.reads, pageUnits, func(ctx context.Context) (err error) {
		page, err = t.store.client.Scan(ctx, in)
		return err
	})
	return page, err
}

// wholeScan asks for all items that are no tombstones.
func (t *dynamoTable) wholeScan(columns []string) *dynamodb.ScanInput {
	in := &dynamodb.ScanInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), FilterExpression: aws.String("attribute_not_exists(#d) OR #d <> :true"),
		ExpressionAttributeNames: map[string]string{"#d": deletedAttribute}, ExpressionAttributeValues: attributes{":true": &types.AttributeValueMemberBOOL{Value: true}},
	}
	if len(columns) == 0 {
		return in
	}
	wanted := []string{versionAttribute, truncatedAttribute, unindexedAttribute}
	for _, k := range t.layout.keys {
		wanted = append(wanted, k.name)
	}
	var projected []string
	names := map[string]string{"#d": deletedAttribute}
	known := map[string]bool{}
	for i, name := range append(wanted, columns...) {
		if !known[name] {
			known[name] = true
			alias := fmt.Sprintf("#c%d", i)
			names[alias] = name
			projected = append(projected, alias)
		}
	}
	if text := strings.Join(projected, ","); len(text) <= maxExpression { // else all attributes come: it costs no more
		in.ProjectionExpression, in.ExpressionAttributeNames = &text, names
	}
	return in
}

// GetEach hands over the items of keys as they stand now, one at a time; those that are not there, and tombstones, are left out.
func (d *Dynamo) GetEach(ctx context.Context, table string, keys []string, do func(item Item) error) error {
	t, err := d.table(table)
	if err != nil {
		return err
	}
	var doing sync.Mutex
	return d.each(ctx, len(keys), func(ctx context.Context, i int) error {
		at, err := t.layout.key(keys[i])
		if err != nil {
			return nil // nothing can be under it
		}
		stored, err := t.getAt(ctx, at, t.reads)
		if err != nil || len(stored) == 0 {
			return err
		}
		item, ok := t.layout.item(stored)
		if !ok || item.Deleted {
			return nil
		}
		doing.Lock()
		defer doing.Unlock()
		return do(item)
	})
}
