package dynamolog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
)

// errGone means that entries, or pieces of a snapshot, are not there any more.
var errGone = errors.New("what is asked for is not there any more")

func pieceAt(mark Mark, n int) string { return fmt.Sprintf("%s#%s#%06d", number(mark.Seq), mark.ID, n) }

// Read gives what follows an entry, or, where that is not there any more, the newest snapshot and what follows it.
func (l *Log) Read(ctx context.Context, after Mark) (Tail, error) {
	if after.Seq > 0 {
		tail, err := l.entries(ctx, after)
		if !errors.Is(err, errGone) {
			return tail, l.explain("read the log", err)
		}
	}
	// A snapshot goes when there is a newer one, perhaps while it is read.
	const tries, pause = 5, 50 * time.Millisecond
	var err error
	for try := range tries {
		var tail Tail
		if tail, err = l.fromSnapshot(ctx); !errors.Is(err, errGone) {
			return tail, l.explain("read the log", err)
		}
		select {
		case <-time.After(pause << try):
		case <-ctx.Done():
			return Tail{}, l.explain("read the log", ctx.Err())
		}
	}
	return Tail{}, &fault.Error{
		Class: fault.Fatal, Code: "ACQ-STATE-001", Place: l.Place(), Err: fmt.Errorf("the state is damaged: entries or pieces of it are missing: %w", err),
		Remedy: "restore the table from a backup (point-in-time recovery), or name another to start from nothing; nothing was changed",
	}
}

func (l *Log) fromSnapshot(ctx context.Context) (Tail, error) {
	data, at, err := l.loadSnapshot(ctx)
	if err != nil {
		return Tail{}, err
	}
	tail, err := l.entries(ctx, at)
	tail.Snapshot = data
	return tail, err
}

// entries gives those after one, which must be there, for as long as none is missing.
func (l *Log) entries(ctx context.Context, after Mark) (Tail, error) {
	tail := Tail{From: after, To: after}
	pages := dynamodb.NewQueryPaginator(l.client, &dynamodb.QueryInput{
		TableName: &l.table, ConsistentRead: aws.Bool(true), KeyConditionExpression: aws.String("#part = :part and #at >= :at"),
		ExpressionAttributeNames:  map[string]string{"#part": partitionKey, "#at": sortKey},
		ExpressionAttributeValues: map[string]types.AttributeValue{":part": text("entry"), ":at": text(number(after.Seq))},
	})
	known := after.Seq == 0
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return Tail{}, err
		}
		for _, item := range page.Items {
			at, id := readText(item[sortKey]), readText(item["id"])
			switch {
			case !known && at == number(after.Seq) && id == after.ID:
				known = true
				continue
			case !known:
				return Tail{}, errGone
			case at != number(tail.To.Seq+1) && len(tail.Entries) == 0:
				return Tail{}, errGone
			case at != number(tail.To.Seq+1):
				return tail, nil // the read of a page is no snapshot: one that is missing was added after its place was read
			}
			mark := Mark{Seq: tail.To.Seq + 1, ID: id}
			data, err := l.entry(ctx, mark, item)
			if err != nil {
				return Tail{}, err
			}
			tail.Entries, tail.To = append(tail.Entries, data), mark
		}
	}
	if !known {
		return Tail{}, errGone
	}
	return tail, nil
}

func (l *Log) entry(ctx context.Context, mark Mark, item map[string]types.AttributeValue) ([]byte, error) {
	if pieces := readInteger(item["pieces"]); pieces > 0 {
		return l.pieces(ctx, "piece", mark, int(pieces))
	}
	return readBinary(item["data"]), nil
}

// pieces reads all n pieces of an entry or a snapshot.
func (l *Log) pieces(ctx context.Context, part string, mark Mark, n int) ([]byte, error) {
	var data []byte
	for i := range n {
		item, err := l.get(ctx, part, pieceAt(mark, i))
		if err != nil {
			return nil, err
		}
		if item == nil {
			return nil, errGone
		}
		data = append(data, readBinary(item["data"])...)
	}
	return data, nil
}
