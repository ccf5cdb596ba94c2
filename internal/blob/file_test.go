package blob_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/internal/blob"
)

func create(t *testing.T, d *blob.Dir, name string) *blob.File {
	t.Helper()
	f, err := d.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAFileKnowsItsBytesAndDigest(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	f := create(t, d, "a/b=1/f")
	for range 3 {
		if n, err := f.Write([]byte("acequia\x00")); n != 8 || err != nil {
			t.Fatal(n, err)
		}
	}
	var sealer blob.Sealer
	if err := errors.Join(sealer.Seal(t.Context(), f), sealer.Wait()); err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("acequia\x00", 3)
	if got := content(t, d, "a/b=1/f"); got != want || f.Bytes != int64(len(want)) {
		t.Errorf("%q, %d bytes", got, f.Bytes)
	}
	if digest := fmt.Sprintf("%016x", xxhash.Sum64String(want)); f.Digest() != digest {
		t.Errorf("digest %s, want %s", f.Digest(), digest)
	}
}

func TestCreateWantsANewName(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	f := create(t, d, "staged/f")
	if _, err := f.Write([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, other := range []*blob.Dir{d, open(t, d.Root())} {
		if _, err := other.Create("staged/f"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("a name that is there: %v", err)
		}
	}
	if got := content(t, d, "staged/f"); got != "mine" {
		t.Errorf("the file became %q", got)
	}
}

// More files than are sealed side by side, two of which cannot be: their descriptors are closed.
func TestTheSealerSealsAllAndGivesTheFirstFailure(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	var sealer blob.Sealer
	var files []*blob.File
	for i := range 50 {
		f := create(t, d, fmt.Sprintf("staged/%d", i))
		files = append(files, f)
		if i == 5 || i == 30 {
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
		err := sealer.Seal(t.Context(), f)
		if i < 5 && err != nil {
			t.Fatalf("file %d: %v", i, err)
		}
		if i == 29 {
			err = sealer.Wait() // the first failure is in before the second is made
		}
		if i >= 29 && !ofTheFirst(err) {
			t.Errorf("file %d: got %v, want the failure of the first", i, err)
		}
	}
	for range 2 {
		if err := sealer.Wait(); !ofTheFirst(err) {
			t.Errorf("in the end: %v, want the failure of the first", err)
		}
	}
	for _, f := range files {
		if _, err := f.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s is open: %v", f.Name, err)
		}
		if _, err := os.Stat(filepath.Join(d.Root(), f.Name)); err != nil {
			t.Error(err)
		}
	}
}

func ofTheFirst(err error) bool {
	return errors.Is(err, os.ErrClosed) && strings.Contains(err.Error(), "staged/5")
}
