//go:build cgo

package lake_test

import (
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

func nestedSchema(t *testing.T) *record.Schema {
	t.Helper()
	text := record.Field{Name: "element", Kind: record.String, Nullable: true}
	s, err := record.NewSchema("nested", []string{"id"},
		record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "amount", Kind: record.Decimal, Precision: 38, Scale: 4, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 18, Scale: 9},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{text}},
		record.Field{Name: "point", Kind: record.Struct, Nullable: true, Fields: []record.Field{
			{Name: "x", Kind: record.Float64},
			{Name: "total", Kind: record.Decimal, Precision: 38, Nullable: true},
			{Name: "sizes", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.Int32}}},
		}},
		record.Field{Name: "lines", Kind: record.List, Fields: []record.Field{{Name: "element", Kind: record.Struct, Fields: []record.Field{
			{Name: "name", Kind: record.String, Nullable: true}, {Name: "n", Kind: record.Int64},
		}}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nestedRow is row i: amount and price as text, the rest as JSON.
type nestedRow struct{ amount, price, tags, point, lines string }

// nested gives row i. Its amounts have up to 38 digits, of both signs.
func nested(i int) nestedRow {
	r := nestedRow{
		amount: fmt.Sprintf("%d1234567890123456789012345678%02d.%04d", 1+i%9, i%100, i),
		price:  fmt.Sprintf("%d.%09d", i, i),
		tags:   "[]", point: "null", lines: "[]",
	}
	if i%2 == 1 {
		r.amount, r.price = "-"+r.amount, "-"+r.price
	}
	total := strings.Repeat("9", 38)
	switch i % 5 {
	case 0:
		r.amount, r.tags = "null", "null"
	case 1:
		r.tags, r.lines = `["a"]`, `[{"name":"ñ","n":1},{"name":null,"n":-2}]`
	case 2:
		r.tags, r.point = fmt.Sprintf(`["%d",null,""]`, i), fmt.Sprintf(`{"x":0.5,"total":null,"sizes":[%d,-1]}`, i)
	case 3:
		r.tags, r.point = `[null]`, fmt.Sprintf(`{"x":-%d.25,"total":"-%s","sizes":[]}`, i, total)
	case 4:
		r.point, r.lines = fmt.Sprintf(`{"x":1.5,"total":"%s","sizes":null}`, total), fmt.Sprintf(`[{"name":"","n":%d}]`, i)
	}
	return r
}

func nestedBatch(t *testing.T, lo, hi, days int) *record.Batch {
	t.Helper()
	b := record.NewBuilder(nestedSchema(t), hi-lo)
	for i := lo; i < hi; i++ {
		r := nested(i)
		amount := `"` + r.amount + `"`
		if r.amount == "null" {
			amount = r.amount
		}
		doc := fmt.Sprintf(`{"id":%d,"amount":%s,"price":"%s","tags":%s,"point":%s,"lines":%s}`, i, amount, r.price, r.tags, r.point, r.lines)
		if err := b.AppendJSON([]byte(doc)); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		b.System().EventTimes = append(b.System().EventTimes, 20_000*day+int64(i%days)*day)
	}
	return b.Batch(nil)
}

// Nested values and decimals of 128 bits come out as they went in, on every way that a row can take to its file.
func TestNestedValuesReachTheirFiles(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name   string
		days   int
		memory int64
	}{{"one file", 1, 0}, {"side by side", 3, 0}, {"sorted", 100, 0}, {"sorted on disk", 100, 128 << 10}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			l, err := lake.New(t.Context(), lake.Config{URL: root}, way.memory, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			const rows, each = 800, 200
			var batches []*record.Batch
			for lo := 0; lo < rows; lo += each {
				batches = append(batches, nestedBatch(t, lo, lo+each, way.days))
			}
			if m := commit(t, l, sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}, 1, batches...); len(m.Files) != way.days {
				t.Errorf("%d files, want %d", len(m.Files), way.days)
			}
			duckDBReads(t, root, rows)
			parquetGoReads(t, root, rows)
		})
	}
}

func duckDBReads(t *testing.T, root string, want int) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), `SELECT id, coalesce(amount::VARCHAR, 'null'), price::VARCHAR, coalesce(to_json(tags)::VARCHAR, 'null'), typeof(amount),
		CASE WHEN point IS NULL THEN 'null' ELSE to_json({x: point.x, total: point.total::VARCHAR, sizes: point.sizes})::VARCHAR END,
		to_json(lines)::VARCHAR FROM read_parquet(?) ORDER BY id`, filepath.Join(root, "nested", "*", "*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	n := 0
	for ; rows.Next(); n++ {
		var id int
		var got nestedRow
		var kind string
		if err := rows.Scan(&id, &got.amount, &got.price, &got.tags, &kind, &got.point, &got.lines); err != nil {
			t.Fatal(err)
		}
		if want := nested(n); id != n || got != want || kind != "DECIMAL(38,4)" {
			t.Fatalf("row %d:\n got %d %+v %s\nwant %+v", n, id, got, kind, want)
		}
	}
	if err := rows.Err(); err != nil || n != want {
		t.Errorf("%d rows, want %d: %v", n, want, err)
	}
}

// parquetGoReads looks at the amounts, which are 16 bytes, and at the elements of the lists.
func parquetGoReads(t *testing.T, root string, want int) {
	t.Helper()
	total := 0
	err := filepath.WalkDir(filepath.Join(root, "nested"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		r := parquet.NewReader(f)
		leaves := r.Schema().Columns()
		buffer := make([]parquet.Row, 64)
		for {
			n, err := r.ReadRows(buffer)
			for _, row := range buffer[:n] {
				total++
				if err := checkNested(leaves, row); err != nil {
					return fmt.Errorf("%s: %w", filepath.Base(path), err)
				}
			}
			if errors.Is(err, io.EOF) {
				return r.Close()
			}
			if err != nil {
				return err
			}
		}
	})
	if err != nil || total != want {
		t.Errorf("%d rows, want %d: %v", total, want, err)
	}
}

func checkNested(leaves [][]string, row parquet.Row) error {
	id, amount := 0, "null"
	var tags, names []string
	text := func(v parquet.Value) string {
		if v.IsNull() {
			return "null"
		}
		return `"` + v.String() + `"`
	}
	for _, v := range row {
		switch path := strings.Join(leaves[v.Column()], "."); {
		case path == "id":
			id = int(v.Int64())
		case path == "amount" && !v.IsNull():
			amount = decimalText(v.ByteArray())
		case strings.HasPrefix(path, "tags.") && v.DefinitionLevel() >= 2: // an element, null or not
			tags = append(tags, text(v))
		case strings.HasPrefix(path, "lines.") && strings.HasSuffix(path, ".name") && v.DefinitionLevel() >= 1:
			names = append(names, text(v))
		}
	}
	want := nested(id)
	if amount != want.amount || want.tags != "null" && "["+strings.Join(tags, ",")+"]" != want.tags {
		return fmt.Errorf("row %d: amount %s, tags %v, want %s, %s", id, amount, tags, want.amount, want.tags)
	}
	if n := strings.Count(want.lines, `"name"`); len(names) != n || n > 0 && !strings.Contains(want.lines, `"name":`+names[n-1]) {
		return fmt.Errorf("row %d: names %v, want those of %s", id, names, want.lines)
	}
	return nil
}

// decimalText is an unscaled two's complement number with four digits after the point.
func decimalText(b []byte) string {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	digits := n.String()
	return digits[:len(digits)-4] + "." + digits[len(digits)-4:]
}
