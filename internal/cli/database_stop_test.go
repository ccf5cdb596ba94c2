package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/routers"
)

// tableLines is how many rows the table has: several times the groups, each of 10,000 rows, that there are points to be stopped at.
const tableLines = 600_000

const tableProject = `version: 1
sources:
  lines: { type: postgres, dsn: "%s", capture: { strategy: xmin, every: 200ms } }
sinks:
  lake: { type: lake, url: lake, roll: { every: 200ms } }
pipelines:
  lines: { from: lines, to: [lake] }
`

// newTableRun is a folder with a project over a table of a PostgreSQL of its own.
func newTableRun(t *testing.T) *fileRun {
	t.Helper()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn := server.Database(t, "create table lines (id bigint primary key, name text)",
		fmt.Sprintf("insert into lines select i, md5(i::text) from generate_series(0, %d) i", tableLines-1), "analyze lines")
	r := &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}}
	for id := range int64(tableLines) {
		r.rows[id] = true
	}
	r.write(t, "lines.yaml", fmt.Appendf(nil, tableProject, dsn))
	return r
}

// running is a child whose output can be looked at.
type running struct {
	*exec.Cmd
	done chan struct{} // closed when it has ended

	mu  sync.Mutex
	out bytes.Buffer
}

func (c *running) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *running) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

// start starts the program on the project. It does not live longer than the test.
func (r *fileRun) start(t *testing.T, o order, args ...string) *running {
	t.Helper()
	o.Dir = r.dir
	return r.launch(t, o, args...)
}

func (r *fileRun) launch(t *testing.T, o order, args ...string) *running {
	t.Helper()
	if err := os.RemoveAll(o.held()); err != nil { // of the child before
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &running{Cmd: exec.CommandContext(t.Context(), self, args...), done: make(chan struct{})}
	c.Dir, c.Env, c.Stdout, c.Stderr = r.dir, o.environment(), c, c
	if len(o.Disks) > 0 {
		c.SysProcAttr = ownMounts()
	}
	if err := c.Start(); err != nil {
		without(t, "a namespace of mounts cannot be made here: ", err)
	}
	go func() {
		defer close(c.done)
		_ = c.Wait()
	}()
	return c
}

// until waits for something that must come before the child's end, or with nil for its end, and gives the exit code then.
func (c *running) until(t *testing.T, what func() bool) int {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(5 * time.Minute)
	for {
		select {
		case <-c.done:
			if code := c.ProcessState.ExitCode(); what == nil || code == exitUnmounted {
				return code
			}
			t.Fatalf("it ended: %s", c.said())
		case <-tick.C:
			if what != nil && what() {
				return 0
			}
		case <-late:
			t.Fatalf("it does not come: %s", c.said())
		}
	}
}

func (c *running) signal(t *testing.T, signals ...syscall.Signal) {
	t.Helper()
	for _, s := range signals {
		if err := c.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
}

// isHeld says whether the child waits where it was told to.
func (r *fileRun) isHeld() bool { return order{Dir: r.dir}.isHeld() }

func (o order) isHeld() bool {
	_, err := os.Stat(o.held())
	return err == nil
}

// TestDatabaseRunIsStopped stops runs over a table by SIGTERM at each point of a lane's life, at their start, and while they follow: each
// stops in order, and in the end every row is in the lake once.
func TestDatabaseRunIsStopped(t *testing.T) {
	t.Parallel()
	r := newTableRun(t)
	stop := func(o order, want int, args ...string) {
		t.Helper()
		c := r.start(t, o, append(args, "lines.yaml")...)
		c.until(t, r.isHeld)
		c.signal(t, syscall.SIGTERM, syscall.SIGCONT)
		if code := c.until(t, nil); code != want {
			t.Fatalf("%+v: exit code %d: %s", o, code, c.said())
		}
	}
	for _, point := range routers.Points() {
		if point == "in-recovery" { // an orderly stop leaves nothing to recover
			continue
		}
		stop(order{HoldAt: "lines/" + point + ":1"}, exitFailed, "backfill", "--resume") // one lane: no other goes on meanwhile
	}
	code, _, output, err := r.command(t.Context(), order{}, 0, "run", "--until-idle", "lines.yaml")
	if err != nil || code != exitOK {
		t.Fatal(code, err, output)
	}
	stop(order{HoldAt: "lines/after-recovery:1"}, exitOK, "run") // only the lane that follows is left
	if lost, doubled := r.differences(t); lost > 0 || doubled > 0 {
		t.Errorf("%d rows lost, %d doubled", lost, doubled)
	}
}

// TestDatabaseOnAFullDisk fills the lake's disk in the middle of a backfill: it waits, says why, and goes on when there is space.
func TestDatabaseOnAFullDisk(t *testing.T) {
	t.Parallel()
	r := newTableRun(t)
	kept := filepath.Join(t.TempDir(), "kept")
	c := r.start(t, order{
		HoldAt: "lines/accepted:3", Disks: []disk{{Path: filepath.Join(r.dir, "lake"), Size: "64m", Keep: kept}},
	}, "run", "--until-idle", "lines.yaml")
	if c.until(t, r.isHeld) == exitUnmounted {
		without(t, "a disk cannot be mounted here: ", c.said())
	}
	b := ballast{fmt.Sprintf("/proc/%d/root%s/lake/ballast", c.Process.Pid, r.dir)}
	if err := b.fill(); err != nil {
		t.Fatal(err)
	}
	c.signal(t, syscall.SIGCONT)
	c.until(t, func() bool { return strings.Contains(c.said(), "ACQ-LAKE-001") })
	if err := b.free(); err != nil {
		t.Fatal(err)
	}
	if code := c.until(t, nil); code != exitOK {
		t.Fatal(code, c.said())
	}
	if err := os.Rename(kept, filepath.Join(r.dir, "lake-kept")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(filepath.Join(r.dir, "lake")), os.Rename(filepath.Join(r.dir, "lake-kept"), filepath.Join(r.dir, "lake"))); err != nil {
		t.Fatal(err)
	}
	if lost, doubled := r.differences(t); lost > 0 || doubled > 0 {
		t.Errorf("%d rows lost, %d doubled", lost, doubled)
	}
}
