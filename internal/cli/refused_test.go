package cli

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// once runs the program until it ends by itself, and gives its exit code and what it wrote. One that goes on is killed
// after half a minute: the code is -1.
func once(ctx context.Context, o order, args ...string) (code int, out string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := command(ctx, o, args...)
	if err != nil {
		return 0, "", err
	}
	err = c.Run()
	if c.ProcessState == nil {
		return 0, "", err
	}
	return c.ProcessState.ExitCode(), c.out.String(), nil
}

// leftBehind makes a directory as a register leaves it that was stopped in order.
func leftBehind(t *testing.T) string {
	t.Helper()
	r := newRegister(t)
	c, err := r.start(order{})
	if err != nil {
		t.Fatal(err)
	}
	r.burst("game", games)()
	if err := errors.Join(r.catchUp(c), c.end(syscall.SIGTERM), r.compare()); err != nil {
		t.Fatal(err)
	}
	return r.dir
}

// spoil does something to a file of a register.
type spoil func(t *testing.T, path string)

func overwritten(at int64, with string) spoil {
	return func(t *testing.T, path string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // of the test
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt([]byte(with), at)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func truncated(size int64) spoil {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

func pragma(statement string) spoil {
	return func(t *testing.T, path string) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.ExecContext(t.Context(), "pragma "+statement)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func folder(t *testing.T, path string) {
	t.Helper()
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
}

// TestSpoiledStateIsRefused starts the program on files that are damaged, newer or another program's: it says which and
// what to do, ends with 3, and changes none of them.
func TestSpoiledStateIsRefused(t *testing.T) {
	t.Parallel()
	whole := leftBehind(t)
	noise := strings.Repeat("\xa5", 3000)
	for _, c := range []struct {
		name, file string
		spoil      spoil
		code       string
	}{
		{"state, no database", "state.db", overwritten(0, noise), "ACQ-STATE-001"},
		{"state, a damaged page", "state.db", overwritten(4096, noise), "ACQ-STATE-001"},
		{"state, half of it", "state.db", truncated(9000), "ACQ-STATE-001"},
		{"state, newer", "state.db", pragma("user_version = 99"), "ACQ-STATE-002"},
		{"state, of another program", "state.db", pragma("application_id = 99"), "ACQ-STATE-003"},
		{"state, a folder", "state.db", folder, "ACQ-STATE-006"},
		{"items, no database", "items.db", overwritten(0, noise), "ACQ-ITEMS-001"},
		{"items, a damaged page", "items.db", overwritten(4096, noise), "ACQ-ITEMS-001"},
		{"items, half of it", "items.db", truncated(9000), "ACQ-ITEMS-001"},
		{"items, newer", "items.db", pragma("user_version = 99"), "ACQ-ITEMS-002"},
		{"items, of another program", "items.db", pragma("application_id = 99"), "ACQ-ITEMS-001"},
		{"items, a folder", "items.db", folder, "ACQ-ITEMS-001"},
		{"lake, its description", "lake/_tables/videogames.json", overwritten(0, "{{"), "ACQ-LAKE-012"},
	} {
		dir := filepath.Join(t.TempDir(), "state")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		c.spoil(t, filepath.Join(dir, filepath.FromSlash(c.file)))
		before := contents(t, dir)
		code, out, err := once(t.Context(), order{}, "demo", "--dir", dir, "--port", "0")
		if err != nil || code != exitEnvironment || !strings.Contains(out, "✗ "+c.code) || !strings.Contains(out, "→") {
			t.Errorf("%s: want %s and exit code %d: %d, %v\n%s", c.name, c.code, exitEnvironment, code, err, out)
		}
		if len(before) < 4 {
			t.Fatalf("%s: only %d files are compared", c.name, len(before))
		}
		after := contents(t, dir)
		for name, text := range before {
			if !bytes.Equal(text, after[name]) {
				t.Errorf("%s: %s was changed", c.name, name)
			}
		}
	}
}

// contents reads all files of a directory.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		out[path], err = os.ReadFile(path) //nolint:gosec // of the test
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSecondProcessIsRefused starts a second program on the directory of one that works.
func TestSecondProcessIsRefused(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	first, err := r.start(order{})
	if err != nil {
		t.Fatal(err)
	}
	wait := r.burst("game", games)
	for _, port := range []string{"0", freePort(t)} {
		code, out, err := once(t.Context(), order{}, "demo", "--dir", r.dir, "--port", port)
		holder := fmt.Sprintf("process %d at http://localhost", first.Process.Pid)
		if err != nil || code != exitEnvironment || !strings.Contains(out, "ACQ-ENV-002") || !strings.Contains(out, holder) {
			t.Errorf("want ACQ-ENV-002, %q and exit code %d: %d, %v\n%s", holder, exitEnvironment, code, err, out)
		}
	}
	wait()
	if code, out, err := once(t.Context(), order{}, "status", "--dir", r.dir); err != nil || code != exitOK || strings.Count(out, "running") != 2 {
		t.Errorf("status after it: %d, %v\n%s", code, err, out)
	}
	if err := errors.Join(r.catchUp(first), first.end(syscall.SIGTERM), r.compare()); err != nil {
		t.Error(err)
	}
}
