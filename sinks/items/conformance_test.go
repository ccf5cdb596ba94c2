package items_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/items"
	"github.com/acequia-io/acequia/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Harness{
		StageShows: true, // idempotent by version
		Refused:    strings.Repeat("x", items.MaxItem),
		New: func(t *testing.T) sinktest.Place {
			t.Helper()
			store := openStore(t)
			return sinktest.Place{
				Sink: func() (sinks.Sink, error) { return items.New(items.Config{}, store), nil },
				Rows: func() ([]sinktest.Row, error) { return visible(t.Context(), store) },
			}
		},
	})
}

func openStore(t *testing.T) *itemstore.Store {
	t.Helper()
	s, err := itemstore.Open(t.Context(), filepath.Join(t.TempDir(), "items.db"), itemstore.Options{})
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

// visible reads the change log: it has one entry for each write that took effect.
func visible(ctx context.Context, store *itemstore.Store) ([]sinktest.Row, error) {
	schema, err := sinktest.Schema()
	if err != nil {
		return nil, err
	}
	var rows []sinktest.Row
	b := record.NewBuilder(schema, 0)
	err = store.Changes(ctx, "suite", 0, 1<<30, func(c *itemstore.Change) error {
		rows = append(rows, sinktest.Row{Op: c.Op, Version: c.Version.String()})
		return b.AppendJSON(c.New)
	})
	batch := b.Batch(nil)
	for i := range rows {
		rows[i].ID = batch.Columns[0].Ints[i]
		if rows[i].Null = !batch.Columns[1].IsValid(i); !rows[i].Null {
			rows[i].Text = string(batch.Columns[1].Text(i))
		}
	}
	n, countErr := store.Count(ctx, "suite")
	if n != int64(len(rows)) {
		countErr = errors.Join(countErr, errors.New("items and changes differ"))
	}
	return rows, errors.Join(err, countErr)
}
