package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
)

// keyed is a table of 12 columns that is read in parts: batches that take turns, each time under other keys.
type keyed struct {
	schema *record.Schema
	turns  [][]record.Column
	rows   int
}

func newKeyed(rows int) (*keyed, error) {
	t := parquettest.NewOrders(parquettest.NoSystem)
	schema, err := record.NewSchema("orders", []string{"id"}, t.Fields[:12]...)
	k := &keyed{schema: schema, rows: rows}
	for range distinct {
		k.turns = append(k.turns, t.Next(batchRows)[:12])
	}
	return k, err
}

// batch gives the rows n*batchRows and on.
func (k *keyed) batch(n int) (*record.Batch, error) {
	columns := append([]record.Column{}, k.turns[n%distinct]...)
	columns[0].Ints = make([]int64, batchRows)
	for i := range columns[0].Ints {
		columns[0].Ints[i] = int64(n*batchRows + i)
	}
	sys := record.System{Source: "memory.orders", Versions: record.One(record.Version{Epoch: 1, Lo: uint64(n)}), EventTimes: []int64{1_763_800_000_000_000}} //nolint:gosec // small
	return record.NewBatch(k.schema, batchRows, columns, sys, nil)
}

func (k *keyed) Streams(context.Context) ([]sources.Stream, error) {
	return []sources.Stream{{Schema: k.schema, Rows: int64(k.rows)}}, nil
}

func (k *keyed) Split(context.Context, string, int) (out []sources.KeyRange, err error) {
	const part = 3 * batchRows
	var after []sources.KeyValue
	for at := part; at < k.rows; at += part {
		upTo := []sources.KeyValue{{Int: int64(at - 1)}}
		out, after = append(out, sources.KeyRange{After: after, UpTo: upTo}), upTo
	}
	return append(out, sources.KeyRange{After: after}), nil
}

func (k *keyed) Scan(_ context.Context, _ string, part sources.KeyRange, each func(*record.Batch) error) error {
	from, to := 0, k.rows
	if part.After != nil {
		from = int(part.After[0].Int) + 1
	}
	if part.UpTo != nil {
		to = int(part.UpTo[0].Int) + 1
	}
	for ; from < to; from += batchRows {
		b, err := k.batch(from / batchRows)
		if err != nil {
			return err
		}
		if err := each(b); err != nil {
			return err
		}
	}
	return nil
}

func (k *keyed) Lookup(context.Context, string, *record.Batch, func(*record.Batch) error) error {
	return errors.New("nothing differs")
}

// fill writes the table into a lake, some times over, in groups of half a million rows.
func (k *keyed) fill(ctx context.Context, dir string, times int) error {
	to, err := lake.New(ctx, lake.Config{URL: dir}, memory/3, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	w, err := to.Open(ctx, sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1})
	if err != nil {
		return err
	}
	const group = 50
	for n := range times * k.rows / batchRows {
		b, err := k.batch(n % (k.rows / batchRows))
		if err != nil {
			return err
		}
		b.System.Versions.Lo = []uint64{uint64(n)} //nolint:gosec // small
		if err := w.Write(ctx, b); err != nil {
			return err
		}
		if n%group < group-1 && n < times*k.rows/batchRows-1 {
			continue
		}
		m, err := w.Cut(sinks.Group{Ordinal: int64(n/group + 1), To: record.Position(fmt.Sprint(n))}).Stage(ctx)
		if err == nil {
			err = w.Publish(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(w.Close(ctx), to.Close(ctx))
}

// compare verifies a table against a lake that holds every row so many times.
func compare(ctx context.Context, rows int, dir string, times int) (sample, error) {
	debug.SetMemoryLimit(memory * 78 / 100)
	k, err := newKeyed(rows)
	if err == nil {
		err = k.fill(ctx, dir, times)
	}
	if err == nil {
		err = forgetPeak()
	}
	if err != nil {
		return sample{}, err
	}
	streams, err := k.Streams(ctx)
	if err != nil {
		return sample{}, err
	}
	defer profile("verify")()
	m := startMeter()
	tables, err := verify.Compare(ctx, verify.Stream{
		Pipeline: "p", Tables: k, Stream: streams[0], Sinks: []verify.Sink{{Name: "lake", Table: "orders", Lake: blob.Within(dir)}},
	}, verify.Options{})
	if err != nil {
		return sample{}, err
	}
	if t := tables[0]; !t.Equal() || t.Rows != int64(rows) || t.Differing > 0 {
		return sample{}, fmt.Errorf("not equal: %+v", t)
	}
	return m.stop(int64(rows)), nil
}

// forgetPeak begins the measure of the peak of memory anew.
func forgetPeak() error {
	debug.FreeOSMemory()
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o600)
}

// readLake is the floor: the same columns of the same files, read one file after the other and not looked at.
func readLake(ctx context.Context, rows int, dir string) (sample, error) {
	k, err := newKeyed(rows)
	if err == nil {
		err = k.fill(ctx, dir, 1)
	}
	if err == nil {
		err = forgetPeak()
	}
	if err != nil {
		return sample{}, err
	}
	names, err := lakefiles.List(ctx, blob.Within(dir), "orders")
	if err != nil {
		return sample{}, err
	}
	m := startMeter()
	var n int64
	for _, name := range names {
		got, err := readFile(filepath.Join(dir, name), append(k.schema.Fields[:12:12], schemas.SystemFields()[:2]...))
		if err != nil {
			return sample{}, err
		}
		n += got
	}
	return m.stop(n), nil
}

func readFile(path string, fields []record.Field) (rows int64, err error) {
	in, err := os.Open(path) //nolint:gosec // a folder of the benchmark
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	f, err := parquet.Open(in, info.Size())
	if err != nil {
		return 0, err
	}
	wanted, err := f.Bind(fields)
	if err != nil {
		return 0, err
	}
	r := parquet.NewReader(f, wanted)
	columns := make([]record.Column, len(fields))
	for rows < f.Rows() {
		n, _, err := r.Read(columns, batchRows)
		if err != nil {
			return rows, errors.Join(err, r.Close())
		}
		rows += int64(n)
	}
	return rows, r.Close()
}

// BenchmarkVerify compares a table in memory with a lake: what is measured is the lake's side, and the hashing of both.
func BenchmarkVerify(b *testing.B) {
	order := []string{"read-lake", "verify", "verify-copies"}
	samples := map[string][]sample{}
	for b.Loop() {
		for range rounds() {
			for _, name := range order {
				s, err := measure(b.Context(), name, 6_000_000)
				if err != nil {
					b.Fatal(err)
				}
				samples[name] = append(samples[name], s)
			}
		}
	}
	table(b, "Verify: 6 million rows, 12 columns, against a lake", order, samples, perCPUSecond(), perSecond(), peakMemory())
	ratio(b, "verify speed to a read by one goroutine", samples["verify"], samples["read-lake"], perSecond())
}
