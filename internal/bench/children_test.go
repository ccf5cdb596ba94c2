// Package bench measures acequia: each figure stands beside a floor that was measured in the same run, on the same
// machine, with the same data. What is measured runs in a process of its own, so that its CPU time and its peak memory
// are its alone.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The environment of a child: which job it runs, and how large.
const (
	jobEnv  = "ACEQUIA_BENCH_JOB"
	sizeEnv = "ACEQUIA_BENCH_SIZE"
)

// job is what a child measures. dir is empty and goes away afterwards.
type job func(ctx context.Context, size int, dir string) (sample, error)

// sample is what one run of a job gave.
type sample struct {
	Rows    int64              `json:"rows"`
	Wall    time.Duration      `json:"wall_ns"`
	CPU     time.Duration      `json:"cpu_ns"`
	Peak    int64              `json:"peak_bytes"` // resident, of the whole process
	Figures map[string]float64 `json:"figures,omitempty"`
}

func jobs() map[string]job {
	return map[string]job{
		"compact":           func(ctx context.Context, n int, dir string) (sample, error) { return compact(ctx, n, dir, false) },
		"compact-shuffled":  func(ctx context.Context, n int, dir string) (sample, error) { return compact(ctx, n, dir, true) },
		"copy-lake":         copyLake,
		"drain-queue":       drainQueue,
		"put-items":         putItems,
		"encode":            encode,
		"engine":            func(ctx context.Context, n int, dir string) (sample, error) { return engine(ctx, n, dir, oneFile()) },
		"engine-no-intents": func(ctx context.Context, n int, dir string) (sample, error) { return engine(ctx, n, dir, noIntents()) },
		"form-floor":        floorServer,
		"read-lake":         readLake,
		"rewrite":           func(ctx context.Context, n int, dir string) (sample, error) { return rewrite(ctx, n, dir, false) },
		"rewrite-merged":    rewriteMerged,
		"rewrite-shuffled":  func(ctx context.Context, n int, dir string) (sample, error) { return rewrite(ctx, n, dir, true) },
		"verify":            func(ctx context.Context, n int, dir string) (sample, error) { return compare(ctx, n, dir, 1) },
		"verify-copies":     func(ctx context.Context, n int, dir string) (sample, error) { return compare(ctx, n, dir, 2) },
		"engine-64":         func(ctx context.Context, n int, dir string) (sample, error) { return engine(ctx, n, dir, open64()) },
		"engine-s3": func(ctx context.Context, n int, dir string) (sample, error) {
			return engine(ctx, n, dir, onS3(oneFile()))
		},
		"engine-s3-64": func(ctx context.Context, n int, dir string) (sample, error) {
			return engine(ctx, n, dir, onS3(open64()))
		},
		"engine-partitions": func(ctx context.Context, n int, dir string) (sample, error) { return engine(ctx, n, dir, byDay()) },
	}
}

func TestMain(m *testing.M) {
	if name := os.Getenv(jobEnv); name != "" {
		os.Exit(child(name))
	}
	os.Exit(m.Run())
}

// child runs one job and prints its sample as the last line.
func child(name string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	got, err := runJob(ctx, name)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(got)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		return 1
	}
	return 0
}

func runJob(ctx context.Context, name string) (got sample, err error) {
	size, err := strconv.Atoi(os.Getenv(sizeEnv))
	do := jobs()[name]
	if err != nil || do == nil {
		return got, fmt.Errorf("no job %q of size %q", name, os.Getenv(sizeEnv))
	}
	dir, err := os.MkdirTemp("", "acequia-bench-")
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if got, err = do(ctx, size, dir); err != nil {
		return got, err
	}
	got.Peak, err = peak(os.Getpid())
	return got, err
}

// meter measures a stretch of a job.
type meter struct {
	began time.Time
	cpu   time.Duration
}

func startMeter() meter { return meter{time.Now(), cpuTime()} }

func (m meter) stop(rows int64) sample {
	return sample{Rows: rows, Wall: time.Since(m.began), CPU: cpuTime() - m.cpu}
}

// cpuTime is what this process has used, the collector and the kernel's work for it included.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peak is the most memory that a process has had, in bytes.
func peak(pid int) (int64, error) { return statusBytes(pid, "VmHWM:") }

// statusBytes reads a line of /proc/PID/status that is in kB.
func statusBytes(pid int, key string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s for process %d", key, pid)
}

// command makes the child that runs a job.
func command(ctx context.Context, name string, size int) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), jobEnv+"="+name, sizeEnv+"="+strconv.Itoa(size))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd, nil
}

// measure runs a job in a child.
func measure(ctx context.Context, name string, size int) (sample, error) {
	var got sample
	cmd, err := command(ctx, name, size)
	if err != nil {
		return got, err
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return got, fmt.Errorf("%w: %s", err, &complaints)
	}
	return got, json.Unmarshal(bytes.TrimSpace(out), &got)
}
