// Package dynamodbstreams reads the ordered changes of a table of DynamoDB from its stream: a lane a shard, parents before their
// children. See https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html.
package dynamodbstreams

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// retention is how long a stream keeps a change.
const retention = 24 * time.Hour

// calls is how many connections are kept open, and answerTime how long DynamoDB may take for a call.
const (
	calls      = 32
	answerTime = 20 * time.Second
)

// Source reads one table: a lane a shard of its stream, whose positions are sequence numbers.
type Source struct {
	config  Config
	host    sources.Host
	tables  *dynamodb.Client
	streams *dynamodbstreams.Client
	close   func()

	trimmed atomic.Int64 // how often changes were gone before they were read

	mu      sync.Mutex
	note    note
	noted   bool
	reading map[string]*progress // of the shards that are open, by lane
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ sources.Checker   = (*Source)(nil)
	_ sources.Lagger    = (*Source)(nil)
	_ sources.Reporter  = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "dynamodbstreams", Shared: true, Doc: "The ordered changes of a table of DynamoDB, from its stream.",
		Config: func() any { return &Config{} },
		Schemas: func(_ context.Context, settings any) ([]*record.Schema, error) {
			c, ok := settings.(*Config)
			if !ok {
				return nil, errOtherSettings
			}
			schema, err := c.schema()
			if schema == nil || err != nil {
				return nil, err
			}
			return []*record.Schema{schema}, nil
		},
		Plan: func(_ context.Context, settings any) []string {
			c, ok := settings.(*Config)
			if !ok {
				return nil
			}
			return []string{"reads the changes of the DynamoDB table " + c.Table + " from its stream, shard by shard, parents before their children"}
		},
		New: func(ctx context.Context, settings any, host sources.Host) (sources.Source, error) {
			c, ok := settings.(*Config)
			if !ok || c.Table == "" {
				return nil, errOtherSettings
			}
			return New(ctx, *c, host)
		},
	}
}

// New makes the source. Nothing is asked of DynamoDB yet.
func New(ctx context.Context, c Config, host sources.Host) (*Source, error) {
	var err error
	if c.Schema, err = c.schema(); err != nil {
		return nil, fault.Stop(err)
	}
	if c.Schema == nil {
		return nil, errNoSchema
	}
	c.Poll = cmp.Or(c.Poll, usualPoll)
	if host.Log == nil {
		host.Log = slog.New(slog.DiscardHandler)
	}
	loaded, err := awsconfig.Load(ctx, c.AWS)
	if err != nil {
		return nil, err
	}
	s := &Source{config: c, host: host, close: awsconfig.Connections(&loaded, calls, answerTime), reading: map[string]*progress{}}
	s.tables = dynamodb.NewFromConfig(loaded)
	s.streams = dynamodbstreams.NewFromConfig(loaded, func(o *dynamodbstreams.Options) {
		o.Retryer = aws.NopRetryer{} // what is done about an error depends on where the shard stands
	})
	return s, nil
}

// Close lets the connections go.
func (s *Source) Close() error {
	s.close()
	return nil
}

// Describe gives the schema of the items.
func (s *Source) Describe(context.Context) ([]*record.Schema, error) {
	return []*record.Schema{s.config.Schema}, nil
}

// Check looks for the stream and tries to read it.
func (s *Source) Check(ctx context.Context) error {
	arn, _, err := s.stream(ctx)
	if err != nil {
		return err
	}
	tree, err := s.tree(ctx, arn)
	if err != nil || len(tree.shards) == 0 {
		return err
	}
	r := &reader{source: s, arn: arn, shard: tree.shards[len(tree.shards)-1].id}
	if err := r.locate(ctx); err != nil {
		return err
	}
	_, err = s.streams.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: r.iterator, Limit: aws.Int32(1)})
	return awsconfig.Explain(err, "read the stream (dynamodb:GetRecords)", s.config.Table)
}

// stream finds the stream of the table. label is its time, which another stream of the table does not share.
func (s *Source) stream(ctx context.Context) (arn, label string, err error) {
	table := s.config.Table
	out, err := s.tables.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		return "", "", awsconfig.Explain(err, "look at the table (dynamodb:DescribeTable)", table)
	}
	arn, label = aws.ToString(out.Table.LatestStreamArn), aws.ToString(out.Table.LatestStreamLabel)
	spec := out.Table.StreamSpecification
	if arn == "" || spec == nil {
		return "", "", s.without(errors.New("the table has no stream"))
	}
	if v := spec.StreamViewType; v != types.StreamViewTypeNewAndOldImages && v != types.StreamViewTypeNewImage {
		return "", "", s.without(fmt.Errorf("the stream has %s, and no new images", v))
	}
	return arn, label, nil
}

func (s *Source) without(err error) error {
	return &fault.Error{
		Code: "ACQ-STREAM-001", Place: s.config.Table, Err: err,
		Remedy: fmt.Sprintf("acequia setup apply FILE switches it on; one of another kind has to be switched off before: aws dynamodb update-table --table-name %s --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES", s.config.Table),
	}
}

// Report tells how often changes were gone before they were read.
func (s *Source) Report(ctx context.Context) (sources.Report, error) {
	lag, err := s.Lag(ctx)
	r := sources.Report{Loss: lag.Loss, Trimmed: s.trimmed.Load()}
	if r.Trimmed > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s: changes were gone from the stream before they were read, %d times: read the table anew", s.config.Table, r.Trimmed))
	}
	return r, err
}

// lost tells that changes may be gone which were not read. It is as loud as can be: nothing brings them back but the table itself.
func (s *Source) lost(ctx context.Context, shard, why string) {
	s.trimmed.Add(1)
	s.host.Log.ErrorContext(ctx, "DATA LOSS POSSIBLE: changes are gone from the stream that were not read", slog.String("table", s.config.Table), slog.String("shard", shard),
		slog.String("reason", why), slog.String("remedy", "copy the items of the table once more; run more often than every 24 hours"))
}
