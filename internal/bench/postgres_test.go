package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet/parquettest"
)

// pgProject reads one table into a lake. %s: the DSN, the table, more of the source, more of the lake.
const pgProject = `version: 1
sources:
  shop: { type: postgres, dsn: "%s", tables: ["public.%s"]%s }
sinks:
  lake: { type: lake, url: lake%s }
pipelines:
  shop: { from: shop, to: [lake] }
`

// pgTable is a table of the benchmark.
type pgTable struct {
	name   string
	rows   int
	verify bool // it is compared afterwards
	fill   func(*testing.B, *pgServer, pgTable)
	lake   string // more of the lake's settings
}

func fillLineitem(b *testing.B, s *pgServer, t pgTable) {
	b.Helper()
	s.fillGenerated(b, t.name, parquettest.NewLineitem(parquettest.NoSystem), lineitemColumns, lineitemKey, t.rows)
}

func fillOrders(b *testing.B, s *pgServer, t pgTable) {
	b.Helper()
	s.fillGenerated(b, t.name, parquettest.NewOrders(parquettest.NoSystem), ordersColumns, ordersKey, t.rows)
}

// fillScattered makes a table whose keys have nothing to do with where its rows stand.
func fillScattered(b *testing.B, s *pgServer, t pgTable) {
	b.Helper()
	if s.ask(b, "select obj_description(to_regclass('"+t.name+"'))") == filled {
		return
	}
	s.ask(b, "drop table if exists "+t.name)
	s.ask(b, "create table "+t.name+" as select * from lineitem_2m order by random()")
	s.ask(b, "alter table "+t.name+" "+lineitemKey)
	s.ask(b, "vacuum analyze "+t.name)
	s.ask(b, "comment on table "+t.name+" is '"+filled+"'")
}

func pgTables() []pgTable {
	return []pgTable{
		{name: "flights", rows: 3_000_001, fill: func(b *testing.B, s *pgServer, _ pgTable) { b.Helper(); s.fillFlights(b) }},
		{name: "lineitem", rows: 6_000_000, verify: true, fill: fillLineitem},
		{name: "orders_10", rows: 10, fill: fillOrders},
		{name: "orders_1m", rows: 1_000_000, fill: fillOrders},
		{name: "orders_20m", rows: 20_000_000, fill: fillOrders},
		{name: "lineitem_2m", rows: 2_000_000, fill: fillLineitem},
		{name: "lineitem_scattered", rows: 2_000_000, fill: fillScattered},
	}
}

// BenchmarkPostgresBackfill reads whole tables into zstd Parquet by the program itself. The floor is psql, which copies the same table in
// binary to nowhere, in the same round: only its time counts, for the server does the work.
func BenchmarkPostgresBackfill(b *testing.B) {
	path, s := program(b), startPostgres(b)
	var order []string
	samples, floors := map[string][]sample{}, map[string][]sample{}
	tables := pgTables()
	for _, t := range tables {
		t.fill(b, s, t)
		order = append(order, t.name)
	}
	for range rounds() {
		for _, t := range tables {
			floor, err := s.copyOut(b.Context(), t)
			if err != nil {
				b.Fatal(t.name, ": ", err)
			}
			floors[t.name] = append(floors[t.name], floor)
			got, err := s.backfill(b.Context(), path, b.TempDir(), t, "")
			if err != nil {
				b.Fatal(t.name, ": ", err)
			}
			samples[t.name] = append(samples[t.name], got)
		}
	}
	table(b, "PostgreSQL: backfill", order, samples, perCPUSecond(), seconds(), perSecond(), peakMemory(),
		named("server CPU s", "server", oneDigit), named("files", "files", thousands), named("MB", "MB", thousands))
	table(b, "PostgreSQL: its floor, psql COPY in binary to nowhere", order, floors, seconds(), named("server CPU s", "server", oneDigit))
	for _, name := range order {
		ratio(b, name+" time to that of COPY", samples[name], floors[name], seconds())
	}
	ratio(b, "verify of lineitem, time to that of the backfill", verified(samples["lineitem"]), samples["lineitem"], seconds())
	ratio(b, "CPU a row, 1 M rows to 20 M, with what a run takes", samples["orders_1m"], samples["orders_20m"], rowCost(sample{}))
	run := samples["orders_10"][0] // a run takes as much, whatever it reads
	ratio(b, "CPU a row, 1 M rows to 20 M, beyond what a run of 10 rows takes", samples["orders_1m"], samples["orders_20m"], rowCost(run))
}

// BenchmarkPostgresDays reads 2 million rows in the order of their keys into 2,526 partitions.
func BenchmarkPostgresDays(b *testing.B) {
	path, s := program(b), startPostgres(b)
	t := pgTable{name: "lineitem_2m", rows: 2_000_000, lake: ", partition: [l_shipdate], roll: { rows: 5000000 }"}
	fillLineitem(b, s, t)
	samples := map[string][]sample{}
	for range rounds() {
		got, err := s.backfill(b.Context(), path, b.TempDir(), t, "")
		if err != nil {
			b.Fatal(err)
		}
		samples["by day"] = append(samples["by day"], got)
	}
	table(b, "PostgreSQL: 2 M rows into 2,526 days", []string{"by day"}, samples, perCPUSecond(), seconds(), peakMemory(), named("files", "files", thousands),
		named("files a day at most", "most", thousands))
}

func seconds() figure {
	return figure{"seconds", func(s sample) float64 { return s.Wall.Seconds() }, func(v float64) string { return fmt.Sprintf("%.2f", v) }}
}

// rowCost is the CPU time of a row beyond that of another sample.
func rowCost(beyond sample) figure {
	return figure{of: func(s sample) float64 { return (s.CPU - beyond.CPU).Seconds() / float64(s.Rows) }}
}

func oneDigit(v float64) string { return fmt.Sprintf("%.1f", v) }

// copyOut is the floor.
func (s *pgServer) copyOut(ctx context.Context, t pgTable) (got sample, err error) {
	before, err := s.serverCPU()
	if err != nil {
		return got, err
	}
	cmd := s.psql(ctx, "copy "+t.name+" to stdout (format binary)")
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, null.Close()) }()
	cmd.Stdout = null
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return got, err
	}
	got = sample{Rows: int64(t.rows), Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	after, err := s.serverCPU()
	got.Figures = map[string]float64{"server": (after - before).Seconds()}
	return got, err
}

// backfill runs the program in a folder until it has read so many rows, as the settings say.
func backfill(ctx context.Context, program, dir, settings string, rows int) (got sample, err error) {
	if err := os.WriteFile(filepath.Join(dir, "acequia.yaml"), []byte(settings), 0o600); err != nil {
		return got, err
	}
	cmd := exec.CommandContext(ctx, program, "backfill", "--json") //nolint:gosec // our own program
	cmd.Dir = dir
	began := time.Now()
	out, err := cmd.CombinedOutput()
	got = sample{Rows: int64(rows), Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if err != nil || !strings.Contains(string(out), fmt.Sprintf(`"rows_committed":%d`, rows)) {
		return got, fmt.Errorf("%w: %s", err, out)
	}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.Peak = usage.Maxrss << 10
	}
	return got, nil
}

// backfill runs the program until it has read a table and nothing has changed.
func (s *pgServer) backfill(ctx context.Context, program, dir string, t pgTable, source string) (got sample, err error) {
	before, err := s.serverCPU()
	if err != nil {
		return got, err
	}
	if got, err = backfill(ctx, program, dir, fmt.Sprintf(pgProject, s.dsn(), t.name, source, t.lake), t.rows); err != nil {
		return got, err
	}
	after, err := s.serverCPU()
	if err != nil {
		return got, err
	}
	got.Figures, err = filesOf(filepath.Join(dir, "lake", t.name))
	if err != nil {
		return got, err
	}
	got.Figures["server"] = (after - before).Seconds()
	if t.verify {
		compare := exec.CommandContext(ctx, program, "verify") //nolint:gosec // as above
		compare.Dir = dir
		began := time.Now()
		if out, err := compare.CombinedOutput(); err != nil {
			return got, fmt.Errorf("verify: %w: %s", err, out)
		}
		got.Figures["verify"] = time.Since(began).Seconds()
	}
	return got, os.RemoveAll(filepath.Join(dir, "lake"))
}

// verified gives how long the comparisons took, as samples.
func verified(of []sample) []sample {
	out := make([]sample, len(of))
	for i, s := range of {
		out[i].Wall = time.Duration(s.Figures["verify"] * float64(time.Second))
	}
	return out
}

// filesOf counts the files of a table, and the most in one folder.
func filesOf(root string) (map[string]float64, error) {
	files, bytes, folders := 0, int64(0), map[string]int{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		folders[filepath.Dir(path)]++
		return nil
	})
	most := 0
	for _, n := range folders {
		most = max(most, n)
	}
	return map[string]float64{"files": float64(files), "MB": float64(bytes) / 1e6, "most": float64(most)}, err
}
