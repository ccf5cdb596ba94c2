package itemstore

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/record"
)

// floor is the version of the newest truncate of a table: what is older gets in no more. It is kept in an item of the table.
type floor struct {
	writing sync.RWMutex // held for reading while items are written, for writing while the floor is lifted

	mu      sync.Mutex
	version record.Version
	asked   time.Time
}

// floorAge is how old what this process knows of truncates by others may be.
const floorAge = time.Second

func (f *floor) known() record.Version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.version
}

func (f *floor) lift(v record.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.Compare(f.version) > 0 {
		f.version = v
	}
	f.asked = time.Now()
}

// truncated gives the floor, and looks it up now and then.
func (t *dynamoTable) truncated(ctx context.Context) (record.Version, error) {
	t.floor.mu.Lock()
	fresh := time.Since(t.floor.asked) < floorAge
	t.floor.mu.Unlock()
	if !fresh {
		stored, err := t.get(ctx, t.layout.marker())
		if err != nil {
			return record.Version{}, err
		}
		t.floor.lift(versionOf(stored))
	}
	return t.floor.known(), nil
}

// get reads an item as it stands now; nil: there is none.
func (t *dynamoTable) get(ctx context.Context, key attributes) (attributes, error) {
	return t.getAt(ctx, key, nil)
}

// getAt is get at a rate; nil: at any.
func (t *dynamoTable) getAt(ctx context.Context, key attributes, rate *limiter) (attributes, error) {
	var out *dynamodb.GetItemOutput
	err := t.store.call(ctx, t.Name, rate, 1, func(ctx context.Context) (err error) {
		out, err = t.store.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Name, Key: key, ConsistentRead: aws.Bool(true)})
		return err
	})
	if err != nil {
		return nil, t.store.explain(err, "read an item (dynamodb:GetItem)", t.Name)
	}
	return out.Item, nil
}

// truncate lifts the floor, and then leaves a tombstone for each item below it. Writes under way end before the floor is lifted, so
// that none of them comes behind the sweep. One that was cut off is done again: the version is the same.
func (d *Dynamo) truncate(ctx context.Context, p *Put) (Outcome, error) {
	t, err := d.table(p.Table)
	if err != nil {
		return 0, err
	}
	if err := t.lift(ctx, p.Version); err != nil {
		return 0, d.explain(err, "truncate the table (dynamodb:PutItem)", t.Name)
	}
	if t.floor.known().Compare(p.Version) > 0 {
		return Superseded, nil
	}
	if err := t.sweep(ctx, p); err != nil {
		return 0, d.explain(err, "truncate the table (dynamodb:Scan, dynamodb:PutItem)", t.Name)
	}
	return Written, nil
}

func (t *dynamoTable) lift(ctx context.Context, v record.Version) error {
	t.floor.writing.Lock()
	defer t.floor.writing.Unlock()
	if t.load != nil {
		t.load.end()
	}
	item := t.layout.marker()
	maps.Copy(item, attributes{
		deletedAttribute: &types.AttributeValueMemberBOOL{Value: true}, truncatedAttribute: &types.AttributeValueMemberBOOL{Value: true},
		versionAttribute: &types.AttributeValueMemberS{Value: v.String()},
	})
	_, done, err := t.putIf(ctx, onto{whole: work{item: item}, condition: newer, version: v})
	if err != nil {
		return err
	}
	if done {
		t.floor.lift(v)
		return nil
	}
	stored, err := t.get(ctx, t.layout.marker())
	if err == nil {
		t.floor.lift(versionOf(stored))
	}
	return err
}

// sweep deletes what is older than a truncate, a page after the other.
func (t *dynamoTable) sweep(ctx context.Context, p *Put) error {
	names := map[string]string{"#v": versionAttribute, "#d": deletedAttribute}
	var projected []string
	for i, k := range t.layout.keys {
		name := "#k" + string(rune('0'+i))
		names[name] = k.name
		projected = append(projected, name)
	}
	in := &dynamodb.ScanInput{
		TableName: &t.Name, ConsistentRead: aws.Bool(true), FilterExpression: aws.String("attribute_not_exists(#d) AND (" + newer + ")"), ExpressionAttributeNames: names,
		ExpressionAttributeValues: attributes{":v": &types.AttributeValueMemberS{Value: p.Version.String()}}, ProjectionExpression: aws.String(strings.Join(projected, ", ")),
	}
	for {
		var page *dynamodb.ScanOutput
		err := t.store.call(ctx, t.Name, nil, 0, func(ctx context.Context) (err error) {
			page, err = t.store.client.Scan(ctx, in)
			return err
		})
		if err != nil {
			return err
		}
		err = t.store.each(ctx, len(page.Items), func(ctx context.Context, i int) error {
			key := page.Items[i]
			gone := &Put{Table: t.Name, Key: t.layout.keyText(key), Version: p.Version, Op: record.Delete}
			_, err := t.put(ctx, work{Put: gone, item: t.layout.tombstone(key, p.Version, t.buried(p.Expires)), layout: t.layout})
			return err
		})
		if err != nil || len(page.LastEvaluatedKey) == 0 {
			return err
		}
		in.ExclusiveStartKey = page.LastEvaluatedKey
	}
}
