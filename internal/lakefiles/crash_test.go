//go:build unix

package lakefiles_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

// childMark makes the test binary a process that swaps files until it is killed: its value is the lake.
const childMark = "ACEQUIA_LAKEFILES_CHILD"

func TestMain(m *testing.M) {
	if root := os.Getenv(childMark); root != "" {
		if err := child(root); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

const table = "games"

// child merges all files of the table into one, again and again. It dies at the nth time that it comes to a point.
func child(root string) error {
	at, number, _ := strings.Cut(os.Getenv("AT"), ":")
	left, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	dir, err := blob.Open(root)
	if err != nil {
		return err
	}
	for {
		err := merge(dir, 0, func(point string) {
			if point != at {
				return
			}
			if left--; left == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		})
		if err != nil {
			return err
		}
	}
}

// merge replaces the files of the table by one with the same lines, and deletes what is due.
func merge(dir *blob.Dir, grace time.Duration, probe func(string)) error {
	t, err := lakefiles.Lock(context.Background(), dir, table)
	if err != nil {
		return err
	}
	defer t.Close()
	t.Probe = probe
	_, _, sweepErr := t.Sweep(context.Background(), time.Now())
	inputs, err := lakefiles.List(context.Background(), blob.Within(dir.Root()), table)
	if err = errors.Join(err, sweepErr); err != nil {
		return err
	}
	if grace == 0 {
		resting, err := lakefiles.Resting(context.Background(), blob.Within(dir.Root()), table)
		if err != nil {
			return err
		}
		inputs = slices.DeleteFunc(inputs, func(name string) bool { return resting[name] })
	}
	if len(inputs) > 0 {
		id := lakefiles.NewID(time.Now())
		output, err := stage(dir, t, id, inputs)
		if err != nil {
			return err
		}
		if err := t.Swap(context.Background(), id, inputs, []blob.Publication{output}, grace); err != nil {
			return err
		}
	}
	_, _, err = t.Sweep(context.Background(), time.Now())
	return err
}

func stage(dir *blob.Dir, t *lakefiles.Table, id string, inputs []string) (blob.Publication, error) {
	f, err := t.Create(context.Background(), path.Dir(inputs[0])+"/"+id+".parquet")
	if err != nil {
		return blob.Publication{}, err
	}
	for _, name := range inputs {
		text, err := os.ReadFile(filepath.Join(dir.Root(), name))
		if err != nil {
			return blob.Publication{}, err
		}
		if _, err := f.Write(text); err != nil {
			return blob.Publication{}, err
		}
	}
	var sealer blob.Sealer
	err = errors.Join(sealer.Seal(context.Background(), f), sealer.Wait())
	return f.Publication(), err
}

// publish writes a file of one line, as a pipeline does.
func publish(dir *blob.Dir, n int) error {
	f, err := dir.Create(fmt.Sprintf("_staging/%d.tmp", n))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "row %d\n", n)
	var sealer blob.Sealer
	if err = errors.Join(err, sealer.Seal(context.Background(), f), sealer.Wait()); err != nil {
		return err
	}
	final := fmt.Sprintf("%s/dt=2026-11-%02d/p-%d.parquet", table, 1+n%3, n)
	return dir.Publish(context.Background(), []blob.Publication{{Staged: f.Name, Final: final, Digest: f.Digest()}})
}

// counted says how often each line stands in files.
func counted(root string, names []string) (map[string]int, error) {
	out := map[string]int{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			out[line]++
		}
	}
	return out, nil
}

// raw gives every file that is there.
func raw(t *testing.T, root string) (names []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), table, func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// whole checks that readers find rows [0,rows) once each, and that the bare folder has each once or twice.
func whole(t *testing.T, root, when string, rows int) {
	t.Helper()
	live, err := lakefiles.List(context.Background(), blob.Within(root), table)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	seen, err := counted(root, live)
	if err != nil {
		t.Fatalf("%s: a file that counts cannot be read: %v", when, err)
	}
	bare, err := counted(root, raw(t, root))
	if err != nil {
		t.Fatal(err)
	}
	for n := range rows {
		line := fmt.Sprintf("row %d\n", n)
		if seen[line] != 1 || bare[line] < 1 || bare[line] > 2 {
			t.Fatalf("%s: %q is %d times in the files that count, %d times in the folder", when, line, seen[line], bare[line])
		}
	}
	if len(seen) != rows {
		t.Fatalf("%s: %d rows, want %d", when, len(seen), rows)
	}
}

func start(t *testing.T, root, at string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(context.Background(), os.Args[0])
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childMark+"="+root, "AT="+at)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// A process that dies at any point of a swap leaves every row once for readers, and the next one goes on.
func TestAProcessThatDiesAtAPoint(t *testing.T) {
	t.Parallel()
	for _, point := range lakefiles.Points() {
		for _, nth := range []int{1, 2, 4} {
			t.Run(fmt.Sprintf("%s-%d", point, nth), func(t *testing.T) {
				t.Parallel()
				dir := openDir(t)
				for n := range 5 {
					if err := publish(dir, n); err != nil {
						t.Fatal(err)
					}
				}
				c := start(t, dir.Root(), fmt.Sprintf("%s:%d", point, nth))
				var exit *exec.ExitError
				if err := c.Wait(); !errors.As(err, &exit) || exit.Success() || exit.Exited() {
					t.Fatalf("the child was not killed: %v", err)
				}
				whole(t, dir.Root(), "after the death", 5)
				if err := publish(dir, 5); err != nil {
					t.Fatal(err)
				}
				if err := merge(dir, 0, func(string) {}); err != nil {
					t.Fatal(err)
				}
				whole(t, dir.Root(), "after the next merge", 6)
				clean(t, dir)
			})
		}
	}
}

// clean checks that one file is left, and nothing staged.
func clean(t *testing.T, dir *blob.Dir) {
	t.Helper()
	staged, err := dir.List("_swaps/" + table)
	swaps, swapsErr := lakefiles.Swaps(context.Background(), blob.Within(dir.Root()), table)
	if names := raw(t, dir.Root()); len(names) != 1 || len(staged) > 0 || len(swaps) > 0 || err != nil || swapsErr != nil {
		t.Errorf("files %q, staged %q, swaps %v, %v %v", names, staged, swaps, err, swapsErr)
	}
}

// Processes are killed at random moments while files are published and read all the time.
func TestDeathsWhileAWriterRuns(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	deaths := 12
	if testing.Short() {
		deaths = 4
	}
	stop := make(chan struct{})
	var published atomic.Int64
	var writing sync.WaitGroup
	var failed error
	writing.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for failed == nil {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if failed = publish(dir, int(published.Load())); failed == nil {
				published.Add(1)
			}
		}
	})
	for range deaths {
		c := start(t, dir.Root(), "never:1")
		after := time.NewTimer(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		for looking := true; looking; {
			select {
			case <-after.C:
				looking = false
			default:
				once(t, dir.Root(), int(published.Load()))
			}
		}
		if err := errors.Join(c.Process.Kill(), ignoreExit(c.Wait())); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	writing.Wait()
	if failed != nil {
		t.Fatal(failed)
	}
	whole(t, dir.Root(), "after all deaths", int(published.Load()))
	if err := merge(dir, 0, func(string) {}); err != nil {
		t.Fatal(err)
	}
	whole(t, dir.Root(), "in the end", int(published.Load()))
	clean(t, dir)
}

func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// once looks at the table while it is swapped: the rows that were published before are there, and none twice. There is
// no grace time, so a file may go between the list and the look: that look says nothing.
func once(t *testing.T, root string, published int) {
	t.Helper()
	live, err := lakefiles.List(context.Background(), blob.Within(root), table)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := counted(root, live)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range published {
		if line := fmt.Sprintf("row %d\n", n); seen[line] != 1 {
			t.Fatalf("%q is there %d times", line, seen[line])
		}
	}
}
