package dynamolog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
)

// loadSnapshot gives the newest snapshot and what it is of; nil and the zero value: there is none.
func (l *Log) loadSnapshot(ctx context.Context) ([]byte, Mark, error) {
	newest, err := l.get(ctx, "newest", "newest")
	if err != nil || newest == nil {
		return nil, Mark{}, err
	}
	of := Mark{Seq: readInteger(newest["seq"]), ID: readText(newest["id"])}
	data, err := l.pieces(ctx, "snapshot", Mark{Seq: of.Seq, ID: readText(newest["snapshot"])}, int(readInteger(newest["pieces"])))
	if err == nil && digest(data) != readText(newest["sum"]) {
		err = errGone
	}
	return data, of, err
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// SaveSnapshot keeps what the log up to an entry has led to, unless there is a newer snapshot, and deletes what nobody needs for it any more.
func (l *Log) SaveSnapshot(ctx context.Context, at Mark, data []byte) error {
	before, err := l.get(ctx, "newest", "newest")
	if err != nil {
		return l.explain("save a snapshot", err)
	}
	if readInteger(before["seq"]) >= at.Seq {
		return nil
	}
	snapshot := Mark{Seq: at.Seq, ID: rand.Text()}
	n, err := l.putPieces(ctx, "snapshot", snapshot, data)
	if err != nil {
		return l.explain("save a snapshot", err)
	}
	item := key("newest", "newest")
	item["seq"], item["id"], item["snapshot"], item["pieces"], item["sum"] = integer(at.Seq), text(at.ID), text(snapshot.ID), integer(int64(n)), text(digest(data))
	_, err = l.client.PutItem(ctx, &dynamodb.PutItemInput{
		TableName: &l.table, Item: item, ConditionExpression: aws.String("attribute_not_exists(seq) or seq < :at"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":at": integer(at.Seq)},
	})
	if _, refused := errors.AsType[*types.ConditionalCheckFailedException](err); refused {
		return nil // the newer one's writer deletes the pieces
	}
	if err != nil {
		return l.explain("save a snapshot", err)
	}
	// What follows the last snapshot stays: those who are a little behind need not begin with one.
	old := readInteger(before["seq"])
	for part, from := range map[string]int64{"snapshot": at.Seq, "entry": old, "piece": old} {
		if err := l.drop(ctx, part, from); err != nil {
			return l.explain("delete what is older than a snapshot", err)
		}
	}
	return nil
}

// drop deletes the items of a part whose number is before one.
func (l *Log) drop(ctx context.Context, part string, before int64) error {
	const batch = 25 // of BatchWriteItem at most
	pages := dynamodb.NewQueryPaginator(l.client, &dynamodb.QueryInput{
		TableName: &l.table, KeyConditionExpression: aws.String("#part = :part and #at < :at"), ProjectionExpression: aws.String("#part, #at"),
		ExpressionAttributeNames:  map[string]string{"#part": partitionKey, "#at": sortKey},
		ExpressionAttributeValues: map[string]types.AttributeValue{":part": text(part), ":at": text(number(before))},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for items := page.Items; len(items) > 0; {
			n := min(batch, len(items))
			if err := l.deleteItems(ctx, items[:n]); err != nil {
				return err
			}
			items = items[n:]
		}
	}
	return nil
}

func (l *Log) deleteItems(ctx context.Context, items []map[string]types.AttributeValue) error {
	var asked []types.WriteRequest
	for _, item := range items {
		asked = append(asked, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: item}})
	}
	const tries, pause = 8, 50 * time.Millisecond
	for try := range tries {
		out, err := l.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{l.table: asked}})
		if err != nil {
			return err
		}
		if asked = out.UnprocessedItems[l.table]; len(asked) == 0 {
			return nil
		}
		select {
		case <-time.After(pause << try):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fault.Retry(fmt.Errorf("%d items were not deleted in %d tries", len(asked), tries))
}
