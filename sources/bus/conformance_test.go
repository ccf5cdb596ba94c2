package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/acequia-io/acequia/internal/broker/brokertest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/bus"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

// start starts a NATS server that ends after the test and all that belong to it.
func start(t *testing.T) *brokertest.Server {
	t.Helper()
	s, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// games is a schema of all that JSON rows can hold; nested adds what they cannot.
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

// unreachable gives a source of a broker that is not there.
func unreachable(context.Context) (sources.Source, error) {
	return bus.New(bus.Config{URL: "nats://user:tell-nobody@127.0.0.1:1", Topic: "games", Group: "suite"}, nil)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	server := start(t)
	var places atomic.Int64
	encoder, err := wire.NewEncoder(4<<20, true)
	if err != nil {
		t.Fatal(err)
	}
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: bus.Plugin(), Network: true, Unordered: true, KeepsVersions: true, Unreachable: unreachable, Secret: "tell-nobody",
		Schema: games(t, record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String, Nullable: true}}},
			record.Field{Name: "at", Kind: record.Struct, Nullable: true, Fields: []record.Field{{Name: "x", Kind: record.Float64, Nullable: true}}}),
		New: func(context.Context) (*sourcetest.Place, error) {
			topic := fmt.Sprintf("games-%d", places.Add(1))
			return &sourcetest.Place{
				Source: func(context.Context) (sources.Source, error) {
					return bus.New(bus.Config{URL: server.URL, Topic: topic, Group: "suite"}, slog.New(slog.DiscardHandler))
				},
				Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
					all, err := encoder.Encode(b)
					if err != nil {
						return nil, err
					}
					for i, m := range all {
						id := fmt.Sprintf("%s-%d-%d", topic, places.Add(1), i)
						if err := server.Publish(topic, &nats.Msg{Data: m.Payload, Header: nats.Header{nats.MsgIdHdr: {id}}}); err != nil {
							return nil, err
						}
					}
					return nil, nil
				},
			}, nil
		},
	})
}

// TestConformanceOfJSON reads rows of a program that knows nothing of acequia: no ids, no versions.
func TestConformanceOfJSON(t *testing.T) {
	t.Parallel()
	server := start(t)
	var places atomic.Int64
	schema := games(t)
	var columns config.Ordered[string]
	for _, f := range schema.Fields {
		columns = append(columns, config.Entry[string]{Name: f.Name, Value: f.TypeName()})
	}
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: bus.Plugin(), Network: true, Unordered: true, InsertOnly: true, Schema: schema,
		New: func(context.Context) (*sourcetest.Place, error) {
			topic := fmt.Sprintf("json-%d", places.Add(1))
			return &sourcetest.Place{
				Source: func(context.Context) (sources.Source, error) {
					return bus.New(bus.Config{
						URL: server.URL, Topic: topic, Group: "suite", Format: "json", Stream: "games", Schema: columns, Key: []string{"id"},
					}, slog.New(slog.DiscardHandler))
				},
				Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
					var all []*nats.Msg
					var lines []byte
					for row := range b.Rows {
						lines = append(b.AppendJSON(lines, row), '\n')
						if row%3 == 0 || row == b.Rows-1 { // one, then three a message
							all, lines = append(all, &nats.Msg{Data: lines}), nil
						}
					}
					return nil, server.Publish(topic, all...)
				},
			}, nil
		},
	})
}
