package blob_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err   error
		class fault.Class
		code  string
	}{
		{&fs.PathError{Op: "write", Err: syscall.ENOSPC}, fault.Retryable, "ACQ-LAKE-001"},
		{syscall.EDQUOT, fault.Retryable, "ACQ-LAKE-001"},
		{&os.LinkError{Op: "link", Err: syscall.EACCES}, fault.Retryable, "ACQ-LAKE-002"},
		{syscall.EPERM, fault.Retryable, "ACQ-LAKE-002"},
		{syscall.EROFS, fault.Retryable, "ACQ-LAKE-002"},
		{syscall.EIO, fault.Retryable, "ACQ-LAKE-003"},
		{syscall.EMFILE, fault.Retryable, "ACQ-LAKE-003"},
		{io.ErrShortWrite, fault.Retryable, "ACQ-LAKE-003"},
		{&fs.PathError{Op: "open", Err: syscall.ENAMETOOLONG}, fault.Fatal, "ACQ-LAKE-004"},
		{syscall.ENOTDIR, fault.Fatal, "ACQ-LAKE-004"},
		{syscall.EISDIR, fault.Fatal, "ACQ-LAKE-004"},
	} {
		err := blob.Classify("the/place", fmt.Errorf("do it: %w", c.err))
		if fault.Of(err) != c.class || fault.Code(err) != c.code {
			t.Errorf("%v: got %v %s, want %v %s", c.err, fault.Of(err), fault.Code(err), c.class, c.code)
		}
		if !errors.Is(err, c.err) || !strings.Contains(err.Error(), "the/place") {
			t.Errorf("%v: lost in %v", c.err, err)
		}
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Remedy == "" {
			t.Errorf("%v: no remedy", c.err)
		}
	}
	if err := blob.Classify("the/place", nil); err != nil {
		t.Errorf("no error became %v", err)
	}
}

// The file system itself says what stands in the way.
func TestWhatWaitingCannotMendIsFatal(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	if err := os.WriteFile(filepath.Join(d.Root(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, long := d.Create("staged/" + strings.Repeat("x", 300))
	_, inside := d.Create("file/f")
	_, below := d.Create("file/folder/f")
	_, root := blob.Open(filepath.Join(d.Root(), "file"))
	_, folder := d.Folder("file")
	for name, err := range map[string]error{"a long name": long, "in a file": inside, "below a file": below, "a root that is a file": root, "a folder that is a file": folder} {
		if fault.Of(err) != fault.Fatal || fault.Code(err) != "ACQ-LAKE-004" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesInAFolder(t *testing.T) {
	t.Parallel()
	d := open(t, filepath.Join(t.TempDir(), "made", "by=open"))
	if names, err := d.List("none"); err != nil || len(names) > 0 {
		t.Errorf("a folder that is not there: %q, %v", names, err)
	}
	for _, name := range []string{"f/b=1", "f/a ñ", "f/folder/c"} {
		if err := create(t, d, name).Close(); err != nil {
			t.Fatal(err)
		}
	}
	names, err := d.List("f")
	if want := []string{"a ñ", "b=1"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("got %q, %v, want %q", names, err, want)
	}
	for range 2 {
		if err := d.Remove(t.Context(), "f/b=1"); err != nil {
			t.Errorf("remove: %v", err)
		}
	}
	if exists(t, d, "f/b=1") || !exists(t, d, "f/a ñ") || exists(t, d, "none/f") {
		t.Error("what is there is not what should be")
	}
	if err := d.SyncFolder("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("sync of a folder that is not there: %v", err)
	}
}

// add puts the next number into a small file.
func add(old []byte) ([]byte, error) {
	n, err := strconv.Atoi(cmp.Or(string(old), "0"))
	return []byte(strconv.Itoa(n + 1)), err
}

func TestUpdatesOfAllAreKept(t *testing.T) {
	t.Parallel()
	first := open(t, t.TempDir())
	dirs := []*blob.Dir{first, open(t, first.Root())} // the second as another process would have it
	const goroutines, each = 4, 25
	errs := make(chan error, len(dirs)*goroutines*each)
	var all sync.WaitGroup
	for _, d := range dirs {
		for range goroutines {
			all.Go(func() {
				for range each {
					errs <- d.Update(t.Context(), "_tables/n.json", add)
				}
			})
		}
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := content(t, first, "_tables/n.json"), strconv.Itoa(cap(errs)); got != want {
		t.Errorf("%s updates of %s are left", got, want)
	}
}

// A reader that does not wait for the lock sees whole contents only.
func TestAReaderSeesTheOldOrTheNew(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 70_000)}
	update := func(i int) error {
		return d.Update(t.Context(), "f", func([]byte) ([]byte, error) { return contents[i%2], nil })
	}
	if err := update(0); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		for i := range 50 {
			if err := update(i); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for {
		select {
		case err := <-written:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		if got := []byte(content(t, d, "f")); !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("a reader saw %d bytes", len(got))
		}
	}
}

func TestUpdateThatChangesNothing(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	no := errors.New("no")
	if err := d.Update(t.Context(), "f", func(old []byte) ([]byte, error) { return []byte("half"), no }); !errors.Is(err, no) || exists(t, d, "f") {
		t.Errorf("a change that failed: %v", err)
	}
	if err := d.Update(t.Context(), "f", func(old []byte) ([]byte, error) {
		if old != nil {
			t.Errorf("a file that is not there has %q", old)
		}
		return []byte{}, nil
	}); err != nil || !exists(t, d, "f") {
		t.Fatalf("an empty file: %v", err)
	}
	before, err := os.Stat(filepath.Join(d.Root(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Update(t.Context(), "f", func([]byte) ([]byte, error) { return nil, nil }); err != nil { //nolint:nilnil // it says so
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(d.Root(), "f"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the file was replaced: %v", err)
	}
}

func TestUpdateWritesOverWhatACrashLeft(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	folder, err := d.Folder("_tables")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, ".new"), []byte(strings.Repeat("half ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(t.Context(), "_tables/n.json", add); err != nil {
		t.Fatal(err)
	}
	names, err := d.List("_tables")
	if got := content(t, d, "_tables/n.json"); got != "1" || err != nil || !slices.Equal(names, []string{"n.json"}) {
		t.Errorf("got %q in %q, %v", got, names, err)
	}
}
