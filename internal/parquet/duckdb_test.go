//go:build cgo

package parquet_test

import (
	"database/sql"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"

	"github.com/duckdb/duckdb-go/v2"
)

func openDuckDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "SET threads = 1; SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	return db
}

// fromDuckDB renders a value that DuckDB gave as parquettest.Value does.
func fromDuckDB(f record.Field, v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		if v {
			return "1"
		}
		return "0"
	case float32:
		return fmt.Sprintf("%v", float64(v))
	case string, []byte:
		return fmt.Sprintf("%q", v)
	case duckdb.Decimal:
		if !f.Wide() {
			return v.Value.String()
		}
		n := new(big.Int).Set(v.Value)
		if n.Sign() < 0 {
			n.Add(n, new(big.Int).Lsh(big.NewInt(1), 128))
		}
		return fmt.Sprintf("%032x", n)
	case time.Time:
		if f.Kind == record.Date {
			return fmt.Sprint(v.Unix() / 86400)
		}
		return fmt.Sprint(v.UnixMicro())
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = fromDuckDB(f.Fields[0], v[i])
		}
		return "[" + strings.Join(parts, " ") + "]"
	case map[string]any:
		parts := make([]string, len(f.Fields))
		for i, m := range f.Fields {
			parts[i] = fromDuckDB(m, v[m.Name])
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(v)
}

// TestDuckDB reads random files of all kinds with DuckDB: every value, and what it makes of the statistics.
func TestDuckDB(t *testing.T) {
	t.Parallel()
	db := openDuckDB(t)
	for seed := range uint64(80) {
		data, fields, batches := randomFile(t, seed)
		name := filepath.Join(t.TempDir(), "f.parquet")
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		readAll(t, db, seed, name, fields, rendered(fields, batches))
		filters(t, db, seed, name, fields, batches)
	}
}

// readAll compares every value.
func readAll(t *testing.T, db *sql.DB, seed uint64, name string, fields []record.Field, want [][]string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT * FROM read_parquet(?)", name)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	got := make([]any, len(fields))
	to := make([]any, len(fields))
	for i := range got {
		to[i] = &got[i]
	}
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(to...); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i, f := range fields {
			if g := fromDuckDB(f, got[i]); g != want[n][i] {
				t.Fatalf("seed %d: row %d, column %s (%v): got %s, want %s", seed, n, f.Name, f.Kind, g, want[n][i])
			}
		}
	}
	if err := rows.Err(); err != nil || n != len(want) {
		t.Fatalf("seed %d: %d rows, want %d: %v", seed, n, len(want), err)
	}
}

// filters asks for single values, which DuckDB looks up by the statistics of chunks, and for the sum and the bounds.
func filters(t *testing.T, db *sql.DB, seed uint64, name string, fields []record.Field, batches []batch) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	for i, f := range fields {
		counts := map[string]int{}
		sum, lo, hi, found := new(big.Int), int64(0), int64(0), false
		var wanted lookup
		for _, b := range batches {
			c := &b.columns[i]
			for row := range b.rows {
				if !c.IsValid(row) {
					continue
				}
				v := parquettest.Value(f, c, row)
				counts[v]++
				if f.Kind == record.Int32 || f.Kind == record.Int64 {
					x := c.Int(row)
					sum.Add(sum, big.NewInt(x))
					if !found || x < lo {
						lo = x
					}
					if !found || x > hi {
						hi = x
					}
					found = true
				}
				if wanted.text == "" || r.IntN(100) == 0 {
					wanted = lookup{text: v, value: argument(f, c, row)}
				}
			}
		}
		if wanted.value == nil {
			continue
		}
		var n int
		query := fmt.Sprintf("SELECT count(*) FROM read_parquet(?) WHERE %s = ?", f.Name)
		if err := db.QueryRowContext(t.Context(), query, name, wanted.value).Scan(&n); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if n != counts[wanted.text] {
			t.Fatalf("seed %d: column %s = %v: %d rows, want %d", seed, f.Name, wanted.text, n, counts[wanted.text])
		}
		if !found {
			continue
		}
		var s string
		var l, h int64
		query = fmt.Sprintf("SELECT sum(%[1]s)::VARCHAR, min(%[1]s), max(%[1]s) FROM read_parquet(?)", f.Name)
		if err := db.QueryRowContext(t.Context(), query, name).Scan(&s, &l, &h); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if s != sum.String() || l != lo || h != hi {
			t.Fatalf("seed %d: column %s: sum %s of %v, bounds %d %d of %d %d", seed, f.Name, s, sum, l, h, lo, hi)
		}
	}
}

// lookup is a value as it is rendered and as a query takes it.
type lookup struct {
	text  string
	value any
}

// argument gives a value as a query takes it, or nil.
func argument(f record.Field, c *record.Column, row int) any {
	switch f.Kind {
	case record.Int32, record.Int64:
		return c.Int(row)
	case record.Bool:
		return c.Int(row) == 1
	case record.String:
		return string(c.Text(row))
	case record.VersionText:
		return c.Versions.At(row).String()
	}
	return nil
}

// TestDuckDBPages has many pages and row groups; rows are looked up in them, and the tables are compared as a whole.
func TestDuckDBPages(t *testing.T) {
	t.Parallel()
	db := openDuckDB(t)
	const batches, rows = 30, 5000
	for _, plain := range []bool{false, true} {
		table := parquettest.NewOrders(parquettest.Log)
		name := filepath.Join(t.TempDir(), "orders.parquet")
		out, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		var w *parquet.Writer
		amounts, notes := int64(0), 0
		for range batches {
			c := table.Next(rows)
			if w == nil {
				w = parquet.NewWriter(out, table.Fields, parquet.Sample(table.Fields, c, rows),
					parquet.Options{RowGroupRows: 40_000, PageRows: 3000, Workers: 2, Plain: plain})
			}
			if err := w.Write(c, 0, rows); err != nil {
				t.Fatal(err)
			}
			for _, v := range c[6].Ints {
				amounts += v
			}
			notes += rows - c[10].Nulls(0, rows)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		var n, ids, noted int
		var amount int64
		query := "SELECT count(*), count(DISTINCT id), count(note), sum(amount * 100)::BIGINT FROM read_parquet(?)"
		if err := db.QueryRowContext(t.Context(), query, name).Scan(&n, &ids, &noted, &amount); err != nil {
			t.Fatal(err)
		}
		if n != batches*rows || ids != n || noted != notes || amount != amounts {
			t.Errorf("%d rows, %d ids, %d notes of %d, %d of %d", n, ids, noted, notes, amount, amounts)
		}
		for id := 1; id <= n; id += 1237 {
			var at time.Time
			if err := db.QueryRowContext(t.Context(), "SELECT created_at FROM read_parquet(?) WHERE id = ?", name, id).Scan(&at); err != nil {
				t.Fatalf("id %d: %v", id, err)
			}
			if want := 1_704_067_200_000_000 + int64(id-1)*7_000_000; at.UnixMicro() != want {
				t.Errorf("id %d: %d, want %d", id, at.UnixMicro(), want)
			}
		}
	}
}
