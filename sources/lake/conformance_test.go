package lake_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/lake"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func suiteSchema(tb testing.TB) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite", []string{"id"},
		record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "box", Kind: record.Bool, Nullable: true},
		record.Field{Name: "year", Kind: record.Int32, Nullable: true},
		record.Field{Name: "stock", Kind: record.Int64},
		record.Field{Name: "share", Kind: record.Float32, Nullable: true},
		record.Field{Name: "rating", Kind: record.Float64, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 8, Scale: 2, Nullable: true},
		record.Field{Name: "mass", Kind: record.Decimal, Precision: 38, Scale: 10, Nullable: true},
		record.Field{Name: "released", Kind: record.Date, Nullable: true},
		record.Field{Name: "seen", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "made", Kind: record.LocalTimestamp, Nullable: true},
		record.Field{Name: "title", Kind: record.String, Nullable: true},
		record.Field{Name: "scan", Kind: record.Bytes, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String, Nullable: true}}},
		record.Field{Name: "who", Kind: record.Struct, Nullable: true, Fields: []record.Field{
			{Name: "name", Kind: record.String, Nullable: true}, {Name: "age", Kind: record.Int32},
		}},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// described puts the description of a table into a lake.
func described(root string, t *schemas.LakeTable) error {
	text, err := t.Encode()
	if err != nil {
		return err
	}
	folder := filepath.Join(root, "_tables")
	return errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, t.Name+".json"), text, 0o600))
}

// put writes a batch as a file of a lake, with small pages and row groups.
func put(root, name string, b *record.Batch) error {
	fields := append(append([]record.Field{}, b.Schema.Fields...), schemas.SystemFields()...)
	s := &b.System
	ops, ids, times := record.Column{Offsets: []uint32{0}}, s.EventIDs, record.Column{}
	for row := range b.Rows {
		ops.AppendText([]byte(s.Op(row).String()))
		times.Ints = append(times.Ints, s.EventTime(row))
	}
	if len(ids.Offsets) == 0 {
		ids = record.Column{Offsets: []uint32{0}}
		for row := range b.Rows {
			ids.AppendText(fmt.Appendf(nil, "%s:%d", name, row))
		}
	}
	columns := append(append([]record.Column{}, b.Columns...), ops, record.Column{Versions: s.Versions}, ids,
		record.Constant(s.Source), times, record.Column{Ints: []int64{s.IngestTime}, Const: true})
	return writeFile(root, name, fields, columns, b.Rows)
}

// writeFile writes columns as a file of a lake.
func writeFile(root, name string, fields []record.Field, columns []record.Column, rows int) error {
	path := filepath.Join(root, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	f, createErr := os.Create(path)
	if err = errors.Join(err, createErr); err != nil {
		return err
	}
	w := parquet.NewWriter(f, fields, nil, parquet.Options{RowGroupRows: 70, PageRows: 30})
	return errors.Join(w.Write(columns, 0, rows), w.Close(), f.Close())
}

// TestConformance runs the suite with a lane a file, and with lanes of a few row groups.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]int64{"files": 1 << 30, "pieces": 3000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Run(t, harness(t, piece))
		})
	}
}

func harness(tb testing.TB, piece int64) sourcetest.Harness {
	tb.Helper()
	schema := suiteSchema(tb)
	return sourcetest.Harness{
		Plugin: lake.Plugin(), Schema: schema, Replayable: true, Bounded: true, KeepsVersions: true,
		New: func(context.Context) (*sourcetest.Place, error) { return place(schema, piece) },
	}
}

// place is a lake with one table.
func place(schema *record.Schema, piece int64) (*sourcetest.Place, error) {
	dir, err := os.MkdirTemp("", "lake")
	if err != nil {
		return nil, err
	}
	table, err := schemas.NewLakeTable("suite", schema, nil)
	if err != nil {
		return nil, err
	}
	puts := 0
	file := func(b *record.Batch) error {
		puts++
		return put(dir, fmt.Sprintf("suite/dt=2026-11-24/p-%03d.parquet", puts), b)
	}
	if err := errors.Join(described(dir, table), file(record.NewBuilder(schema, 0).Batch(nil))); err != nil {
		return nil, err
	}
	return &sourcetest.Place{
		Source: func(context.Context) (sources.Source, error) {
			s, err := lake.New(lake.Config{URL: dir})
			if err == nil {
				s.Cut(piece, 45)
			}
			return s, err
		},
		Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
			return nil, file(b)
		},
		Close: func() error { return os.RemoveAll(dir) },
	}, nil
}
