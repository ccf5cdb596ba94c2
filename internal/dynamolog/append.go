package dynamolog

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// pieceSize is how much of an entry or a snapshot one item holds: an item may have 400 KB with the names of its attributes
// (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
const pieceSize = 380_000

// Append adds an entry after the one that is named. ErrBehind: there is another there. After any other error it is not known whether
// the entry was added: Read tells.
func (l *Log) Append(ctx context.Context, after Mark, entry []byte) (Mark, error) {
	mark := Mark{Seq: after.Seq + 1, ID: rand.Text()}
	item := key("entry", number(mark.Seq))
	item["id"] = text(mark.ID)
	if len(entry) <= pieceSize {
		item["data"] = binary(entry)
	} else {
		n, err := l.putPieces(ctx, "piece", mark, entry)
		if err != nil {
			return Mark{}, l.explain("add to the log", err)
		}
		item["pieces"] = integer(int64(n))
	}
	_, err := l.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
		ClientRequestToken: &mark.ID,
		TransactItems:      []types.TransactWriteItem{{Update: l.moveHead(after, mark)}, {Put: &types.Put{TableName: &l.table, Item: item}}},
	})
	if err == nil {
		return mark, nil
	}
	// The SDK may have tried twice, and the second time have met what the first has added.
	got, readErr := l.get(ctx, "entry", number(mark.Seq))
	switch {
	case readErr == nil && readText(got["id"]) == mark.ID:
		return mark, nil
	case readErr == nil && got != nil, canceled(err):
		return Mark{}, ErrBehind
	}
	return Mark{}, l.explain("add to the log", err)
}

// moveHead is the part of the transaction that refuses an entry whose writer did not know the newest.
func (l *Log) moveHead(after, to Mark) *types.Update {
	u := &types.Update{
		TableName: &l.table, Key: key("head", "head"),
		UpdateExpression: aws.String("SET seq = :to"), ConditionExpression: aws.String("attribute_not_exists(seq)"),
		ExpressionAttributeValues: map[string]types.AttributeValue{":to": integer(to.Seq)},
	}
	if after.Seq > 0 {
		u.ConditionExpression = aws.String("seq = :after")
		u.ExpressionAttributeValues[":after"] = integer(after.Seq)
	}
	return u
}

// canceled says whether the transaction was refused for another's sake: the head had moved, or was being moved. See
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html.
func canceled(err error) bool {
	e, ok := errors.AsType[*types.TransactionCanceledException](err)
	if !ok {
		return false
	}
	for _, reason := range e.CancellationReasons {
		if code := aws.ToString(reason.Code); code == "ConditionalCheckFailed" || code == "TransactionConflict" {
			return true
		}
	}
	return false
}

// putPieces writes the pieces of what is larger than an item, and counts them.
func (l *Log) putPieces(ctx context.Context, part string, mark Mark, data []byte) (n int, err error) {
	for ; len(data) > 0; n++ {
		size := min(len(data), pieceSize)
		item := key(part, pieceAt(mark, n))
		item["data"] = binary(data[:size])
		if _, err := l.client.PutItem(ctx, &dynamodb.PutItemInput{TableName: &l.table, Item: item}); err != nil {
			return n, err
		}
		data = data[size:]
	}
	return n, nil
}
