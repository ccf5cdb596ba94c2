package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/file"
)

// gameTypes are 12 columns as most files have them.
func gameTypes() config.Ordered[string] {
	return config.Ordered[string]{
		{Name: "rank", Value: "int64"},
		{Name: "name", Value: "string"},
		{Name: "platform", Value: "string"},
		{Name: "year", Value: "int32"},
		{Name: "genre", Value: "string"},
		{Name: "publisher", Value: "string"},
		{Name: "na_sales", Value: "decimal(8,2)"},
		{Name: "eu_sales", Value: "decimal(8,2)"},
		{Name: "score", Value: "float64"},
		{Name: "released", Value: "date"},
		{Name: "seen", Value: "timestamp"},
		{Name: "stock", Value: "int64"},
	}
}

const benchRows = 200_000

func gamesCSV(rows int) []byte {
	var out bytes.Buffer
	out.WriteString("Rank,Name,Platform,Year,Genre,Publisher,NA_Sales,EU_Sales,Score,Released,Seen,Stock\n")
	for i := range rows {
		fmt.Fprintf(&out,
			"%d,The Legend of Game %d,PS%d,%d,Role-Playing,Publisher No. %d,%d.%02d,%d.%02d,%d.%d,20%02d-0%d-1%d,2026-11-2%dT10:%02d:0%dZ,%d\n",
			i, i%5000, i%5, 1980+i%40, i%300, i%90, i%100, i%30, i%100, i%10, i%10, i%30, 1+i%9, i%10, i%9, i%60, i%10, i*7)
	}
	return out.Bytes()
}

// read reads a whole source and counts its rows and what it refused.
func read(tb testing.TB, s *file.Source) (rows, refused int) {
	tb.Helper()
	lanes, err := s.Lanes(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	for _, lane := range lanes {
		r, err := s.Open(tb.Context(), lane, "")
		if err != nil {
			tb.Fatal(err)
		}
		for {
			c, err := r.Read(tb.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				tb.Fatal(err)
			}
			for _, b := range c.Batches {
				rows += b.Rows
			}
			refused += len(c.Refused)
			c.Release()
		}
		if err := r.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	return rows, refused
}

func bench(b *testing.B, name string, text []byte, schema config.Ordered[string]) {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	s, err := file.New(file.Config{Path: path, Schema: schema, Key: []string{"rank"}})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if rows, refused := read(b, s); rows != benchRows || refused > 0 {
			b.Fatal(rows, refused)
		}
	}
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkCSV(b *testing.B) {
	text := gamesCSV(benchRows)
	b.Run("plain", func(b *testing.B) { bench(b, "a.csv", text, gameTypes()) })
	b.Run("quoted", func(b *testing.B) {
		quoted := bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(","), []byte(`","`)), []byte("\n"), []byte("\"\n\""))
		bench(b, "a.csv", append([]byte{'"'}, quoted[:len(quoted)-1]...), gameTypes())
	})
	b.Run("gzip", func(b *testing.B) { bench(b, "a.csv.gz", pack(text), gameTypes()) })
	b.Run("zstd", func(b *testing.B) { bench(b, "a.csv.zst", zstandard(text), gameTypes()) })
}

// batches gives the rows of the games as batches.
func batches(tb testing.TB) []*record.Batch {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "a.csv")
	if err := os.WriteFile(path, gamesCSV(benchRows), 0o600); err != nil {
		tb.Fatal(err)
	}
	s, err := file.New(file.Config{Path: path, Schema: gameTypes(), Key: []string{"rank"}})
	if err != nil {
		tb.Fatal(err)
	}
	var out []*record.Batch
	lanes, err := s.Lanes(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	r, err := s.Open(tb.Context(), lanes[0], "")
	for err == nil {
		var c record.Chunk
		if c, err = r.Read(tb.Context()); err == nil {
			out = append(out, c.Batches...)
		}
	}
	if !errors.Is(err, io.EOF) || r.Close() != nil {
		tb.Fatal(err)
	}
	return out
}

func BenchmarkNDJSON(b *testing.B) {
	var text []byte
	for _, batch := range batches(b) {
		for row := range batch.Rows {
			text = append(batch.AppendJSON(text, row), '\n')
		}
	}
	bench(b, "a.ndjson", text, gameTypes())
}

func BenchmarkParquet(b *testing.B) {
	var out bytes.Buffer
	var w *parquet.Writer
	for _, batch := range batches(b) {
		if w == nil {
			w = parquet.NewWriter(&out, batch.Schema.Fields, parquet.Sample(batch.Schema.Fields, batch.Columns, batch.Rows), parquet.Options{})
		}
		if err := w.Write(batch.Columns, 0, batch.Rows); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	bench(b, "a.parquet", out.Bytes(), gameTypes())
}
