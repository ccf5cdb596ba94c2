// Package dynamolog is an ordered log in a table of DynamoDB, with snapshots of what its entries have led to. What several processes append
// has one order, and an entry is refused unless its writer knew all before it.
//
// The table has the partition key part and the sort key at, both strings:
//
//	part      at                  what
//	head      head                seq: the number of the newest entry. It is moved in the transaction that adds the entry
//	entry     number              id, and data, or how many pieces hold it
//	piece     number#id#index     of an entry that is larger than an item may be
//	newest    newest              seq, id, pieces and sum of the newest snapshot
//	snapshot  number#id#index     a piece of one
//
// Numbers have 20 digits. Entries before the last snapshot but one are deleted; the newest stays in any case, so that who has fallen behind
// sees that something is missing.
package dynamolog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// The key of the table.
const (
	partitionKey = "part"
	sortKey      = "at"
)

// ErrBehind means that there are entries which the writer did not know: nothing was appended.
var ErrBehind = errors.New("the log has newer entries")

// Mark names an entry. The zero value is before the first.
type Mark struct {
	Seq int64 // from 1
	ID  string
}

// Tail is what follows an entry, up to the end of the log.
type Tail struct {
	Snapshot []byte // of all up to From; nil: From is the entry that was named
	From     Mark   // what the entries follow
	Entries  [][]byte
	To       Mark // the last of them; From: there are none
}

// Design is a table for a log.
func Design(table string) *dynamodb.CreateTableInput {
	return &dynamodb.CreateTableInput{
		TableName: &table, BillingMode: types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(partitionKey), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(sortKey), AttributeType: types.ScalarAttributeTypeS},
		},
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(partitionKey), KeyType: types.KeyTypeHash}, {AttributeName: aws.String(sortKey), KeyType: types.KeyTypeRange},
		},
	}
}

// Log is a log in a table that is there. It is safe for concurrent use.
type Log struct {
	table  string
	client *dynamodb.Client
	close  func()
}

// answerTime is how long DynamoDB may take to begin an answer, connections how many calls are made at the same time: an entry, a
// snapshot and some of its pieces.
const (
	answerTime  = 5 * time.Second
	connections = 4
)

// Open loads the configuration of AWS. Nothing is asked of DynamoDB yet.
func Open(ctx context.Context, settings awsconfig.Settings, table string) (*Log, error) {
	c, err := awsconfig.Load(ctx, settings)
	if err != nil {
		return nil, err
	}
	l := &Log{table: table, close: awsconfig.Connections(&c, connections, answerTime)}
	l.client = dynamodb.NewFromConfig(c, func(o *dynamodb.Options) {
		o.DisableValidateResponseChecksum = true // of a refusal it is told as a warning each time; TLS looks after the rest
	})
	return l, nil
}

// Close lets the connections go.
func (l *Log) Close() error {
	l.close()
	return nil
}

// Place names the log in errors.
func (l *Log) Place() string { return "DynamoDB table " + l.table }

func (l *Log) explain(doing string, err error) error {
	if missing, ok := errors.AsType[*types.ResourceNotFoundException](err); ok {
		return &fault.Error{
			Code: "ACQ-AWS-006", Place: l.Place(), Err: fmt.Errorf("%s: %w", doing, missing),
			Remedy: "make it: acequia setup apply FILE; or look at its name, the region and the account",
		}
	}
	return awsconfig.Explain(err, doing, l.Place())
}

// number is a sequence number as it sorts.
func number(seq int64) string { return fmt.Sprintf("%020d", seq) }

func key(part, at string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{partitionKey: text(part), sortKey: text(at)}
}

func text(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func integer(n int64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatInt(n, 10)}
}

func binary(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }

func readText(v types.AttributeValue) string {
	if s, ok := v.(*types.AttributeValueMemberS); ok {
		return s.Value
	}
	return ""
}

func readInteger(v types.AttributeValue) (n int64) {
	if s, ok := v.(*types.AttributeValueMemberN); ok {
		_, _ = fmt.Sscan(s.Value, &n) // it is a number: the service checks
	}
	return n
}

func readBinary(v types.AttributeValue) []byte {
	if b, ok := v.(*types.AttributeValueMemberB); ok {
		return b.Value
	}
	return nil
}

// get reads one item as it is now; nil: there is none.
func (l *Log) get(ctx context.Context, part, at string) (map[string]types.AttributeValue, error) {
	out, err := l.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: &l.table, Key: key(part, at), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}
