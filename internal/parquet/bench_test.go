package parquet_test

import (
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"

	"github.com/klauspost/compress/zstd"
	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"
)

const (
	benchRows  = 500_000
	benchBatch = 10_000
)

// counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEncode encodes one row group of half a million rows. CPU time is that of the process, with the collector.
func BenchmarkEncode(b *testing.B) {
	tables := map[string]func(parquettest.System) *parquettest.Table{"lineitem": parquettest.NewLineitem, "orders": parquettest.NewOrders}
	for _, name := range []string{"lineitem", "orders"} {
		for _, system := range []string{"none", "snapshot", "log"} {
			t := tables[name](map[string]parquettest.System{"none": parquettest.NoSystem, "snapshot": parquettest.Snapshot, "log": parquettest.Log}[system])
			var batches [][]record.Column
			for range benchRows / benchBatch {
				batches = append(batches, t.Next(benchBatch))
			}
			own := func(o parquet.Options) func(*testing.B, io.Writer) {
				return func(b *testing.B, out io.Writer) { b.Helper(); writeOwn(b, out, t.Fields, batches, o) }
			}
			measure(b, name+"/"+system+"/acequia", own(parquet.Options{}))
			measure(b, name+"/"+system+"/acequia-2-workers", own(parquet.Options{Workers: 2}))
			measure(b, name+"/"+system+"/acequia-plain", own(parquet.Options{Plain: true}))
			measure(b, name+"/"+system+"/parquet-go", func(b *testing.B, out io.Writer) { b.Helper(); writeLibrary(b, out, t.Fields, batches) })
		}
	}
}

func measure(b *testing.B, name string, write func(*testing.B, io.Writer)) {
	b.Helper()
	b.Run(name, func(b *testing.B) {
		runtime.GC()
		var out counter
		start := cpuTime(b)
		for b.Loop() {
			out.n = 0
			write(b, &out)
		}
		cpu := float64(cpuTime(b)-start) / float64(b.N) / benchRows
		b.ReportMetric(cpu, "cpu-ns/row")
		b.ReportMetric(1e9/cpu, "rows/cpu-s")
		b.ReportMetric(float64(out.n)/benchRows, "B/row")
	})
}

func writeOwn(b *testing.B, out io.Writer, fields []record.Field, batches [][]record.Column, o parquet.Options) {
	b.Helper()
	w := parquet.NewWriter(out, fields, parquet.Sample(fields, batches[0], benchBatch), o)
	for _, c := range batches {
		if err := w.Write(c, 0, benchBatch); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// zstdCodec is the codec of the library with the options of ours.
type zstdCodec struct{ e *zstd.Encoder }

func (z zstdCodec) String() string                            { return "ZSTD" }
func (z zstdCodec) CompressionCodec() format.CompressionCodec { return format.Zstd }
func (z zstdCodec) Encode(dst, src []byte) ([]byte, error)    { return z.e.EncodeAll(src, dst[:0]), nil }
func (z zstdCodec) Decode(_, _ []byte) ([]byte, error)        { return nil, io.ErrUnexpectedEOF }

// orderedGroup keeps the order of the fields.
type orderedGroup struct {
	pq.Group
	fields []pq.Field
}

func (g orderedGroup) Fields() []pq.Field { return g.fields }

// librarySchema has the encodings that a person would choose.
func librarySchema(fields []record.Field) *pq.Schema {
	dict := map[string]bool{}
	for _, n := range []string{
		"l_linenumber", "l_quantity", "l_discount", "l_tax", "l_returnflag", "l_linestatus", "l_shipdate", "l_commitdate",
		"l_receiptdate", "l_shipinstruct", "l_shipmode", "status", "country", "qty", "_op", "_source", "_event_id", "_ingest_ts",
	} {
		dict[n] = true
	}
	g := pq.Group{}
	for _, f := range fields {
		var n pq.Node
		e := encoding.Encoding(nil)
		switch f.Kind {
		case record.Int64:
			n = pq.Int(64)
		case record.Int32:
			n = pq.Int(32)
		case record.Float64:
			n = pq.Leaf(pq.DoubleType)
		case record.Timestamp:
			n = pq.Timestamp(pq.Microsecond)
		case record.Date:
			n = pq.Date()
		case record.Decimal:
			n = pq.Decimal(f.Scale, f.Precision, pq.Int64Type)
		case record.VersionText:
			n, e = pq.String(), &pq.DeltaByteArray
		default:
			n = pq.String()
		}
		switch f.Name {
		case "l_orderkey", "id", "created_at", "_event_ts":
			e = &pq.DeltaBinaryPacked
		}
		if dict[f.Name] {
			e = &pq.RLEDictionary
		}
		if e != nil {
			n = pq.Encoded(n, e)
		}
		if f.Nullable {
			n = pq.Optional(n)
		}
		g[f.Name] = n
	}
	o := orderedGroup{Group: g, fields: make([]pq.Field, len(fields))}
	for _, gf := range g.Fields() {
		for i, f := range fields {
			if f.Name == gf.Name() {
				o.fields[i] = gf
			}
		}
	}
	return pq.NewSchema("t", o)
}

// writeLibrary is parquet-go's column writers, its fastest public way for columns.
func writeLibrary(b *testing.B, out io.Writer, fields []record.Field, batches [][]record.Column) {
	b.Helper()
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithZeroFrames(true), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		b.Fatal(err)
	}
	w := pq.NewGenericWriter[any](out, librarySchema(fields), pq.Compression(zstdCodec{e}))
	values := make([]pq.Value, 1024)
	for _, c := range batches {
		for i, f := range fields {
			var text []byte
			for lo := 0; lo < benchBatch; lo += len(values) {
				v := values[:min(len(values), benchBatch-lo)]
				text = libraryValues(v, f, &c[i], lo, i, text[:0])
				if _, err := w.ColumnWriters()[i].WriteRowValues(v); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func libraryValues(v []pq.Value, f record.Field, c *record.Column, lo, column int, text []byte) []byte {
	if f.Kind == record.VersionText && cap(text) < record.VersionLen*len(v) {
		text = make([]byte, 0, record.VersionLen*len(v))
	}
	for i := range v {
		r := lo + i
		switch f.Kind {
		case record.Int32, record.Date:
			v[i] = pq.Int32Value(int32(c.Int(r))) //nolint:gosec // test data
		case record.Float64:
			v[i] = pq.DoubleValue(c.Float(r))
		case record.String:
			v[i] = pq.ByteArrayValue(c.Text(r))
		case record.VersionText:
			k := len(text)
			text = c.Versions.At(r).AppendText(text, 0)
			v[i] = pq.ByteArrayValue(text[k:])
		default:
			v[i] = pq.Int64Value(c.Int(r))
		}
		if !f.Nullable {
			continue
		}
		if c.IsValid(r) {
			v[i] = v[i].Level(0, 1, column)
		} else {
			v[i] = pq.Value{}.Level(0, 0, column)
		}
	}
	return text
}
