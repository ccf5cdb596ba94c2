package mongodb_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mongodb"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

func suiteSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("suite", []string{"_id"},
		record.Field{Name: "_id", Kind: record.String},
		record.Field{Name: "n", Kind: record.Int64, Nullable: true},
		record.Field{Name: "small", Kind: record.Int32, Nullable: true},
		record.Field{Name: "score", Kind: record.Float64, Nullable: true},
		record.Field{Name: "ok", Kind: record.Bool, Nullable: true},
		record.Field{Name: "at", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "note", Kind: record.String, Nullable: true},
		record.Field{Name: "raw", Kind: record.Bytes, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String, Nullable: true}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func suiteConfig(name string) mongodb.Config {
	types := config.Ordered[string]{
		{Name: "_id", Value: "string"},
		{Name: "n", Value: "int64"},
		{Name: "small", Value: "int32"},
		{Name: "score", Value: "float64"},
		{Name: "ok", Value: "bool"},
		{Name: "at", Value: "timestamp"},
		{Name: "note", Value: "string"},
		{Name: "raw", Value: "bytes"},
		{Name: "tags", Value: "list(string)"},
	}
	return mongodb.Config{
		URI: config.Secret(server.URI), Database: name,
		Schemas: config.Ordered[config.Ordered[string]]{{Name: "suite", Value: types}},
	}
}

// suitePlace is a database of its own, with one collection.
type suitePlace struct {
	db    *mongo.Database
	notes *notes

	mu      sync.Mutex
	sources []*mongodb.Source
}

// source reads the collection as it stands, as acequia backfill does.
func (p *suitePlace) source(context.Context) (sources.Source, error) {
	s, err := mongodb.New(suiteConfig(p.db.Name()), sources.Host{Pipeline: "suite", State: p.notes})
	if err != nil {
		return nil, err
	}
	s.Backfill(nil, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sources = append(p.sources, s)
	return s, nil
}

func (p *suitePlace) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.sources {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

func (p *suitePlace) put(ctx context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
	var docs []any
	for row := range b.Rows {
		doc := bson.D{}
		for i := range b.Columns {
			if b.Columns[i].IsValid(row) {
				doc = append(doc, bson.E{Key: b.Schema.Fields[i].Name, Value: valueOf(&b.Schema.Fields[i], &b.Columns[i], row)})
			}
		}
		docs = append(docs, doc)
	}
	_, err := p.db.Collection("suite").InsertMany(ctx, docs)
	return nil, err
}

func valueOf(f *record.Field, c *record.Column, row int) any {
	switch f.Kind {
	case record.Int64:
		return c.Int(row)
	case record.Int32:
		return int32(c.Int(row))
	case record.Float64:
		return c.Float(row)
	case record.Bool:
		return c.Int(row) != 0
	case record.Timestamp:
		return bson.DateTime(c.Int(row) / 1000)
	case record.Bytes:
		return bson.Binary{Data: slices.Clone(c.Text(row))}
	case record.List:
		list := bson.A{}
		for e := c.Offsets[row]; e < c.Offsets[row+1]; e++ {
			if c.Children[0].IsValid(int(e)) {
				list = append(list, string(c.Children[0].Text(int(e))))
				continue
			}
			list = append(list, nil)
		}
		return list
	default:
		return string(c.Text(row))
	}
}

// fits gives what the server of the tests takes: dates in milliseconds, and numbers that are finite.
func fits(b *record.Builder, column, row int) bool {
	switch b.Schema().Fields[column].Kind {
	case record.Timestamp:
		b.Int(column, int64(row)*1_234_567_000-62_000_000_000_000_000)
	case record.Float64:
		b.Float(column, float64(row)*1.1-5)
	default:
		return false
	}
	return true
}

// The suite reads collections as they stand; what follows them has tests of its own.
func TestConformance(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, sourcetest.Harness{
		Plugin: mongodb.Plugin(), Schema: suiteSchema(t), Network: true, Replayable: true, Bounded: true, InsertOnly: true, Standing: true, Good: fits,
		New: func(ctx context.Context) (*sourcetest.Place, error) {
			p := &suitePlace{db: server.Database(t), notes: newNotes()}
			if err := p.db.CreateCollection(ctx, "suite"); err != nil {
				return nil, err
			}
			return &sourcetest.Place{Source: p.source, Put: p.put, Close: p.close}, nil
		},
		Secret: "tell-nobody",
		Unreachable: func(context.Context) (sources.Source, error) {
			c := suiteConfig("shop")
			c.URI = "mongodb://root:tell-nobody@127.0.0.1:1/"
			s, err := mongodb.New(c, sources.Host{Pipeline: "suite", State: newNotes()})
			if err == nil {
				t.Cleanup(func() { _ = s.Close() }) // nothing was connected to
			}
			return s, err
		},
	})
}
