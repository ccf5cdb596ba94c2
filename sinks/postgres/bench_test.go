package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	inner "github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/postgres"
)

const (
	benchRows  = 500_000
	benchBatch = 10_000
)

// benchSchema has 12 columns of some 128 bytes.
func benchSchema(b *testing.B) *record.Schema {
	b.Helper()
	f := func(name string, k record.Kind) record.Field {
		return record.Field{Name: name, Kind: k, Nullable: true}
	}
	s, err := record.NewSchema("orders", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, f("customer", record.Int32), f("status", record.String),
		f("country", record.String), record.Field{Name: "total", Kind: record.Decimal, Precision: 12, Scale: 2, Nullable: true}, f("rate", record.Float64), f("paid", record.Bool),
		f("placed", record.Timestamp), f("due", record.Date), f("note", record.String), f("hash", record.String), f("changed", record.Timestamp))
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func benchBatches(b *testing.B, schema *record.Schema, ordered bool) (out []*record.Batch) {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 1))
	ids := random.Perm(benchRows)
	for lo := 0; lo < benchRows; lo += benchBatch {
		build := record.NewBuilder(schema, benchBatch)
		for i := range benchBatch {
			id := int64(lo + i)
			if !ordered {
				id = int64(ids[lo+i])
			}
			build.Int(0, id)
			build.Int(1, int64(random.IntN(50_000)))
			build.String(2, []string{"new", "paid", "shipped", "returned"}[random.IntN(4)])
			build.String(3, []string{"ES", "FR", "US"}[random.IntN(3)])
			build.Int(4, int64(random.IntN(1_000_000)))
			build.Float(5, random.Float64())
			build.Bool(6, random.IntN(2) == 0)
			build.Int(7, 1_700_000_000_000_000+id)
			build.Int(8, 20_000+id%1000)
			if random.IntN(5) > 0 {
				build.String(9, "a note of some forty bytes, more or less")
			} else {
				build.Null(9)
			}
			build.String(10, fmt.Sprintf("%032x", random.Uint64()))
			build.Int(11, 1_700_000_000_000_000+id)
			build.Next()
		}
		sys := build.System()
		sys.Versions, sys.IngestTime, sys.Source = record.One(record.Version{Epoch: 1, Lo: 1}), 1_700_000_000_000_000, "bench"
		out = append(out, build.Batch(nil))
	}
	return out
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWarehouse writes a group into an empty table, beside its floor: psql that copies a file of the same values into a table with the
// same key. Client CPU counts what encodes and sends; staged and visible are when a row is.
func BenchmarkWarehouse(b *testing.B) {
	schema := benchSchema(b)
	for _, kind := range []string{"ascending", "shuffled"} {
		batches := benchBatches(b, schema, kind == "ascending")
		b.Run("psql/"+kind, func(b *testing.B) { benchFloor(b, schema, batches) })
		b.Run("sink/"+kind, func(b *testing.B) { benchSink(b, batches) })
	}
}

func benchFloor(b *testing.B, schema *record.Schema, batches []*record.Batch) {
	b.Helper()
	dsn := server.Database(b)
	file := filepath.Join(b.TempDir(), "orders.bin")
	text, columns := inner.AppendCopyHeader(nil), ""
	for i := range schema.Fields {
		columns += `"` + schema.Fields[i].Name + `" ` + inner.TypeOf(&schema.Fields[i], i == 0) + ", "
	}
	for _, batch := range batches {
		for row := range batch.Rows {
			text = inner.AppendCopyRow(text, len(schema.Fields))
			for i := range schema.Fields {
				text = inner.AppendCopy(text, &schema.Fields[i], &batch.Columns[i], row)
			}
		}
	}
	if err := os.WriteFile(file, inner.AppendCopyTrailer(text), 0o600); err != nil {
		b.Fatal(err)
	}
	server.Exec(b, dsn, "CREATE TABLE orders ("+columns+"PRIMARY KEY (id))")
	for b.Loop() {
		server.Exec(b, dsn, "TRUNCATE orders", "CHECKPOINT")
		began := time.Now()
		cmd := exec.CommandContext(b.Context(), "psql", "-d", dsn, "-c", `\copy orders from '`+file+`' (format binary)`)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		b.ReportMetric(benchRows/used.Seconds(), "rows/client-CPU-s")
		b.ReportMetric(time.Since(began).Seconds(), "s-visible")
	}
}

func benchSink(b *testing.B, batches []*record.Batch) {
	b.Helper()
	ctx := context.Background()
	dsn := server.Database(b)
	s, err := postgres.New(postgres.Config{DSN: config.Secret(dsn)}, "bench", slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close(ctx) }()
	if err := s.Declare(ctx, []*record.Schema{batches[0].Schema}); err != nil {
		b.Fatal(err)
	}
	group := int64(0)
	for b.Loop() {
		server.Exec(b, dsn, "TRUNCATE orders", "CHECKPOINT")
		w, err := s.Open(ctx, sinks.Lane{Pipeline: "bench", ID: "a", Epoch: 1})
		if err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		group++
		began, before := time.Now(), cpu(b)
		for _, batch := range batches {
			if err := w.Write(ctx, batch); err != nil {
				b.Fatal(err)
			}
		}
		wrote := cpu(b) - before
		m, err := w.Cut(sinks.Group{Ordinal: group}).Stage(ctx)
		if err != nil {
			b.Fatal(err)
		}
		staged := time.Since(began)
		if err := w.Publish(ctx, m); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(benchRows/(cpu(b)-before).Seconds(), "rows/client-CPU-s")
		b.ReportMetric(float64(wrote.Nanoseconds())/benchRows, "encode-ns/row")
		b.ReportMetric(staged.Seconds(), "s-staged")
		b.ReportMetric(time.Since(began).Seconds(), "s-visible")
	}
}
