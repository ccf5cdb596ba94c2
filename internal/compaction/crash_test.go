//go:build unix

package compaction

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
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
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/query"
)

// childMark makes the test binary a process that compacts until it is killed: its value is the folder of a world.
const childMark = "ACEQUIA_COMPACTION_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childMark); dir != "" {
		if err := child(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// child compacts again and again, beside the process that writes, and dies the nth time that it comes to a point.
func child(dir string) error {
	switch os.Getenv("AT") {
	case "full disk":
		return onASmallDisk(dir)
	case "without rights":
		return withoutRights(dir)
	}
	at, number, _ := strings.Cut(os.Getenv("AT"), ":")
	left, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	store, err := checkpoint.OpenToRead(context.Background(), filepath.Join(dir, "state.db"))
	if err != nil {
		return err
	}
	o := Options{Bucket: blob.Within(filepath.Join(dir, "lake")), Lanes: store, Probe: func(point string) {
		if point != at {
			return
		}
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}}
	for {
		if _, err := Compact(context.Background(), o); err != nil {
			return err
		}
	}
}

func startChild(t *testing.T, dir, at string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childMark+"="+dir, "AT="+at)
	c.Stdout = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// exact checks that every row of the committed groups is once in what counts, and once or twice in the folder.
func exact(t *testing.T, w *world, when string, rows int) {
	t.Helper()
	live, _ := w.live(t, "games")
	var bare []string
	err := fs.WalkDir(os.DirFS(w.root), "games", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			bare = append(bare, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := rowsIn(w.root, "games", bare)
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, row := range found {
		times[row]++
	}
	if len(live) != rows || len(slices.Compact(slices.Clone(live))) != rows {
		t.Errorf("%s: %d rows count, %d of them distinct, want %d", when, len(live), len(slices.Compact(slices.Clone(live))), rows)
	}
	for _, row := range live {
		if n := times[row]; n < 1 || n > 2 {
			t.Errorf("%s: %s is in the folder %d times", when, row, n)
		}
	}
}

func TestACompactionThatDiesAtAPoint(t *testing.T) {
	t.Parallel()
	for _, point := range lakefiles.Points() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if err := w.fill(t.Context(), 4, 30, 2); err != nil {
				t.Fatal(err)
			}
			c := startChild(t, filepath.Dir(w.root), point+":1")
			var exit *exec.ExitError
			if err := c.Wait(); !errors.As(err, &exit) || exit.Exited() {
				t.Fatalf("the child was not killed: %v", err)
			}
			exact(t, w, "after the death", 120)
			if err := w.fill(t.Context(), 1, 30, 2); err != nil {
				t.Fatal(err)
			}
			if _, err := Compact(t.Context(), w.options()); err != nil {
				t.Fatal(err)
			}
			exact(t, w, "after the next run", 150)
			if _, files := w.live(t, "games"); len(files) != 2 {
				t.Errorf("files %q", files)
			}
		})
	}
}

// Compactions are killed at random moments while a pipeline commits, dies after it has published, and recovers; and while SQL
// asks. No answer is ever wrong.
func TestDeathsBesideAPipeline(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 1, 30, 2); err != nil {
		t.Fatal(err)
	}
	deaths := 8
	if testing.Short() {
		deaths = 3
	}
	var committed atomic.Int64
	committed.Store(30)
	stop, failed := make(chan struct{}), error(nil)
	var writing sync.WaitGroup
	writing.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for failed == nil {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			failed = w.next(t.Context())
			committed.Add(30)
		}
	})
	engine, err := query.New(query.Config{Lake: w.root})
	if err != nil {
		t.Fatal(err)
	}
	for range deaths {
		c := startChild(t, filepath.Dir(w.root), "never:1")
		after := time.NewTimer(time.Duration(50+rand.IntN(300)) * time.Millisecond)
		for looking := true; looking; {
			select {
			case <-after.C:
				looking = false
			default:
				asked(t, engine, int(committed.Load()))
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
	exact(t, w, "after all deaths", int(committed.Load()))
	if _, err := Compact(t.Context(), w.options()); err != nil {
		t.Fatal(err)
	}
	exact(t, w, "in the end", int(committed.Load()))
	if err := engine.Close(); err != nil {
		t.Error(err)
	}
}

// next commits a group; every third dies after it was published, and is rolled forward.
func (w *world) next(ctx context.Context) error {
	b, err := games(int(w.group)*30, (int(w.group)+1)*30, 2)
	if err != nil {
		return err
	}
	if w.group%3 != 0 {
		return w.commit(ctx, "checkpoint", b)
	}
	if err := w.commit(ctx, "publish", b); err != nil {
		return err
	}
	return w.recover(ctx)
}

func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// asked counts by SQL: no row twice, and all that were committed before. There is no grace time here, so a query may find that
// a file is gone: that answers nothing.
func asked(t *testing.T, engine *query.Engine, committed int) {
	t.Helper()
	if engine.Available() != nil {
		return
	}
	rows, err := engine.Query(t.Context(), query.Request{SQL: "SELECT count(*), count(DISTINCT id) FROM games"})
	if err != nil {
		if !strings.Contains(err.Error(), "No files found") && !strings.Contains(err.Error(), "No such file") && !strings.Contains(err.Error(), "does not exist") {
			t.Fatal(err)
		}
		return
	}
	for rows.Next() {
		all, err := strconv.Atoi(rows.Row()[0].Text)
		if distinct := rows.Row()[1].Text; err != nil || rows.Row()[0].Text != distinct || all < committed {
			t.Fatalf("%d rows, %s distinct, %d were committed before", all, distinct, committed)
		}
	}
	if err := rows.Close(); err != nil {
		t.Logf("a query found a file gone: %v", err)
	}
}
