package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"

	"github.com/acequia-io/acequia/handlers/canonical"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/handlers/normalize"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
)

const (
	batchRows = 10_000
	distinct  = 12 // batches that take turns
	memory    = 256 << 20
	dayColumn = 1
)

// orders is an in-memory source: 12 columns of orders, one of them a day out of 2,526, with the system columns of a
// change log, a transaction of one to nine rows after the other. It gives the same batches in turns, under new versions
// and times.
type orders struct {
	schema  *record.Schema
	columns [][]record.Column
	system  []record.System
	left    int // batches
	given   int
}

func newOrders(rows, most int) (*orders, error) {
	t := parquettest.NewOrders(parquettest.Log)
	fields := append([]record.Field{}, t.Fields[:12]...)
	fields[dayColumn] = record.Field{Name: "day", Kind: record.Date}
	schema, err := record.NewSchema("orders", []string{"id"}, fields...)
	if err != nil {
		return nil, err
	}
	o := &orders{schema: schema, left: rows / batchRows}
	days := int64(min(most, rows/200)) // fewer in a run that is only to see that it works
	for range min(distinct, o.left) {
		c := t.Next(batchRows)
		for i, user := range c[dayColumn].Ints {
			c[dayColumn].Ints[i] = parquettest.FirstDay + user%days
		}
		o.columns = append(o.columns, c[:12])
		o.system = append(o.system, record.System{
			Ops: []record.Op{record.Insert}, Versions: c[13].Versions, Source: "memory.orders", EventTimes: c[16].Ints,
			EventIDs: c[14], IngestTime: c[17].Ints[0],
		})
	}
	return o, nil
}

func (o *orders) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "orders", Replayable: true}}, nil
}

func (o *orders) Open(context.Context, sources.Lane, record.Position) (sources.Reader, error) {
	return o, nil
}

func (o *orders) Read(context.Context) (record.Chunk, error) {
	if o.left == 0 {
		return record.Chunk{}, io.EOF
	}
	o.left--
	turn := o.given % len(o.columns)
	o.given++
	sys := o.system[turn]
	sys.Versions.Epoch = uint16(o.given / len(o.columns)) //nolint:gosec // a few hundred turns
	b, err := record.NewBatch(o.schema, batchRows, o.columns[turn], sys, nil)
	if err != nil {
		return record.Chunk{}, err
	}
	return record.Chunk{Batches: []*record.Batch{b}, To: record.Position(strconv.Itoa(o.given)), ReadAt: time.Now()}, nil
}

func (o *orders) Settle(context.Context, record.Position, error) error { return nil }
func (o *orders) Close() error                                         { return nil }

// steps are those of the video-game register, on the columns of the orders.
func steps() ([]routers.Step, error) {
	tidy, err := normalize.New(normalize.Config{})
	if err != nil {
		return nil, err
	}
	status, err := canonical.New(canonical.Config{Column: "status", Options: []string{"new", "paid", "shipped", "delivered", "cancelled"}, Unknown: canonical.DeadLetter})
	if err != nil {
		return nil, err
	}
	tens, err := derive.New(derive.Config{Columns: config.Ordered[derive.Column]{
		{Name: "tens", Value: derive.Column{Expr: "row.qty / 10 * 10", Type: "int32"}},
	}})
	if err != nil {
		return nil, err
	}
	return []routers.Step{{Name: "normalize", Handler: tidy}, {Name: "canonical", Handler: status}, {Name: "derive", Handler: tens}}, nil
}

// encode is the floor: the same batches and steps, and one Parquet writer after the other, with no engine and no disk.
func encode(ctx context.Context, rows int, _ string) (sample, error) {
	debug.SetMemoryLimit(memory * 85 / 100)
	source, err := newOrders(rows, parquettest.Days)
	if err != nil {
		return sample{}, err
	}
	steps, err := steps()
	if err != nil {
		return sample{}, err
	}
	defer profile("encode")()
	m := startMeter()
	var w *parquet.Writer
	for {
		chunk, err := source.Read(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return sample{}, err
		}
		b := chunk.Batches[0]
		for _, s := range steps {
			out, err := s.Handler.Handle(ctx, b)
			if err != nil {
				return sample{}, err
			}
			b = out[0]
		}
		columns := withSystem(b)
		if w == nil {
			fields := append(append([]record.Field{}, b.Schema.Fields...), schemas.SystemFields()...)
			w = parquet.NewWriter(io.Discard, fields, parquet.Sample(fields, columns, b.Rows), parquet.Options{})
		}
		if err := w.Write(columns, 0, b.Rows); err != nil {
			return sample{}, err
		}
		if w.Rows() >= 1_000_000 {
			if err := w.Close(); err != nil {
				return sample{}, err
			}
			w.Reset(io.Discard)
		}
	}
	return m.stop(int64(rows)), w.Close()
}

func withSystem(b *record.Batch) []record.Column {
	s := &b.System
	return append(append([]record.Column{}, b.Columns...), record.Constant(s.Op(0).String()), record.Column{Versions: s.Versions},
		s.EventIDs, record.Constant(s.Source), record.Column{Ints: s.EventTimes}, record.Column{Ints: []int64{s.IngestTime}, Const: true})
}

// engineRun says how the engine runs.
type engineRun struct {
	partition []string
	groupRows int
	store     func(routers.Store) routers.Store
	name      string
	days      int         // that there are; 0: 2,526
	lake      lake.Config // "": a directory
	budget    int         // bytes of batches and open writers, as acequia run has them; 0: all of the memory
}

func oneFile() engineRun { return engineRun{name: "engine"} }

// byDay gives each of 2,526 days a file in each group of five million rows.
func byDay() engineRun {
	return engineRun{partition: []string{"day"}, groupRows: 5_000_000, name: "engine-partitions"}
}

// forgetful saves no intents: what a sink without exactly-once would do.
type forgetful struct{ routers.Store }

func (forgetful) SaveIntent(context.Context, checkpoint.Lane, int64, checkpoint.Intent) error {
	return nil
}

func noIntents() engineRun {
	r := oneFile()
	r.store = func(s routers.Store) routers.Store { return forgetful{s} }
	return r
}

// engine runs the orders through the steps into a lake in a directory, with the whole commit protocol.
func engine(ctx context.Context, rows int, dir string, r engineRun) (got sample, err error) {
	debug.SetMemoryLimit(memory * 85 / 100)
	if r.budget > 0 {
		debug.SetMemoryLimit(memory * 78 / 100)
	}
	store, err := checkpoint.Open(ctx, filepath.Join(dir, "state.db"))
	if err != nil {
		return got, err
	}
	defer func() { _ = store.Close() }()
	source, err := newOrders(rows, cmp.Or(r.days, parquettest.Days))
	if err != nil {
		return got, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	c := r.lake
	c.URL, c.Partition = cmp.Or(c.URL, filepath.Join(dir, "lake")), r.partition
	sink, err := lake.New(ctx, c, memory*35/100, log)
	if err != nil {
		return got, err
	}
	steps, err := steps()
	if err != nil {
		return got, err
	}
	kept := routers.Store(store)
	if r.store != nil {
		kept = r.store(store)
	}
	run, err := routers.New(routers.Pipeline{
		Name: "orders", Source: source, Steps: steps, Sinks: []routers.NamedSink{{Name: "lake", Sink: sink}},
		Limits: routers.Limits{Rows: r.groupRows, Bytes: 1 << 40, Age: time.Hour},
	}, routers.Options{Store: kept, Budget: routers.NewBudget(cmp.Or(r.budget, memory)), Log: log})
	if err != nil {
		return got, err
	}
	defer profile(r.name)()
	m := startMeter()
	if err := run.Run(ctx); err != nil {
		return got, err
	}
	got = m.stop(int64(rows))
	if s := run.Status(); s.RowsCommitted != int64(rows) || s.DeadLetters > 0 {
		return got, fmt.Errorf("committed %d of %d rows, %d dead letters", s.RowsCommitted, rows, s.DeadLetters)
	}
	got.Figures = map[string]float64{"groups": float64(run.Status().Commits)}
	bucket, err := c.Bucket(ctx)
	if err != nil {
		return got, err
	}
	files, err := bucket.Walk(ctx, "orders")
	for _, f := range files {
		size, _, err := f.Stat()
		if err != nil {
			return got, err
		}
		got.Figures["files"]++
		got.Figures["bytes"] += float64(size)
	}
	return got, err
}

// profile writes a CPU profile of the job when ACEQUIA_BENCH_PROFILE names a folder.
func profile(name string) (stop func()) {
	folder := os.Getenv("ACEQUIA_BENCH_PROFILE")
	if folder == "" {
		return func() {}
	}
	f, err := os.Create(filepath.Join(folder, name+".pprof"))
	if err != nil || pprof.StartCPUProfile(f) != nil {
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}
}

// BenchmarkEngine is 20 million rows, or ACEQUIA_BENCH_ROWS, from memory through the steps into the lake.
func BenchmarkEngine(b *testing.B) {
	rows := 20_000_000
	if n, err := strconv.Atoi(os.Getenv("ACEQUIA_BENCH_ROWS")); err == nil {
		rows = n
	}
	order := []string{"encode", "engine", "engine-no-intents", "engine-partitions"}
	samples := map[string][]sample{}
	take := func(name, job string, rows int) {
		got, err := measure(b.Context(), job, rows)
		if err != nil {
			b.Fatal(err)
		}
		samples[name] = append(samples[name], got)
	}
	for range rounds() {
		for _, name := range order {
			take(name, name, rows)
		}
		take("engine 1 M", "engine", 1_000_000)
		take("engine-partitions 1 M", "engine-partitions", 1_000_000)
	}
	order = append(order, "engine 1 M", "engine-partitions 1 M")
	table(b, fmt.Sprintf("Engine: %s rows of 12 columns and 6 system columns", thousands(float64(rows))), order, samples,
		perCPUSecond(), perSecond(), peakMemory(), named("files", "files", thousands), named("groups", "groups", thousands),
		named("MB", "bytes", func(v float64) string { return thousands(v / 1e6) }))
	ratio(b, "engine to encode", samples["engine"], samples["encode"], perCPUSecond())
	ratio(b, "engine to engine without intents", samples["engine"], samples["engine-no-intents"], perCPUSecond())
	ratio(b, "wall clock of engine to that without intents", samples["engine"], samples["engine-no-intents"], perSecond())
}
