package items_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
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
		Refused:    strings.Repeat("x", itemstore.MaxItem),
		New: func(t *testing.T) sinktest.Place {
			t.Helper()
			store := openStore(t)
			return sinktest.Place{
				Sink: func() (sinks.Sink, error) {
					return items.New(items.Config{}, store, slog.New(slog.DiscardHandler)), nil
				},
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
	live := int64(0)
	err = store.Changes(ctx, "suite", 0, 1<<30, func(c *itemstore.Change) error {
		row := sinktest.Row{Op: c.Op, Version: c.Version.String(), Null: true}
		if c.Op == record.Delete {
			live--
			rows = append(rows, row)
			return json.Unmarshal([]byte(strings.Trim(c.Key, "[]")), &rows[len(rows)-1].ID)
		}
		if c.Op == record.Insert {
			live++
		}
		b := record.NewBuilder(schema, 1)
		if err := b.AppendJSON(c.New); err != nil {
			return err
		}
		columns := b.Batch(nil).Columns
		row.ID = columns[0].Int(0)
		if row.Null = !columns[1].IsValid(0); !row.Null {
			row.Text = string(columns[1].Text(0))
		}
		rows = append(rows, row)
		return nil
	})
	n, countErr := store.Count(ctx, "suite")
	if n != live {
		countErr = errors.Join(countErr, fmt.Errorf("%d items and %d by their changes", n, live))
	}
	return rows, errors.Join(err, countErr)
}
