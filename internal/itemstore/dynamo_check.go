package itemstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
)

// never is a condition that no item meets: what is tried on it leaves nothing behind.
const never = "attribute_exists(#v) AND attribute_not_exists(#v)"

// Check looks whether a table, and those of its entries, are there and may be read and written. warning is what should be otherwise,
// although it works; "": nothing.
func (d *Dynamo) Check(ctx context.Context, t Table) (warning string, err error) {
	_, l, err := d.look(ctx, t)
	if err != nil {
		return "", err
	}
	names := map[string]string{"#v": versionAttribute}
	try := func(action, table string, do func(ctx context.Context) error) {
		if err != nil {
			return
		}
		if err = passed(d.call(ctx, table, nil, 0, do)); err != nil {
			err = d.explain(err, "try the right dynamodb:"+action, table)
		}
	}
	put := func(table string, key attributes) {
		try("PutItem", table, func(ctx context.Context) error {
			_, err := d.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: key, ConditionExpression: aws.String(never), ExpressionAttributeNames: names})
			return err
		})
	}
	put(t.Name, l.marker())
	try("GetItem", t.Name, func(ctx context.Context) error {
		_, err := d.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &t.Name, Key: l.marker()})
		return err
	})
	try("Scan", t.Name, func(ctx context.Context) error {
		_, err := d.client.Scan(ctx, &dynamodb.ScanInput{TableName: &t.Name, Limit: aws.Int32(1)})
		return err
	})
	for _, x := range t.Indexes {
		if !x.Each {
			continue
		}
		table, key := Entries(t.Name, x.Name), entryKey(markerText, markerText)
		put(table, key)
		try("DeleteItem", table, func(ctx context.Context) error {
			_, err := d.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &table, Key: key, ConditionExpression: aws.String(never), ExpressionAttributeNames: names})
			return err
		})
	}
	if err != nil {
		return "", err
	}
	return d.expiry(ctx, t.Name), nil
}

// expiry says that tombstones would stay for ever, where that can be told.
func (d *Dynamo) expiry(ctx context.Context, table string) string {
	out, err := d.client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &table})
	if err != nil || out.TimeToLiveDescription == nil { // it is no right that is needed
		return ""
	}
	ttl := out.TimeToLiveDescription
	on := ttl.TimeToLiveStatus == types.TimeToLiveStatusEnabled || ttl.TimeToLiveStatus == types.TimeToLiveStatusEnabling
	if on && aws.ToString(ttl.AttributeName) == expiresAttribute {
		return ""
	}
	return fmt.Sprintf("deleted items stay in %s for ever: its TTL is not on for %s", table, expiresAttribute)
}

// Survey says of a table whether it is there, and what makes it.
func (d *Dynamo) Survey(ctx context.Context, t Table) (string, error) {
	found, _, err := d.look(ctx, t)
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == "ACQ-ITEMS-020" {
		return fmt.Sprintf("table %s is not there; %s", e.Place, e.Remedy), nil
	}
	if err != nil {
		return "", err
	}
	billing := "on demand"
	if found.BillingModeSummary == nil || found.BillingModeSummary.BillingMode == types.BillingModeProvisioned {
		billing = "provisioned capacity"
	}
	return fmt.Sprintf("table %s is there (%s, %d items when DynamoDB last counted)", t.Name, billing, aws.ToInt64(found.ItemCount)), nil
}
