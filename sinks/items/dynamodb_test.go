package items_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

func connection(tb testing.TB) aws.Config {
	tb.Helper()
	c, err := awsconfig.Load(tb.Context(), server.Settings)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(awsconfig.Connections(&c, 16, 0))
	return c
}

func openDynamo(tb testing.TB, o itemstore.DynamoOptions) *itemstore.Dynamo {
	tb.Helper()
	o.AWS, o.Log = server.Settings, slog.New(slog.DiscardHandler)
	d, err := itemstore.OpenDynamo(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = d.Close() })
	return d
}

func create(tb testing.TB, table itemstore.Table) {
	tb.Helper()
	client := dynamodb.NewFromConfig(connection(tb))
	for _, in := range itemstore.Design(table) {
		if _, err := client.CreateTable(tb.Context(), in); err != nil {
			tb.Fatal(err)
		}
	}
}

// The suite of the embedded store, over DynamoDB's protocol. Rows that are new come in batches, so that it takes seconds.
func TestDynamoConformance(t *testing.T) {
	t.Parallel()
	var places atomic.Int64
	sinktest.Run(t, sinktest.Harness{
		StageShows: true,
		Refused:    strings.Repeat("x", itemstore.MaxItem),
		New: func(t *testing.T) sinktest.Place {
			t.Helper()
			schema, err := sinktest.Schema()
			if err != nil {
				t.Fatal(err)
			}
			name := fmt.Sprintf("suite-%d", places.Add(1))
			create(t, itemstore.Table{Name: name, Schema: schema})
			streams := dynamodbstreams.NewFromConfig(connection(t))
			return sinktest.Place{
				Sink: func() (sinks.Sink, error) {
					return items.New(items.Config{Tables: map[string]items.Table{"suite": {Name: name}}}, openDynamo(t, itemstore.DynamoOptions{Bulk: true}), slog.New(slog.DiscardHandler)), nil
				},
				Rows: func() ([]sinktest.Row, error) { return inStream(t.Context(), streams, name) },
			}
		},
	})
}

// inStream reads the stream of a table: it has one record for each write that took effect.
func inStream(ctx context.Context, client *dynamodbstreams.Client, table string) (rows []sinktest.Row, err error) {
	found, err := client.ListStreams(ctx, &dynamodbstreams.ListStreamsInput{TableName: &table})
	if err != nil || len(found.Streams) != 1 {
		return nil, fmt.Errorf("%d streams: %w", len(found.Streams), err)
	}
	described, err := client.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: found.Streams[0].StreamArn})
	if err != nil {
		return nil, err
	}
	at, err := client.GetShardIterator(ctx, &dynamodbstreams.GetShardIteratorInput{
		StreamArn: found.Streams[0].StreamArn, ShardId: described.StreamDescription.Shards[0].ShardId, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		return nil, err
	}
	for next := at.ShardIterator; next != nil; {
		page, err := client.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: next, Limit: aws.Int32(1000)})
		if err != nil {
			return nil, err
		}
		if len(page.Records) == 0 {
			break
		}
		for i := range page.Records {
			row, err := asRow(&page.Records[i])
			if err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
		next = page.NextShardIterator
	}
	return rows, nil
}

func asRow(r *types.Record) (sinktest.Row, error) {
	item := r.Dynamodb.NewImage
	text := func(name string) (string, bool) {
		s, ok := item[name].(*types.AttributeValueMemberS)
		if !ok {
			return "", false
		}
		return s.Value, true
	}
	row := sinktest.Row{Op: record.Insert}
	if r.EventName == types.OperationTypeModify {
		row.Op = record.Update
	}
	if _, gone := item["_deleted"]; gone {
		row.Op = record.Delete
	}
	var valid bool
	row.Version, _ = text("_version")
	row.Text, valid = text("text")
	row.Null = !valid
	n, ok := item["id"].(*types.AttributeValueMemberN)
	if !ok {
		return row, fmt.Errorf("the id is %#v", item["id"])
	}
	var err error
	row.ID, err = strconv.ParseInt(n.Value, 10, 64)
	return row, err
}

// A row that DynamoDB cannot hold is named with its column.
func TestDynamoRefusesRows(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("scores", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "score", Kind: record.Float64})
	if err != nil {
		t.Fatal(err)
	}
	create(t, itemstore.Table{Name: "scores", Schema: s})
	w := writer(t, items.New(items.Config{}, openDynamo(t, itemstore.DynamoOptions{}), slog.New(slog.DiscardHandler)))
	b := record.NewBuilder(s, 2)
	for _, doc := range []string{`{"id":1,"score":1}`, `{"id":2,"score":"NaN"}`} {
		if err := b.AppendJSON([]byte(doc)); err != nil {
			t.Fatal(err)
		}
		b.System().Ops = append(b.System().Ops, record.Insert)
		b.System().Versions.Lo = append(b.System().Versions.Lo, 1)
	}
	err = w.Write(t.Context(), b.Batch(nil))
	rows, ok := err.(*fault.Rows) //nolint:errorlint // it is one
	if !ok || len(rows.Bad) != 1 || rows.Bad[0].Index != 1 || rows.Bad[0].Column != "score" {
		t.Errorf("got %v", err)
	}
}

// What is asked of the settings: which tables are there, and which command makes the others.
func TestDynamoIsReached(t *testing.T) {
	t.Parallel()
	there, missing, keyless := schema(t, "reached", []string{"id"}), schema(t, "lacking", []string{"id"}), schema(t, "keyless", nil)
	create(t, itemstore.Table{Name: "reached", Schema: there})
	c := &items.Config{URL: "dynamodb://", AWS: server.Settings}
	found, err := c.Reach(t.Context(), []*record.Schema{there, keyless})
	if err != nil || !strings.HasPrefix(found, "1 tables can be written; deleted items stay in reached for ever") {
		t.Error(found, err)
	}
	_, err = c.Reach(t.Context(), []*record.Schema{there, missing})
	if fault.Code(err) != "ACQ-ITEMS-020" && !strings.Contains(fmt.Sprint(err), "make it: acequia setup apply FILE, or aws dynamodb create-table") {
		t.Error(err)
	}
	lines, err := c.Survey(t.Context(), []*record.Schema{there, missing, keyless})
	if err != nil || len(lines) != 2 || !strings.HasPrefix(lines[0], "table reached is there") || !strings.Contains(lines[1], "make it: acequia setup apply FILE, or aws dynamodb create-table") {
		t.Error(lines, err)
	}
	if lines, err := (&items.Config{}).Survey(t.Context(), []*record.Schema{there}); len(lines) > 0 || err != nil {
		t.Error(lines, err)
	}
}

// Mistakes of the settings for DynamoDB.
func TestDynamoCheck(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("n", []string{"id"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "b", Kind: record.Bool}, record.Field{Name: "c", Kind: record.Int32})
	if err != nil {
		t.Fatal(err)
	}
	plugin := items.Plugin()
	got := fmt.Sprint(plugin.Check(&items.Config{URL: "dynamodb://", Path: "x.db", Tables: map[string]items.Table{"n": {Indexes: []itemstore.Index{
		{Name: "by b", Columns: []string{"b"}}, {Name: "by_all", Columns: []string{"id", "b", "c"}},
	}}}}, []*record.Schema{s}))
	for _, want := range []string{
		"path: is of the embedded store", `"n" is no name for DynamoDB`, `tables.n.indexes.0: "by b" is no name`, `tables.n.indexes.0.columns.0: column "b" is a bool`, "tables.n.indexes.1: an index of DynamoDB has one or two",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
	if got := fmt.Sprint(plugin.Check(&items.Config{URL: "s3://x"}, nil)); !strings.Contains(got, "url: must be dynamodb:// or nothing") {
		t.Error(got)
	}
	if got := fmt.Sprint(plugin.Check(&items.Config{Bulk: true}, nil)); !strings.Contains(got, "url: is not set") {
		t.Error(got)
	}
	lines := plugin.Plan(&items.Config{URL: "dynamodb://", Tables: map[string]items.Table{"n": {Name: "films", Indexes: []itemstore.Index{{Name: "by_c", Columns: []string{"c"}, Each: true}}}}}, []*record.Schema{s})
	if len(lines) != 1 || lines[0] != "DynamoDB table films, with films.by_c for the elements of c, with the indexes by_c" {
		t.Error(lines)
	}
}

var _ io.Closer = (*itemstore.Dynamo)(nil)
