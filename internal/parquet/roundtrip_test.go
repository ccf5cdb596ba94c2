package parquet_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"

	pq "github.com/parquet-go/parquet-go"
)

// batch is columns and the number of their rows.
type batch struct {
	columns []record.Column
	rows    int
}

// randomOptions cuts pages, dictionaries and row groups at random.
func randomOptions(r *rand.Rand) parquet.Options {
	return parquet.Options{
		PageRows: 1 + r.IntN(500), PageBytes: 1 + r.IntN(20_000), DictBytes: 1 + r.IntN(4000),
		RowGroupRows: 100 + r.IntN(2000), RowGroupBytes: 5000 + r.IntN(100_000), Workers: 1 + r.IntN(2), Plain: r.IntN(8) == 0,
	}
}

// seeds is how many random files a test has: a third of all in CI, where making them under the race detector takes a minute, all in
// make torture.
func seeds(all uint64) uint64 {
	if os.Getenv("ACEQUIA_TORTURE") != "" {
		return all
	}
	return all / 3
}

// randomFile writes batches of random columns, and gives the file of the second time that the writer was used.
func randomFile(t *testing.T, seed uint64) ([]byte, []record.Field, []batch) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	fields := parquettest.Fields(r)
	var batches []batch
	for range 1 + r.IntN(6) {
		n := 1 + r.IntN(250)
		batches = append(batches, batch{parquettest.Columns(r, fields, n), n})
	}
	plan := parquet.Sample(fields, batches[0].columns, min(300, batches[0].rows))
	if r.IntN(5) == 0 {
		plan = nil
	}
	var out, first bytes.Buffer
	w := parquet.NewWriter(&first, fields, plan, randomOptions(r))
	for i := range 2 {
		if i == 1 {
			w.Reset(&out)
		}
		rows := 0
		for _, b := range batches {
			cut := r.IntN(b.rows + 1)
			if err := errors.Join(w.Write(b.columns, 0, cut), w.Write(b.columns, cut, b.rows)); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			rows += b.rows
		}
		if w.Rows() != int64(rows) {
			t.Fatalf("seed %d: the writer counts %d rows, want %d", seed, w.Rows(), rows)
		}
		if err := w.Close(parquet.KeyValue{Key: "seed", Value: fmt.Sprint(seed)}); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
	return out.Bytes(), fields, batches
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for seed := range seeds(300) {
		data, fields, batches := randomFile(t, seed)
		f, err := pq.OpenFile(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if v, _ := f.Lookup("seed"); v != fmt.Sprint(seed) {
			t.Fatalf("seed %d: metadata says %q", seed, v)
		}
		want := rendered(fields, batches)
		if f.NumRows() != int64(len(want)) {
			t.Fatalf("seed %d: %d rows, want %d", seed, f.NumRows(), len(want))
		}
		at := 0
		readRows(t, seed, f, func(row pq.Row) {
			a := newAssembly(row)
			for i, field := range fields {
				if got := a.value(field, 0, 0); got != want[at][i] {
					t.Fatalf("seed %d: row %d, column %s (%v): got %s, want %s", seed, at, field.Name, field.Kind, got, want[at][i])
				}
			}
			at++
		})
		if at != len(want) {
			t.Fatalf("seed %d: read %d rows, want %d", seed, at, len(want))
		}
	}
}

func rendered(fields []record.Field, batches []batch) [][]string {
	var out [][]string
	for _, b := range batches {
		for r := range b.rows {
			row := make([]string, len(fields))
			for i, f := range fields {
				row[i] = parquettest.Value(f, &b.columns[i], r)
			}
			out = append(out, row)
		}
	}
	return out
}

func readRows(t *testing.T, seed uint64, f *pq.File, each func(pq.Row)) {
	t.Helper()
	for _, g := range f.RowGroups() {
		rows := g.Rows()
		buf := make([]pq.Row, 64)
		for {
			n, err := rows.ReadRows(buf)
			for _, row := range buf[:n] {
				each(row)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// assembly puts a row together again from the values and levels of its leaves.
type assembly struct {
	leaves [][]pq.Value
	next   int // leaf
}

func newAssembly(row pq.Row) *assembly {
	a := &assembly{}
	row.Range(func(_ int, values []pq.Value) bool {
		a.leaves = append(a.leaves, values)
		return true
	})
	return a
}

func leavesOf(f record.Field) int {
	if len(f.Fields) == 0 {
		return 1
	}
	n := 0
	for _, m := range f.Fields {
		n += leavesOf(m)
	}
	return n
}

// value takes the next value of a field whose parent is at levels def and rep, and renders it.
func (a *assembly) value(f record.Field, def, rep int) string {
	first, n := a.next, leavesOf(f)
	if f.Nullable {
		def++
	}
	v := a.leaves[first][0]
	skip := func(text string) string {
		for i := range n {
			a.leaves[first+i] = a.leaves[first+i][1:]
		}
		a.next = first + n
		return text
	}
	if v.DefinitionLevel() < def {
		return skip("null")
	}
	var parts []string
	switch f.Kind {
	case record.Struct:
		for _, m := range f.Fields {
			parts = append(parts, a.value(m, def, rep))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case record.List:
		if v.DefinitionLevel() == def {
			return skip("[]")
		}
		for {
			a.next = first
			parts = append(parts, a.value(f.Fields[0], def+1, rep+1))
			if rest := a.leaves[first]; len(rest) == 0 || rest[0].RepetitionLevel() <= rep {
				break
			}
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return skip(flat(f, v))
}

func flat(f record.Field, v pq.Value) string {
	switch f.Kind {
	case record.Bool:
		if v.Boolean() {
			return "1"
		}
		return "0"
	case record.Int32, record.Date:
		return fmt.Sprint(v.Int32())
	case record.Float32:
		return fmt.Sprintf("%v", float64(v.Float()))
	case record.Float64:
		return fmt.Sprintf("%v", v.Double())
	case record.String, record.Bytes, record.VersionText:
		return fmt.Sprintf("%q", v.ByteArray())
	}
	if f.Wide() {
		return fmt.Sprintf("%x", v.ByteArray())
	}
	return fmt.Sprint(v.Int64())
}
