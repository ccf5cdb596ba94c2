//go:build linux

package blob_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
)

// childJob holds what a test binary that was started as a child has to do.
const childJob = "ACEQUIA_BLOB_CHILD"

type job struct {
	Root    string
	Add     int // to _tables/n.json, one by one
	Publish []blob.Publication
}

// TestMain makes the binary a child when it is asked to be one.
func TestMain(m *testing.M) {
	if text := os.Getenv(childJob); text != "" {
		if err := work(text); err != nil {
			fmt.Println(fault.Of(err), err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(awstest.Main(m, func(s *awstest.Server) { moto = s }))
}

func work(text string) error {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	d, err := blob.Open(j.Root)
	if err != nil {
		return err
	}
	for range j.Add {
		if err := d.Update(context.Background(), "_tables/n.json", add); err != nil {
			return err
		}
	}
	return d.Publish(context.Background(), j.Publish)
}

// run does a job in a process of its own, and gives what it printed.
func run(t *testing.T, j job, attributes *syscall.SysProcAttr) (string, error) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		return "", err
	}
	child := exec.CommandContext(context.Background(), "/proc/self/exe") // a user without rights may not be able to reach the path
	child.Env = append(os.Environ(), childJob+"="+string(text))
	child.SysProcAttr = attributes
	out, err := child.CombinedOutput()
	return string(out), err
}

func TestAnotherProcessPublishes(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	files := stage(t, d, "one", "two", "three")
	halfWay()["one removed"](t, d, files)
	if out, err := run(t, job{Root: d.Root(), Publish: files}, nil); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	published(t, d, files, "one", "two", "three")
}

func TestUpdatesOfOtherProcessesAreKept(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	const processes, each = 3, 60
	errs := make([]error, processes)
	var all sync.WaitGroup
	for i := range processes {
		all.Go(func() {
			out, err := run(t, job{Root: d.Root(), Add: each}, nil)
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			errs[i] = err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got, want := content(t, d, "_tables/n.json"), strconv.Itoa(processes*each); got != want {
		t.Errorf("%s updates of %s are left", got, want)
	}
}

// nobody starts a child as a user that has rights only where everybody has. Who is not root has none already.
func nobody() *syscall.SysProcAttr {
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

// A staged name goes only after the final name is on disk: in a folder that cannot be opened, so that it cannot be
// synced, files can be linked but their staged names must stay.
func TestPublishRemovesNothingThatIsNotSynced(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	files := stage(t, d, "one", "two")
	if err := d.Publish(context.Background(), files); err != nil {
		t.Fatal(err)
	}
	files = stage(t, d, "three", "four")
	for i := range files {
		files[i].Final = filepath.Dir(files[i].Final) + "/g.parquet"
	}
	locked := filepath.Join(d.Root(), filepath.Dir(files[0].Final))
	allow(t, d.Root())
	if err := os.Chmod(locked, 0o333); err != nil {
		t.Fatal(err)
	}
	out, err := run(t, job{Root: d.Root(), Publish: files}, nobody())
	if err == nil || !strings.HasPrefix(out, "retryable ACQ-LAKE-002") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.Chmod(locked, 0o777); err != nil {
		t.Fatal(err)
	}
	if !exists(t, d, files[0].Final) {
		t.Fatal("the file was not linked: the test shows nothing")
	}
	for _, f := range files {
		if !exists(t, d, f.Staged) {
			t.Errorf("%s is gone", f.Staged)
		}
	}
	if out, err := run(t, job{Root: d.Root(), Publish: files}, nobody()); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	published(t, d, files, "three", "four")
}

// allow lets everybody do everything below a folder, and come to it.
func allow(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, map[bool]os.FileMode{true: 0o777, false: 0o666}[e.IsDir()])
	})
	if err := errors.Join(err, os.Chmod(filepath.Dir(root), 0o711)); err != nil {
		t.Fatal(err)
	}
}

// TestLocks holds locks with others, and alone.
func TestLocks(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	blobtest.Locks(t, open(t, root), open(t, root))
	blobtest.LocksOfMany(t, open(t, root), open(t, root), open(t, root))
}

func TestFolders(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	blobtest.Folders(t, d, func(name string) {
		if err := d.Update(t.Context(), name, func([]byte) ([]byte, error) { return []byte("x"), nil }); err != nil {
			t.Fatal(err)
		}
	})
}
