package dynamodbstreams_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/dynamodbstreams"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

var places atomic.Int64 // for names of tables

// newTable makes a table with a stream, and a store that writes it. moto numbers changes that come at the same time alike, so they come
// one by one.
func newTable(ctx context.Context, schema *record.Schema, bulk bool) (store *itemstore.Dynamo, name string, err error) {
	name = fmt.Sprintf("games-%d", places.Add(1))
	store, err = itemstore.OpenDynamo(ctx, itemstore.DynamoOptions{AWS: server.Settings, Bulk: bulk, Concurrency: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, "", err
	}
	c, err := awsconfig.Load(ctx, server.Settings)
	if err != nil {
		return nil, "", err
	}
	defer awsconfig.Connections(&c, 1, 0)()
	table := itemstore.Table{Name: name, Schema: schema}
	for _, in := range itemstore.Design(table) {
		if _, err := dynamodb.NewFromConfig(c).CreateTable(ctx, in); err != nil {
			return nil, "", err
		}
	}
	return store, name, store.Define(ctx, table)
}

func settings(table string, schema *record.Schema) dynamodbstreams.Config {
	return dynamodbstreams.Config{Table: table, AWS: server.Settings, Schema: schema, Poll: 5 * time.Millisecond}
}

func newPlace(ctx context.Context, schema *record.Schema) (*sourcetest.Place, error) {
	inserts, name, err := newTable(ctx, schema, true)
	if err != nil {
		return nil, err
	}
	store, err := itemstore.OpenDynamo(ctx, itemstore.DynamoOptions{AWS: server.Settings, Concurrency: 1})
	if err == nil {
		err = store.Define(ctx, itemstore.Table{Name: name, Schema: schema})
	}
	if err != nil {
		return nil, err
	}
	return &sourcetest.Place{
		Source: func(ctx context.Context) (sources.Source, error) {
			return dynamodbstreams.New(ctx, settings(name, schema), sources.Host{})
		},
		Put: func(ctx context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
			to := inserts // which takes the newest of a key alone
			if slices.ContainsFunc(b.System.Ops, func(op record.Op) bool { return op != record.Insert }) {
				to = store
			}
			_, err := to.Write(ctx, sourcetest.ItemPuts(name, b))
			return nil, err
		},
		Close: func() error { return errors.Join(store.Close(), inserts.Close()) },
	}, nil
}

func TestConformance(t *testing.T) {
	t.Parallel()
	schema, err := sourcetest.ItemSchema()
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: dynamodbstreams.Plugin(), Schema: schema, Replayable: true, Network: true, MaxText: 100 << 10,
		Unordered: true, // items are written side by side; for one key see TestItemChanges
		Good: func(b *record.Builder, column, _ int) bool {
			if schema.Fields[column].Kind != record.Float64 {
				return false
			}
			b.Float(column, 0.25) // DynamoDB has no infinities, and its numbers end at 1e126
			return true
		},
		New: func(ctx context.Context) (*sourcetest.Place, error) { return newPlace(ctx, schema) },
	})
}

func TestItemChanges(t *testing.T) {
	t.Parallel()
	sourcetest.RunItemChanges(t, func(t *testing.T) sourcetest.ItemPlace {
		t.Helper()
		schema, err := sourcetest.ItemSchema()
		if err != nil {
			t.Fatal(err)
		}
		store, name, err := newTable(t.Context(), schema, false)
		if err != nil {
			t.Fatal(err)
		}
		source, err := dynamodbstreams.New(t.Context(), settings(name, schema), sources.Host{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = store.Close(), source.Close() })
		return sourcetest.ItemPlace{Items: store, Table: name, Source: source}
	})
}
