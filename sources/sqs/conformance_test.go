package sqs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/messaging/messagingtest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/sourcetest"
	"github.com/acequia-io/acequia/sources/sqs"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

// games is a schema of all that JSON rows can hold; nested adds what a declaration cannot.
func games(t *testing.T, nested ...record.Field) *record.Schema {
	t.Helper()
	fields := []record.Field{
		{Name: "id", Kind: record.String},
		{Name: "stock", Kind: record.Int64, Nullable: true},
		{Name: "rank", Kind: record.Int32, Nullable: true},
		{Name: "rating", Kind: record.Float64, Nullable: true},
		{Name: "price", Kind: record.Decimal, Precision: 25, Scale: 2, Nullable: true},
		{Name: "released", Kind: record.Date, Nullable: true},
		{Name: "seen", Kind: record.Timestamp, Nullable: true},
		{Name: "box", Kind: record.Bool, Nullable: true},
		{Name: "scan", Kind: record.Bytes, Nullable: true},
		{Name: "title", Kind: record.String, Nullable: true},
	}
	s, err := record.NewSchema("games", []string{"id"}, append(fields, nested...)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func nested() []record.Field {
	return []record.Field{
		{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String, Nullable: true}}},
		{Name: "at", Kind: record.Struct, Nullable: true, Fields: []record.Field{{Name: "x", Kind: record.Float64, Nullable: true}, {Name: "n", Kind: record.Int64, Nullable: true}}},
	}
}

// queues makes queues at moto.
func queues(t *testing.T) func(ctx context.Context, name string) (url string, send func(bodies ...string) error, err error) {
	t.Helper()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	client := awssqs.NewFromConfig(c)
	return func(ctx context.Context, name string) (string, func(bodies ...string) error, error) {
		made, err := client.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			return "", nil, err
		}
		return aws.ToString(made.QueueUrl), func(bodies ...string) error {
			in := &awssqs.SendMessageBatchInput{QueueUrl: made.QueueUrl}
			for i, body := range bodies {
				in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(body)})
				if len(in.Entries) == messaging.MostEntries || i == len(bodies)-1 {
					if _, err := client.SendMessageBatch(ctx, in); err != nil {
						return err
					}
					in.Entries = nil
				}
			}
			return nil
		}, nil
	}
}

// quick are settings of a test's source.
func quick(c sqs.Config) sqs.Config {
	c.AWS.Region = server.Settings.Region
	c.Wait, c.Visibility, c.Linger = time.Second, 4*time.Second, 5*time.Millisecond
	return c
}

var discard = slog.New(slog.DiscardHandler)

// TestConformanceOfJSON reads rows of a program that knows nothing of acequia, from moto.
func TestConformanceOfJSON(t *testing.T) {
	t.Parallel()
	var places atomic.Int64
	queue := queues(t)
	schema := games(t)
	var columns config.Ordered[string]
	for _, f := range schema.Fields {
		columns = append(columns, config.Entry[string]{Name: f.Name, Value: f.TypeName()})
	}
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: sqs.Plugin(), Network: true, Unordered: true, InsertOnly: true, Schema: schema, MaxText: 64 << 10,
		New: func(ctx context.Context) (*sourcetest.Place, error) {
			url, send, err := queue(ctx, fmt.Sprintf("json-%d", places.Add(1)))
			if err != nil {
				return nil, err
			}
			return &sourcetest.Place{
				Source: func(context.Context) (sources.Source, error) {
					return sqs.New(quick(sqs.Config{Queue: url, AWS: server.Settings, Stream: "games", Columns: columns, Key: []string{"id"}}), nil, discard)
				},
				Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
					var all []string
					var lines []byte
					for row := range b.Rows {
						lines = append(b.AppendJSON(lines, row), '\n')
						if row%20 == 0 || row == b.Rows-1 { // one, then twenty a message
							all, lines = append(all, string(lines)), nil
						}
					}
					return nil, send(all...)
				},
			}, nil
		},
	})
}

// TestConformanceOfStreamRecords reads records of DynamoDB Streams in events of Lambda.
func TestConformanceOfStreamRecords(t *testing.T) {
	t.Parallel()
	var serial atomic.Int64
	schema := games(t, nested()...)
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: sqs.Plugin(), Network: true, Unordered: true, KeepsVersions: true, Schema: schema,
		Good: func(b *record.Builder, column, row int) bool { // DynamoDB's numbers have 38 digits
			if b.Schema().Fields[column].Name != "rating" {
				return false
			}
			b.Float(column, float64(row)/8)
			return true
		},
		New: func(context.Context) (*sourcetest.Place, error) {
			fake := messagingtest.Start(t, messagingtest.Faults{})
			return &sourcetest.Place{
				Source: func(context.Context) (sources.Source, error) {
					return sqs.New(quick(sqs.Config{Queue: fake.URL("games"), Table: "games", Schema: schema}), nil, discard)
				},
				Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
					body := ""
					for row := range b.Rows {
						if body += streamRecord(b, row, serial.Add(1)); row%20 == 0 || row == b.Rows-1 {
							fake.Put(messagingtest.Message{Body: `{"Records":[` + body + `]}`})
							body = ""
							continue
						}
						body += ","
					}
					return nil, nil
				},
			}, nil
		},
	})
}

// TestConformance reads what sinks/sqs sends, from a server of our own, which gives some messages twice, loses some deletes and lets
// a tenth of all entries of batches fail.
func TestConformance(t *testing.T) {
	t.Parallel()
	schema := games(t, nested()...)
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: sqs.Plugin(), Network: true, Unordered: true, KeepsVersions: true, Schema: schema,
		New: func(context.Context) (*sourcetest.Place, error) {
			n := 0
			some := func(string) bool { n++; return n%10 == 0 }
			fake := messagingtest.Start(t, messagingtest.Faults{
				Twice: some, Lose: some, Entry: func(action string, _ int) bool { return some(action) },
			})
			return &sourcetest.Place{
				Source: func(context.Context) (sources.Source, error) {
					return sqs.New(quick(sqs.Config{Queue: fake.URL("games"), Schema: schema}), nil, discard)
				},
				Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
					for row := range b.Rows {
						info := messaging.InfoOf(b, row)
						info.ID = fmt.Sprintf("event-%s", info.Version)
						fake.Put(messagingtest.Message{Body: string(b.AppendJSON(nil, row)), Attributes: map[string]string{messaging.RecordAttribute: info.String()}})
					}
					return nil, nil
				},
			}, nil
		},
	})
}
