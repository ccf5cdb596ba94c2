package itemchanges_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/itemchanges"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

func harness(tb testing.TB) sourcetest.Harness {
	tb.Helper()
	schema, err := record.NewSchema("games", []string{"id"},
		record.Field{Name: "id", Kind: record.String}, record.Field{Name: "stock", Kind: record.Int64, Nullable: true},
		record.Field{Name: "rating", Kind: record.Float64, Nullable: true}, record.Field{Name: "price", Kind: record.Decimal, Precision: 25, Scale: 2, Nullable: true},
		record.Field{Name: "released", Kind: record.Date, Nullable: true}, record.Field{Name: "seen", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "box", Kind: record.Bool, Nullable: true}, record.Field{Name: "scan", Kind: record.Bytes, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String, Nullable: true}}})
	if err != nil {
		tb.Fatal(err)
	}
	return sourcetest.Harness{
		Plugin: itemchanges.Plugin(), Schema: schema, Replayable: true, KeepsVersions: true,
		New: func(ctx context.Context) (*sourcetest.Place, error) { return newPlace(ctx, schema) },
	}
}

func newPlace(ctx context.Context, schema *record.Schema) (*sourcetest.Place, error) {
	dir, err := os.MkdirTemp("", "itemchanges")
	if err != nil {
		return nil, err
	}
	store, err := itemstore.Open(ctx, filepath.Join(dir, "items.db"), itemstore.Options{})
	if err != nil {
		return nil, err
	}
	if err := store.Define(ctx, itemstore.Table{Name: "games"}); err != nil {
		return nil, err
	}
	return &sourcetest.Place{
		Source: func(context.Context) (sources.Source, error) {
			return itemchanges.New(itemchanges.Config{Table: "games", Schema: schema, Reader: "suite"}, store), nil
		},
		Put: func(ctx context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
			puts := make([]itemstore.Put, b.Rows)
			for row := range puts {
				puts[row] = itemstore.Put{
					Table: "games", Key: string(b.Columns[0].Text(row)), Version: b.System.Versions.At(row), Op: b.System.Op(row), Doc: b.AppendJSON(nil, row),
				}
			}
			_, err := store.Write(ctx, puts)
			return nil, err
		},
		Close: func() error { return errors.Join(store.Close(), os.RemoveAll(dir)) },
	}, nil
}

func TestConformance(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, harness(t))
}

func BenchmarkRead(b *testing.B) { sourcetest.Benchmark(b, harness(b), 100_000) }
