//go:build unix

package blob_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

// TestLockOfOneThatStandsStill takes a lock file that nobody has written for a minute from holders that live, alone and shared. They do
// not disturb who has it now when they go on.
func TestLockOfOneThatStandsStill(t *testing.T) {
	t.Parallel()
	const name = "locks/one"
	for how, try := range map[string]func(d *blob.Dir) (func(), bool, error){
		"alone":  func(d *blob.Dir) (func(), bool, error) { return d.TryLock(t.Context(), name) },
		"shared": func(d *blob.Dir) (func(), bool, error) { return d.TryShare(t.Context(), name) },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			one := open(t, t.TempDir())
			other := open(t, one.Root())
			take := func(want bool) func() {
				t.Helper()
				unlock, held, err := other.TryLock(t.Context(), name)
				if err != nil || held != want {
					t.Fatalf("held %t, %v, want %t", held, err, want)
				}
				return unlock
			}
			frozen, held, err := try(one)
			if err != nil || !held {
				t.Fatal(held, err)
			}
			still(t, one, name, 50*time.Second)
			take(false)
			still(t, one, name, 61*time.Second)
			unlock := take(true)
			take(false)
			frozen()
			take(false)
			if _, held, err := try(one); held || err != nil {
				t.Errorf("held %t, %v by the one that has lost it", held, err)
			}
			unlock()
			take(true)()
			files, err := os.ReadDir(filepath.Join(one.Root(), "locks"))
			if err != nil || len(files) != 1 {
				t.Errorf("left: %v, %v", files, err)
			}
		})
	}
}

// still makes a lock file look as if its holder had stood still.
func still(t *testing.T, d *blob.Dir, name string, since time.Duration) {
	t.Helper()
	then := time.Now().Add(-since)
	if err := os.Chtimes(filepath.Join(d.Root(), name), then, then); err != nil {
		t.Fatal(err)
	}
}

// TestLockBeats holds a lock that looks as if nobody had written it for an hour: its holder does so before anybody may take it.
func TestLockBeats(t *testing.T) {
	t.Parallel()
	one := open(t, t.TempDir())
	other := open(t, one.Root())
	synctest.Test(t, func(t *testing.T) {
		unlock, held, err := one.TryLock(t.Context(), "l")
		if err != nil || !held {
			t.Fatal(held, err)
		}
		defer unlock()
		long := realNow(t, one).Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(one.Root(), "l"), long, long); err != nil {
			t.Fatal(err)
		}
		<-time.After(16 * time.Second)
		synctest.Wait()
		before := realNow(t, one)
		info, err := os.Stat(filepath.Join(one.Root(), "l"))
		if err != nil || before.Sub(info.ModTime()) > 10*time.Second {
			t.Errorf("last written at %s, now it is %s, %v", info.ModTime(), before, err)
		}
		if _, held, err := other.TryLock(t.Context(), "l"); held || err != nil {
			t.Errorf("held %t, %v beside its holder", held, err)
		}
	})
}

// TestWaitForAFolder waits for a folder that another process holds and does not let go: until the context ends, and for a minute.
func TestWaitForAFolder(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	synctest.Test(t, func(t *testing.T) {
		f, err := os.Open(d.Root())
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := d.Update(short, "n", add); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		_, held, err := d.TryLock(t.Context(), "l")
		if held || fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-LAKE-003" || !strings.Contains(err.Error(), d.Root()) {
			t.Errorf("held %t, %v", held, err)
		}
		again := time.AfterFunc(10*time.Second, func() { _ = f.Close() })
		defer again.Stop()
		if err := d.Update(t.Context(), "n", add); err != nil {
			t.Error(err)
		}
	})
}

// realNow is the clock of the file system.
func realNow(t *testing.T, d *blob.Dir) time.Time {
	t.Helper()
	path := filepath.Join(d.Root(), "now")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}
