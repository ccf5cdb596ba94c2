package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/parquet"
)

// followProject follows one table. %s: the DSN, the strategy, how often it is asked.
const followProject = `version: 1
sources:
  shop: { type: postgres, dsn: "%s", tables: ["public.changing"], capture: { strategy: %s, every: %s } }
sinks:
  lake: { type: lake, url: lake, roll: { every: 1s } }
pipelines:
  shop: { from: shop, to: [lake] }
`

const (
	changingRows = 1_000_000
	paceRows     = 100 // of a transaction
	paceEvery    = 50 * time.Millisecond
	paceTimes    = 300
)

// BenchmarkPostgresFollow changes every row of a table of a million once, in 20 transactions, while nothing runs, and lets the program
// take that up: changes a second, its start and end included. Then it runs beside a writer with a transaction of 100 rows each 50 ms:
// how long it takes from a commit until its rows are in the lake, with groups of a second.
func BenchmarkPostgresFollow(b *testing.B) {
	path, s := program(b), startPostgres(b)
	samples := map[string][]sample{}
	order := []string{"log", "xid", "queue"}
	for range rounds() {
		for _, strategy := range order {
			got, err := s.follow(b.Context(), path, b.TempDir(), strategy)
			if err != nil {
				b.Fatal(strategy, ": ", err)
			}
			samples[strategy] = append(samples[strategy], got)
		}
	}
	table(b, "PostgreSQL: following", order, samples,
		figure{"changes a second", func(s sample) float64 { return float64(s.Rows) / s.Wall.Seconds() }, thousands}, perCPUSecond(), peakMemory(),
		named("server CPU s", "server", oneDigit), named("commit to lake, p50 s", "p50", twoDigits), named("p99 s", "p99", twoDigits))
}

func twoDigits(v float64) string { return fmt.Sprintf("%.2f", v) }

// follow measures one strategy on a table of its own.
func (s *pgServer) follow(ctx context.Context, program, dir, strategy string) (got sample, err error) {
	text := fmt.Sprintf(followProject, s.dsn(), strategy, "250ms")
	if err := os.WriteFile(filepath.Join(dir, "acequia.yaml"), []byte(text), 0o600); err != nil {
		return got, err
	}
	run := func(args ...string) (*exec.Cmd, error) {
		cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // our own program
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return cmd, err
	}
	for _, sql := range []string{
		"drop table if exists changing", "create table changing (id int primary key, n int not null, at timestamptz not null default now(), note text)",
		fmt.Sprintf("insert into changing select i, 0, now(), 'note number ' || i from generate_series(1, %d) i", changingRows), "vacuum analyze changing",
	} {
		if out, err := s.psql(ctx, sql).CombinedOutput(); err != nil {
			return got, fmt.Errorf("%s: %w: %s", sql, err, out)
		}
	}
	if _, err := run("capture", "install", "--strategy", strategy, "--apply"); err != nil {
		return got, err
	}
	defer func() {
		_, failed := run("capture", "uninstall", "--strategy", strategy, "--apply")
		_ = s.psql(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active").Run()
		err = errors.Join(err, failed)
	}()
	if _, err := run("run", "--until-idle"); err != nil {
		return got, err
	}
	for i := range 20 {
		sql := fmt.Sprintf("update changing set n = n + 1, at = now() where id %% 20 = %d", i)
		if out, err := s.psql(ctx, sql).CombinedOutput(); err != nil {
			return got, fmt.Errorf("%s: %w: %s", sql, err, out)
		}
	}
	before, err := s.serverCPU()
	if err != nil {
		return got, err
	}
	began := time.Now()
	cmd, err := run("run", "--until-idle")
	if err != nil {
		return got, err
	}
	got = sample{Rows: changingRows, Wall: time.Since(began), CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		got.Peak = usage.Maxrss << 10
	}
	after, err := s.serverCPU()
	if err != nil {
		return got, err
	}
	seen := newVisible(filepath.Join(dir, "lake", "changing"))
	if err := seen.look(); err != nil || seen.rows != 2*changingRows {
		return got, fmt.Errorf("%d rows are in the lake: %w", seen.rows, err)
	}
	got.Figures = map[string]float64{"server": (after - before).Seconds()}
	return got, s.pace(ctx, program, dir, seen, got.Figures)
}

// visible counts the rows of a table's files.
type visible struct {
	root  string
	known map[string]bool
	rows  int64
}

func newVisible(root string) *visible { return &visible{root: root, known: map[string]bool{}} }

func (v *visible) look() error {
	return filepath.WalkDir(v.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || v.known[path] {
			return err
		}
		f, err := os.Open(path) //nolint:gosec // as above
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		file, err := parquet.Open(f, info.Size())
		if err != nil {
			return err
		}
		v.known[path] = true
		v.rows += file.Rows()
		return nil
	})
}

// pace runs the program beside a writer, and measures how long each transaction takes to the lake that is committed after the first was
// there: the program's start is no part of it.
func (s *pgServer) pace(ctx context.Context, program, dir string, seen *visible, figures map[string]float64) (err error) {
	cmd := exec.CommandContext(ctx, program, "run") //nolint:gosec // our own program
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), ended(cmd.Wait())) }()
	writer := s.command(ctx, "psql", "-X", "-q", "-A", "-t", "-d", s.dsn())
	in, err := writer.StdinPipe()
	if err != nil {
		return err
	}
	out, err := writer.StdoutPipe()
	if err != nil {
		return err
	}
	if err := writer.Start(); err != nil {
		return err
	}
	answers := bufio.NewReader(out)
	base, commits, latencies, warm := seen.rows, []time.Time{}, []float64{}, 0
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for late := time.Now().Add(2 * time.Minute); warm == 0 || len(latencies) < warm+paceTimes; <-tick.C {
		if n := len(commits); warm == 0 || n < warm+paceTimes {
			lo := n * paceRows * 20 % changingRows
			if _, err := fmt.Fprintf(in, "update changing set n = n + 1, at = now() where id > %d and id <= %d;\n\\echo done\n", lo, lo+paceRows); err != nil {
				return err
			}
			if line, err := answers.ReadString('\n'); err != nil || strings.TrimSpace(line) != "done" {
				return fmt.Errorf("writer: %q: %w", line, err)
			}
			commits = append(commits, time.Now())
		}
		if err := seen.look(); err != nil {
			return err
		}
		for len(latencies) < len(commits) && seen.rows-base >= int64(paceRows*(len(latencies)+1)) {
			latencies = append(latencies, time.Since(commits[len(latencies)]).Seconds())
		}
		if warm == 0 && len(latencies) > 0 {
			warm = len(commits)
		}
		if time.Now().After(late) {
			return fmt.Errorf("%d of %d transactions are in the lake", len(latencies), len(commits))
		}
	}
	latencies = latencies[warm:]
	slices.Sort(latencies)
	figures["p50"], figures["p99"] = latencies[len(latencies)/2], latencies[len(latencies)*99/100]
	return errors.Join(in.Close(), drained(answers), writer.Wait())
}

func drained(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// ended takes the end by our signal for none.
func ended(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 128+int(syscall.SIGTERM) {
		return nil
	}
	return err
}
