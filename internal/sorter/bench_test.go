package sorter_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/internal/sorter"
	"github.com/acequia-io/acequia/record"
)

// BenchmarkPartitions writes two million rows to one Parquet file for each of 2,526 days, with 64 MiB for the sorter. CPU
// time and peak memory are those of the process, the making of the rows included: run it alone, once.
func BenchmarkPartitions(b *testing.B) {
	for _, system := range []parquettest.System{parquettest.NoSystem, parquettest.Snapshot, parquettest.Log} {
		b.Run([]string{"none", "snapshot", "log"}[system], func(b *testing.B) {
			debug.SetMemoryLimit(256 << 20 * 85 / 100)
			for b.Loop() {
				partitions(b, system, 2_000_000, 64<<20)
			}
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that the process has had, in kB.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip(err)
	}
	var kb float64
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if _, err := fmt.Sscan(text, &kb); err != nil {
				b.Fatal(err)
			}
		}
	}
	return kb
}

func partitions(b *testing.B, system parquettest.System, rows, memory int) {
	b.Helper()
	const batch = 10_000
	start := cpuTime(b)
	table := parquettest.NewLineitem(system)
	s := sorter.New(b.TempDir(), table.Fields, memory, 0)
	var plan *parquet.Plan
	for range rows / batch {
		c := table.Next(batch)
		if plan == nil {
			plan = parquet.Sample(table.Fields, c, batch)
		}
		part := make([]int32, batch)
		for i, day := range c[parquettest.ShipDate].Ints {
			part[i] = int32(day - parquettest.FirstDay) //nolint:gosec // few
		}
		if err := s.Add(c, batch, part, nil); err != nil {
			b.Fatal(err)
		}
	}
	added := cpuTime(b)
	f := &files{dir: b.TempDir(), buffer: bufio.NewWriterSize(nil, 256<<10), part: -1}
	spilled := s.Spilled()
	err := s.Each(func(part int, c []record.Column, lo, hi int) error {
		if part != f.part {
			if err := f.next(part, table.Fields, plan); err != nil {
				return err
			}
		}
		return f.writer.Write(c, lo, hi)
	})
	if err == nil {
		err = f.end()
	}
	if err != nil {
		b.Fatal(err)
	}
	end := cpuTime(b)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric((end - start).Seconds(), "cpu-s")
	b.ReportMetric((added - start).Seconds(), "cpu-s-adding")
	b.ReportMetric(peak(b)/1000, "peak-MB")
	b.ReportMetric(float64(f.bytes)/1e6, "MB")
	b.ReportMetric(float64(spilled)/1e6, "spilled-MB")
	b.ReportMetric(float64(f.count), "files")
}

// files writes one file after the other.
type files struct {
	dir    string
	writer *parquet.Writer
	buffer *bufio.Writer
	file   *os.File
	part   int
	count  int
	bytes  int64
}

func (f *files) next(part int, fields []record.Field, plan *parquet.Plan) error {
	if err := f.end(); err != nil {
		return err
	}
	folder := filepath.Join(f.dir, fmt.Sprintf("dt=%d", part))
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(folder, "part.parquet"))
	if err != nil {
		return err
	}
	f.file, f.part = file, part
	f.count++
	f.buffer.Reset(file)
	if f.writer == nil {
		f.writer = parquet.NewWriter(f.buffer, fields, plan, parquet.Options{})
	} else {
		f.writer.Reset(f.buffer)
	}
	return nil
}

func (f *files) end() error {
	if f.file == nil {
		return nil
	}
	if err := f.writer.Close(); err != nil {
		return err
	}
	if err := f.buffer.Flush(); err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.bytes += info.Size()
	return f.file.Close()
}
