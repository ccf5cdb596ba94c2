package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// replayProject reads 12 columns of a lake, keeps three fifths of the rows, derives a column and hashes another.
const replayProject = `version: 1
sources:
  raw: { type: lake, url: raw }
sinks:
  out: { type: lake, url: lake, partition: [country] }
pipelines:
  orders:
    from: raw
    steps: [ { filter: 'row.qty >= 4' }, { derive: { tens: 'row.user_id / 10 * 10' } }, { mask: { email: hash } } ]
    to: [out]
`

// rawFileRows is how many rows a file of the raw lake has.
const rawFileRows = 250_000

// writeRaw makes a lake with the table orders, as its change log would have filled it.
func writeRaw(root string, size int) (err error) {
	t := parquettest.NewOrders(parquettest.Log)
	schema, err := record.NewSchema("orders", []string{"id"}, t.Fields[:12]...)
	if err != nil {
		return err
	}
	table, err := schemas.NewLakeTable("orders", schema, nil)
	if err != nil {
		return err
	}
	text, err := table.Encode()
	if err != nil {
		return err
	}
	data := filepath.Join(root, "orders", "dt=2026-11-24")
	for _, folder := range []string{filepath.Join(root, "_tables"), data} {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "_tables", "orders.json"), text, 0o600); err != nil {
		return err
	}
	first := t.Next(parquet.SampleRows)
	plan := parquet.Sample(t.Fields, first, parquet.SampleRows)
	for n := 0; n*rawFileRows < size; n++ {
		if err := writeRawFile(filepath.Join(data, fmt.Sprintf("f%04d.parquet", n)), t, plan, min(rawFileRows, size-n*rawFileRows)); err != nil {
			return err
		}
	}
	return nil
}

func writeRawFile(path string, t *parquettest.Table, plan *parquet.Plan, rows int) (err error) {
	f, err := os.Create(path) //nolint:gosec // a folder of the benchmark
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := parquet.NewWriter(f, t.Fields, plan, parquet.Options{})
	for rows > 0 {
		n := min(rows, batchRows)
		if err := w.Write(t.Next(n), 0, n); err != nil {
			return err
		}
		rows -= n
	}
	return w.Close()
}

// copyLake is the floor of a replay: the same files read and written, with no steps, no partitions and no engine.
func copyLake(ctx context.Context, size int, dir string) (sample, error) {
	if err := writeRaw(dir, size); err != nil {
		return sample{}, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "orders", "*", "*.parquet"))
	if err != nil {
		return sample{}, err
	}
	m := startMeter()
	rows := int64(0)
	for _, path := range files {
		if ctx.Err() != nil {
			return sample{}, ctx.Err()
		}
		n, err := copyFile(path)
		if err != nil {
			return sample{}, err
		}
		rows += n
	}
	return m.stop(rows), nil
}

func copyFile(path string) (rows int64, err error) {
	in, err := os.Open(path) //nolint:gosec // as above
	if err != nil {
		return 0, err
	}
	info, err := in.Stat()
	if err != nil {
		return 0, errors.Join(err, in.Close())
	}
	f, err := parquet.Open(in, info.Size())
	if err != nil {
		return 0, errors.Join(err, in.Close())
	}
	fields := parquettest.NewOrders(parquettest.Log).Fields
	wanted, err := f.Bind(fields)
	if err != nil {
		return 0, errors.Join(err, in.Close())
	}
	out, err := os.Create(path + ".copy") //nolint:gosec // as above
	if err != nil {
		return 0, errors.Join(err, in.Close())
	}
	r := parquet.NewReader(f, wanted)
	defer func() { err = errors.Join(err, r.Close(), in.Close(), out.Close()) }()
	columns := make([]record.Column, len(fields))
	var w *parquet.Writer
	for {
		n, _, err := r.Read(columns, batchRows)
		if errors.Is(err, io.EOF) {
			return rows, w.Close()
		}
		if err != nil {
			return rows, err
		}
		if w == nil {
			w = parquet.NewWriter(out, fields, parquet.Sample(fields, columns, n), parquet.Options{})
		}
		if err := w.Write(columns, 0, n); err != nil {
			return rows, err
		}
		rows += int64(n)
	}
}

// BenchmarkReplay is 5 million rows, or ACEQUIA_BENCH_ROWS, from a lake through filter, derive and mask into another, by
// the program itself: with all CPUs, and with one.
func BenchmarkReplay(b *testing.B) {
	rows := 5_000_000
	if n, err := strconv.Atoi(os.Getenv("ACEQUIA_BENCH_ROWS")); err == nil {
		rows = n
	}
	path, dir := program(b), b.TempDir()
	if err := writeRaw(filepath.Join(dir, "raw"), rows); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "replay.yaml"), []byte(replayProject), 0o600); err != nil {
		b.Fatal(err)
	}
	order, samples := []string{"read and write alone", "replay, one CPU", "replay"}, map[string][]sample{}
	for range rounds() {
		for _, name := range order {
			var got sample
			var err error
			switch name {
			case "replay":
				got, err = replayRound(b.Context(), path, dir, rows, 0)
			case "replay, one CPU":
				got, err = replayRound(b.Context(), path, dir, rows, 1)
			default:
				got, err = measure(b.Context(), "copy-lake", rows)
			}
			if err != nil {
				b.Fatal(name, ": ", err)
			}
			samples[name] = append(samples[name], got)
		}
	}
	table(b, fmt.Sprintf("Replay: %s rows of 12 columns, filter, derive, mask, partitioned lake", thousands(float64(rows))), order, samples,
		perCPUSecond(), perSecond(), peakMemory())
	ratio(b, "replay against read and write alone", samples["replay"], samples[order[0]], perCPUSecond())
	ratio(b, "two CPUs against one", samples["replay"], samples[order[1]], perSecond())
}

// replayRound replays from nothing, on so many CPUs; 0: all.
func replayRound(ctx context.Context, path, folder string, rows, cpus int) (got sample, err error) {
	for _, left := range []string{".acequia", "lake"} {
		if err := os.RemoveAll(filepath.Join(folder, left)); err != nil {
			return got, err
		}
	}
	cmd := exec.CommandContext(ctx, path, "replay", "orders", "-f", "replay.yaml", "--from-lake", "raw", "--json") //nolint:gosec // our own program
	cmd.Dir = folder
	if cpus > 0 {
		cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(cpus))
	}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	got.Rows, got.Wall = int64(rows), time.Since(began)
	if err != nil || !strings.Contains(string(out), fmt.Sprintf(`"rows_total":%d`, rows)) {
		return got, fmt.Errorf("%w: %s", err, out)
	}
	got.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.Peak = usage.Maxrss << 10
	}
	return got, nil
}
