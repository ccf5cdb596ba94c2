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
	schema, err := sourcetest.ItemSchema()
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
			_, err := store.Write(ctx, sourcetest.ItemPuts("games", b))
			return nil, err
		},
		Close: func() error { return errors.Join(store.Close(), os.RemoveAll(dir)) },
	}, nil
}

func TestConformance(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, harness(t))
}

func TestItemChanges(t *testing.T) {
	t.Parallel()
	sourcetest.RunItemChanges(t, func(t *testing.T) sourcetest.ItemPlace {
		t.Helper()
		b := setup(t, itemstore.Options{})
		schema, err := sourcetest.ItemSchema()
		if err != nil {
			t.Fatal(err)
		}
		return sourcetest.ItemPlace{Items: b.store, Table: "games", Source: itemchanges.New(itemchanges.Config{Table: "games", Schema: schema, Reader: "suite"}, b.store)}
	})
}

func BenchmarkRead(b *testing.B) { sourcetest.Benchmark(b, harness(b), 100_000) }
