package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/compaction"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// smallRows are the rows of a file that is to be merged.
const smallRows = 25_000

// smallFiles writes a table of 12 columns and the system's, in files of 25,000 rows, in two partitions: keys in the order of a
// sequence, or in none.
func smallFiles(root string, rows int, shuffled bool) (*schemas.LakeTable, []string, error) {
	source := parquettest.NewOrders(parquettest.Log)
	schema, err := record.NewSchema("orders", []string{"id"}, source.Fields[:12]...)
	if err != nil {
		return nil, nil, err
	}
	t, err := schemas.NewLakeTable("orders", schema, nil)
	if err != nil {
		return nil, nil, err
	}
	text, err := t.Encode()
	for _, folder := range []string{"_tables", "orders/dt=2026-01-01", "orders/dt=2026-01-02"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, folder), 0o750))
	}
	if err = errors.Join(err, os.WriteFile(filepath.Join(root, "_tables/orders.json"), text, 0o600)); err != nil {
		return nil, nil, err
	}
	var names []string
	var plan *parquet.Plan
	for n := 0; n*smallRows < rows; n++ {
		columns := source.Next(smallRows)
		for i, id := range columns[0].Ints {
			if shuffled {
				columns[0].Ints[i] = int64(uint64(id) * 0x9E3779B97F4A7C15 >> 24) //nolint:gosec // any number
			}
		}
		if plan == nil {
			plan = parquet.Sample(source.Fields, columns, smallRows)
		}
		from := lakefiles.Origin{Pipeline: "p", Lane: lakefiles.ShortLane("a"), Epoch: 1, Group: int64(n)}
		name := fmt.Sprintf("orders/dt=2026-01-%02d/%s", 1+n%2, from.FileName(0, schema.Short()))
		f, err := os.Create(filepath.Join(root, name)) //nolint:gosec // a folder of the benchmark
		if err != nil {
			return nil, nil, err
		}
		w := parquet.NewWriter(f, source.Fields, plan, parquet.Options{Checked: true})
		if err := errors.Join(w.Write(columns, 0, smallRows), w.Close(), f.Sync(), f.Close()); err != nil {
			return nil, nil, err
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return t, names, nil
}

// done says that every group is checkpointed.
type done struct{}

func (done) Lanes(context.Context, string) ([]checkpoint.LaneState, error) {
	return []checkpoint.LaneState{{Lane: checkpoint.Lane{ID: "a"}, State: checkpoint.State{Group: math.MaxInt64}}}, nil
}

func compact(ctx context.Context, rows int, dir string, shuffled bool) (sample, error) {
	debug.SetMemoryLimit(memory * 85 / 100)
	if _, _, err := smallFiles(dir, rows, shuffled); err != nil {
		return sample{}, err
	}
	defer profile(map[bool]string{false: "compact", true: "compact-shuffled"}[shuffled])()
	m := startMeter()
	got, err := compaction.Compact(ctx, compaction.Options{Bucket: blob.Within(dir), Lanes: done{}})
	if err != nil {
		return sample{}, err
	}
	s := m.stop(got[0].Rows)
	s.Figures = map[string]float64{"bytes": float64(got[0].BytesOut), "files": float64(got[0].Outputs)}
	return s, nil
}

// rewrite reads the same files and writes their rows as they come: the floor.
func rewrite(_ context.Context, rows int, dir string, shuffled bool) (sample, error) {
	debug.SetMemoryLimit(memory * 85 / 100)
	t, names, err := smallFiles(dir, rows, shuffled)
	if err != nil {
		return sample{}, err
	}
	return copyFiles(map[bool]string{false: "rewrite", true: "rewrite-shuffled"}[shuffled], dir, t, names)
}

// rewriteMerged does the same with merged files: rows in the order of shuffled keys have versions and times in no order, which
// cost more to encode whoever writes them.
func rewriteMerged(ctx context.Context, rows int, dir string) (sample, error) {
	debug.SetMemoryLimit(memory * 85 / 100)
	t, _, err := smallFiles(dir, rows, true)
	if err != nil {
		return sample{}, err
	}
	if _, err := compaction.Compact(ctx, compaction.Options{Bucket: blob.Within(dir), Lanes: done{}}); err != nil {
		return sample{}, err
	}
	names, err := lakefiles.List(ctx, blob.Within(dir), "orders")
	if err != nil {
		return sample{}, err
	}
	return copyFiles("rewrite-merged", dir, t, names)
}

func copyFiles(job, dir string, t *schemas.LakeTable, names []string) (sample, error) {
	out, err := blob.Open(dir)
	if err != nil {
		return sample{}, err
	}
	defer profile(job)()
	m := startMeter()
	c := copier{dir: dir, out: out, fields: append(append([]record.Field{}, t.Columns...), schemas.SystemFields()...)}
	for _, name := range names {
		if err := c.copy(name); err != nil {
			return sample{}, err
		}
	}
	if err := errors.Join(c.end(), c.sealer.Wait()); err != nil {
		return sample{}, err
	}
	s := m.stop(c.rows)
	s.Figures = map[string]float64{"bytes": float64(c.bytes), "files": float64(c.files)}
	return s, nil
}

type copier struct {
	dir    string
	out    *blob.Dir
	fields []record.Field
	plan   *parquet.Plan
	file   *blob.File
	writer *parquet.Writer
	sealer blob.Sealer
	rows   int64
	bytes  int64
	files  int
}

func (c *copier) copy(name string) (err error) {
	f, err := os.Open(filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	in, err := parquet.Open(f, info.Size())
	if err != nil {
		return err
	}
	wanted, err := in.Bind(c.fields)
	if err != nil {
		return err
	}
	r := parquet.NewReader(in, wanted)
	columns := make([]record.Column, len(c.fields))
	for {
		n, _, err := r.Read(columns, 8192)
		if errors.Is(err, io.EOF) {
			return r.Close()
		}
		if err == nil {
			err = c.write(columns, n)
		}
		if err != nil {
			return err
		}
	}
}

func (c *copier) write(columns []record.Column, n int) (err error) {
	if c.plan == nil {
		c.plan = parquet.Sample(c.fields, columns, n)
	}
	if c.writer == nil {
		if c.file, err = c.out.Create(fmt.Sprintf("_copy/%d.parquet", c.files)); err != nil {
			return err
		}
		c.writer = parquet.NewWriter(c.file, c.fields, c.plan, parquet.Options{Checked: true})
		c.files++
	}
	c.rows += int64(n)
	if err := c.writer.Write(columns, 0, n); err != nil || c.writer.Rows() < 1_000_000 && c.writer.Written() < 128<<20 {
		return err
	}
	return c.end()
}

func (c *copier) end() error {
	if c.writer == nil {
		return nil
	}
	err := c.writer.Close()
	c.bytes += c.file.Bytes
	c.writer = nil
	return errors.Join(err, c.sealer.Seal(context.Background(), c.file))
}

// BenchmarkCompaction merges 2 million rows in 80 small files into sorted files of up to a million rows. Its floor reads the
// same files and writes their rows as they come.
func BenchmarkCompaction(b *testing.B) {
	order := []string{"rewrite", "compact", "rewrite-shuffled", "compact-shuffled", "rewrite-merged"}
	samples := map[string][]sample{}
	for b.Loop() {
		for range rounds() {
			for _, name := range order {
				s, err := measure(b.Context(), name, 2_000_000)
				if err != nil {
					b.Fatal(err)
				}
				samples[name] = append(samples[name], s)
			}
		}
	}
	table(b, "Compaction: 2 million rows in 80 files, 18 columns", order, samples, perCPUSecond(), perSecond(), peakMemory(),
		named("bytes", "bytes", thousands), named("files", "files", thousands))
	for _, keys := range []string{"", "-shuffled"} {
		ratio(b, "compaction speed"+keys, samples["compact"+keys], samples["rewrite"+keys], perSecond())
		ratio(b, "compaction CPU"+keys, samples["compact"+keys], samples["rewrite"+keys], perCPUSecond())
	}
	ratio(b, "compaction CPU-shuffled to the same rows in order", samples["compact-shuffled"], samples["rewrite-merged"], perCPUSecond())
}
