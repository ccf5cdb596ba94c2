package itemstore

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/fault"
)

// load is the first load of a table that was empty. BatchWriteItem knows no conditions, so it takes only keys that were never written: a
// filter of all keys tells which surely were not, and calls that may share keys come one after the other. All others, and those that the
// filter is not sure of, are written by their version.
type load struct {
	mu    sync.Mutex
	seen  []uint64 // a Bloom filter; nil: the load is over
	count int
}

const (
	filterWords = 1 << 20   // 8 MiB
	filterKeys  = 8_000_000 // with which one key in 50 is written by its version without need
	filterBits  = 4         // a key
)

// maxBatch is how many items BatchWriteItem takes:
// https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html. 25 of the largest fit into its 16 MB.
const maxBatch = 25

// beginLoad begins the load of a table if there is nothing in it, not even a tombstone; nil: there is.
func (d *Dynamo) beginLoad(ctx context.Context, table string) (*load, error) {
	var found *dynamodb.ScanOutput
	err := d.call(ctx, table, nil, 0, func(ctx context.Context) (err error) {
		found, err = d.client.Scan(ctx, &dynamodb.ScanInput{TableName: &table, Limit: aws.Int32(1), ConsistentRead: aws.Bool(true)})
		return err
	})
	if err != nil {
		return nil, d.explain(err, "look whether the table is empty (dynamodb:Scan)", table)
	}
	if len(found.Items) > 0 || len(found.LastEvaluatedKey) > 0 {
		return nil, nil
	}
	return &load{seen: make([]uint64, filterWords)}, nil
}

// end lets all that follows be written by its version.
func (l *load) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = nil
}

// add notes a key and tells whether it may have been there.
func (l *load) add(key string) (there bool) {
	h := xxhash.Sum64String(key)
	step := h>>32 | 1
	there = true
	for i := range uint64(filterBits) {
		bit := (h + i*step) % (filterWords * 64)
		there = there && l.seen[bit/64]&(1<<(bit%64)) != 0
		l.seen[bit/64] |= 1 << (bit % 64)
	}
	l.count++
	return there
}

// note remembers keys that are about to be written by their version.
func (l *load) note(all []work) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range all {
		if l.seen != nil {
			l.add(all[i].Key)
		}
	}
}

// write takes the keys that were never written out of the chains, and writes the newest copy of each.
func (l *load) write(ctx context.Context, t *dynamoTable, chains map[string][]work) error {
	l.mu.Lock() // until all is written, so that who finds a key in the filter comes after it
	defer l.mu.Unlock()
	if l.seen == nil {
		return nil
	}
	var fresh []work
	for key, chain := range chains {
		if l.add(key) || slices.ContainsFunc(chain, func(w work) bool { return !w.plain() }) {
			continue
		}
		newest := chain[0]
		for _, w := range chain {
			if *w.outcome = Superseded; w.Version.Compare(newest.Version) > 0 {
				newest = w
			}
		}
		*newest.outcome = Written
		fresh = append(fresh, newest)
		delete(chains, key)
	}
	if l.count > filterKeys {
		l.seen = nil
	}
	batches := slices.Collect(slices.Chunk(fresh, maxBatch))
	return t.store.each(ctx, len(batches), func(ctx context.Context, i int) error { return t.putAll(ctx, batches[i]) })
}

// plain says whether a put is of a whole item and asks for nothing.
func (w work) plain() bool { return !w.IfAbsent && len(w.Kept) == 0 && !deleted(w.item) }

// putAll writes items without a condition. What DynamoDB leaves out is written again until nothing is left.
func (t *dynamoTable) putAll(ctx context.Context, batch []work) error {
	requests := make([]types.WriteRequest, len(batch))
	total := 0.0
	for i, w := range batch {
		requests[i].PutRequest = &types.PutRequest{Item: w.item}
		total += units(w.item)
	}
	for tries := 1; len(requests) > 0; tries++ {
		var out *dynamodb.BatchWriteItemOutput
		err := t.store.call(ctx, t.Name, t.limit, total, func(ctx context.Context) (err error) {
			out, err = t.store.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{t.Name: requests}})
			return err
		})
		if err != nil {
			return t.store.explain(err, "write items (dynamodb:BatchWriteItem)", t.Name)
		}
		if requests = out.UnprocessedItems[t.Name]; len(requests) == 0 {
			return nil
		}
		if tries >= throttledTries {
			break
		}
		t.store.slower(ctx, t.Name, t.limit, fmt.Sprintf("%d of %d items of a batch were left out", len(requests), len(batch)))
		total = 0
		for _, r := range requests {
			total += units(r.PutRequest.Item)
		}
		if err := pause(ctx, backoff(tries)); err != nil {
			return err
		}
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-AWS-008", Place: t.Name, Err: fmt.Errorf("DynamoDB leaves out %d of %d items of a batch, however often they are sent", len(requests), len(batch)),
		Remedy: "it is tried again, slower; raise the limit if it stays so",
	}
}
