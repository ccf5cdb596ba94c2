package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// filesProject reads 12 columns, keeps three fifths of the rows, derives a column and hashes another. %s is the format,
// then the sink.
const filesProject = `version: 1
sources:
  sales:
    type: file
    path: "data.%s"
    stream: sales
    key: [id]
    schema: { id: int64, name: string, platform: string, year: int32, genre: string, publisher: string, na: "decimal(8,2)",
      eu: "decimal(8,2)", jp: int32, other: int32, score: float64, at: timestamp }
sinks:
  out: %s
pipelines:
  sales:
    from: sales
    steps: [ { filter: 'row.year >= 1990' }, { derive: { decade: 'row.year / 10 * 10' } }, { mask: { publisher: hash } } ]
    to: [out]
`

// writeSales makes the file of a format.
func writeSales(path, format string, rows int) (err error) {
	f, err := os.Create(path) //nolint:gosec // a folder of the benchmark
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 1<<20)
	line := `{"id":%d,"name":"Game number %d","platform":"%s","year":%d,"genre":"%s","publisher":"Publisher %d","na":%d.%02d,"eu":%d.5,` +
		`"jp":%d,"other":%d,"score":%d.5,"at":"2024-01-%02dT10:00:00Z"}` + "\n"
	if format == "csv" {
		line = "%d,Game number %d,%s,%d,%s,Publisher %d,%d.%02d,%d.5,%d,%d,%d.5,2024-01-%02dT10:00:00Z\n"
		_, _ = out.WriteString("id,name,platform,year,genre,publisher,na,eu,jp,other,score,at\n")
	}
	platforms, genres := []string{"PS", "PC", "Wii"}, []string{"Action", "Sports", "Puzzle", "Racing", "Shooter"}
	for i := range rows {
		_, _ = fmt.Fprintf(out, line, i, i*7919%50_000, platforms[i%3], 1970+i%50, genres[i%5], i%997, i*31%10_000/100, i%100, i*17%1000,
			i%13, i%17, i%101, 1+i%28)
	}
	return out.Flush()
}

// BenchmarkFiles is 2 million rows, or ACEQUIA_BENCH_ROWS, from a file through filter, derive and mask into the lake, by
// the program itself. Its floor is the same with a sink that drops everything.
func BenchmarkFiles(b *testing.B) {
	rows := 2_000_000
	if n, err := strconv.Atoi(os.Getenv("ACEQUIA_BENCH_ROWS")); err == nil {
		rows = n
	}
	path, dir := program(b), b.TempDir()
	order, samples := []string{}, map[string][]sample{}
	jobs := map[string]string{"drop": "{ type: discard }", "lake": "{ type: lake, url: lake, partition: [decade] }"}
	for _, format := range []string{"csv", "ndjson"} {
		folder := filepath.Join(dir, format)
		if err := os.Mkdir(folder, 0o750); err != nil {
			b.Fatal(err)
		}
		if err := writeSales(filepath.Join(folder, "data."+format), format, rows); err != nil {
			b.Fatal(err)
		}
		for _, job := range []string{"drop", "lake"} {
			order = append(order, format+" "+job)
			text := fmt.Sprintf(filesProject, format, jobs[job])
			if err := os.WriteFile(filepath.Join(folder, job+".yaml"), []byte(text), 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	for range rounds() {
		for _, name := range order {
			format, job, _ := strings.Cut(name, " ")
			got, err := filesRound(b.Context(), path, filepath.Join(dir, format), job, rows)
			if err != nil {
				b.Fatal(name, ": ", err)
			}
			samples[name] = append(samples[name], got)
		}
	}
	table(b, fmt.Sprintf("Files: %s rows of 12 columns, filter, derive, mask, partitioned lake", thousands(float64(rows))), order, samples,
		perCPUSecond(), perSecond(), peakMemory())
	for _, format := range []string{"csv", "ndjson"} {
		ratio(b, format+" to lake against reading alone", samples[format+" lake"], samples[format+" drop"], perCPUSecond())
	}
}

// filesRound runs a project from nothing.
func filesRound(ctx context.Context, path, folder, job string, rows int) (got sample, err error) {
	for _, left := range []string{".acequia", "lake"} {
		if err := os.RemoveAll(filepath.Join(folder, left)); err != nil {
			return got, err
		}
	}
	cmd := exec.CommandContext(ctx, path, "run", "--json", job+".yaml") //nolint:gosec // our own program
	cmd.Dir = folder
	began := time.Now()
	out, err := cmd.CombinedOutput()
	got.Rows, got.Wall = int64(rows), time.Since(began)
	if err != nil || !strings.Contains(string(out), fmt.Sprintf(`"rows_committed":%d`, rows)) {
		return got, fmt.Errorf("%w: %s", err, out)
	}
	got.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.Peak = usage.Maxrss << 10
	}
	return got, nil
}
