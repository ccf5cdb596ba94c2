package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/file"
	"github.com/acequia-io/acequia/sources/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allTypes is a column of each type.
func allTypes() config.Ordered[string] {
	return config.Ordered[string]{
		{Name: "id", Value: "string"},
		{Name: "box", Value: "bool"},
		{Name: "year", Value: "int32"},
		{Name: "stock", Value: "int64"},
		{Name: "share", Value: "float32"},
		{Name: "rating", Value: "float64"},
		{Name: "price", Value: "decimal(8,2)"},
		{Name: "mass", Value: "decimal(38,10)"},
		{Name: "released", Value: "date"},
		{Name: "seen", Value: "timestamp"},
		{Name: "made", Value: "local_timestamp"},
		{Name: "title", Value: "string"},
		{Name: "scan", Value: "bytes"},
	}
}

// variant is how the files of a suite are written.
type variant struct {
	config file.Config
	name   string // of the one file; "": a new file for each put
	first  string // what it holds at first
	write  func(b *record.Batch) ([]byte, error)
	piece  int64
}

func (v variant) harness(tb testing.TB) sourcetest.Harness {
	tb.Helper()
	v.config.Schema, v.config.Key, v.config.Stream = allTypes(), []string{"id"}, "suite"
	probe := v.config
	probe.Path = "x"
	s, err := file.New(probe)
	if err != nil {
		tb.Fatal(err)
	}
	schemas, err := s.Describe(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return sourcetest.Harness{
		Plugin: file.Plugin(), Schema: schemas[0], Replayable: true, Bounded: true, InsertOnly: true,
		New: func(context.Context) (*sourcetest.Place, error) { return v.place(schemas[0]) },
	}
}

func (v variant) place(schema *record.Schema) (*sourcetest.Place, error) {
	dir, err := os.MkdirTemp("", "file")
	if err != nil {
		return nil, err
	}
	puts := 0
	put := func(b *record.Batch) error {
		text, err := v.write(b)
		if err != nil {
			return err
		}
		name := v.name
		if name == "" {
			name = fmt.Sprintf("part-%03d", puts)
			puts++
		}
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		return errors.Join(err, f.Close())
	}
	if v.name == "" {
		err = put(record.NewBuilder(schema, 0).Batch(nil))
	} else {
		err = os.WriteFile(filepath.Join(dir, v.name), []byte(v.first), 0o600)
	}
	if err != nil {
		return nil, err
	}
	return &sourcetest.Place{
		Source: func(context.Context) (sources.Source, error) {
			c := v.config
			c.Path = filepath.Join(dir, "*")
			s, err := file.New(c)
			if err == nil && v.piece > 0 {
				s.Cut(v.piece, 8<<20)
			}
			return s, err
		},
		Put: func(_ context.Context, b *record.Batch) (func(context.Context) ([]error, error), error) {
			return nil, put(b)
		},
		Close: func() error { return os.RemoveAll(dir) },
	}, nil
}

// csvText writes a batch as strictly as a file can be.
func csvText(b *record.Batch) ([]byte, error) {
	var out []byte
	for row := range b.Rows {
		for i, f := range b.Schema.Fields {
			if i > 0 {
				out = append(out, ',')
			}
			c := &b.Columns[i]
			if !c.IsValid(row) {
				continue
			}
			switch f.Kind {
			case record.String, record.Bytes:
				out = append(out, '"')
				out = append(out, strings.ReplaceAll(string(c.Text(row)), `"`, `""`)...)
				out = append(out, '"')
			case record.Float32, record.Float64:
				out = strconv.AppendFloat(out, c.Float(row), 'g', -1, 64)
			case record.Date:
				out = time.Unix(c.Int(row)*86_400, 0).UTC().AppendFormat(out, time.DateOnly)
			case record.Timestamp:
				out = time.UnixMicro(c.Int(row)).UTC().AppendFormat(out, time.RFC3339Nano)
			case record.LocalTimestamp:
				out = time.UnixMicro(c.Int(row)).UTC().AppendFormat(out, "2006-01-02 15:04:05.999999")
			default:
				out = append(out, strings.Trim(string(b.AppendValueJSON(nil, i, row)), `"`)...)
			}
		}
		out = append(out, '\r', '\n')
	}
	return out, nil
}

func jsonText(b *record.Batch) ([]byte, error) {
	var out []byte
	for row := range b.Rows {
		out = append(b.AppendJSON(out, row), '\n')
	}
	return out, nil
}

func gzipped(write func(b *record.Batch) ([]byte, error)) func(b *record.Batch) ([]byte, error) {
	return func(b *record.Batch) ([]byte, error) {
		text, err := write(b)
		if err != nil {
			return nil, err
		}
		return pack(text), nil
	}
}

func pack(text []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err)
	}
	return out.Bytes()
}

func zstandard(text []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(text, nil)
}

func parquetFile(b *record.Batch) ([]byte, error) {
	var out bytes.Buffer
	w := parquet.NewWriter(&out, b.Schema.Fields, nil, parquet.Options{RowGroupRows: 70, PageRows: 30})
	err := errors.Join(w.Write(b.Columns, 0, b.Rows), w.Close())
	return out.Bytes(), err
}

const header = "ID,box,Year,stock,share,rating,price,mass,released,seen,made,Title,scan\r\n"

func variants() map[string]variant {
	return map[string]variant{
		"csv":            {config: file.Config{Format: "csv"}, name: "a.csv", first: "\ufeff" + header, write: csvText},
		"csv, gzip":      {config: file.Config{Format: "csv"}, name: "a.csv.gz", first: string(pack([]byte(header))), write: gzipped(csvText)},
		"csv, no header": {config: file.Config{Format: "csv", NoHeader: true}, name: "a.csv", write: csvText},
		"ndjson":         {config: file.Config{Format: "ndjson"}, name: "a", write: jsonText},
		"ndjson, pieces": {config: file.Config{Format: "ndjson"}, name: "a", write: jsonText, piece: 5000},
		"ndjson, zstd": {config: file.Config{Format: "ndjson", Compression: "zstd"}, name: "a", write: func(b *record.Batch) ([]byte, error) {
			text, err := jsonText(b)
			return zstandard(text), err
		}},
		"parquet":         {config: file.Config{Format: "parquet"}, write: parquetFile},
		"parquet, pieces": {config: file.Config{Format: "parquet"}, write: parquetFile, piece: 1000},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, v := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Run(t, v.harness(t))
		})
	}
}
