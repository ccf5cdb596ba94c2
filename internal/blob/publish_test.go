package blob_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
)

func open(t *testing.T, root string) *blob.Dir {
	t.Helper()
	d, err := blob.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// stage seals files with these contents, and gives each a final name; the names are those of partitions.
func stage(t *testing.T, d *blob.Dir, contents ...string) []blob.Publication {
	t.Helper()
	var sealer blob.Sealer
	var out []blob.Publication
	for i, content := range contents {
		number := string(rune('0' + i))
		f, err := d.Create("_staging/lane/e1-" + number + ".tmp")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := sealer.Seal(t.Context(), f); err != nil {
			t.Fatal(err)
		}
		out = append(out, blob.Publication{Staged: f.Name, Final: "games/dt=2024-05-0" + number + "/genre=%2F=a/f.parquet", Digest: f.Digest()})
	}
	if err := errors.Join(sealer.Wait(), d.SyncFolder("_staging/lane")); err != nil {
		t.Fatal(err)
	}
	return out
}

func content(t *testing.T, d *blob.Dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.Root(), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func exists(t *testing.T, d *blob.Dir, name string) bool {
	t.Helper()
	found, err := d.Exists(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// published wants every content under its final name, and nothing staged.
func published(t *testing.T, d *blob.Dir, files []blob.Publication, contents ...string) {
	t.Helper()
	for i, f := range files {
		if got := content(t, d, f.Final); got != contents[i] {
			t.Errorf("%s holds %q, want %q", f.Final, got, contents[i])
		}
	}
	if left, err := d.List("_staging/lane"); err != nil || len(left) > 0 {
		t.Errorf("left in the staging folder: %q, %v", left, err)
	}
}

func link(t *testing.T, d *blob.Dir, f blob.Publication) {
	t.Helper()
	if _, err := d.Folder(filepath.ToSlash(filepath.Dir(f.Final))); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(d.Root(), f.Staged), filepath.Join(d.Root(), f.Final)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, d *blob.Dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(d.Root(), name)); err != nil {
		t.Fatal(err)
	}
}

// halfWay are the states in which a process can die while it publishes three files.
func halfWay() map[string]func(t *testing.T, d *blob.Dir, files []blob.Publication) {
	all := func(t *testing.T, d *blob.Dir, files []blob.Publication) {
		t.Helper()
		for _, f := range files {
			link(t, d, f)
		}
	}
	return map[string]func(t *testing.T, d *blob.Dir, files []blob.Publication){
		"nothing done": func(*testing.T, *blob.Dir, []blob.Publication) {},
		"one linked":   func(t *testing.T, d *blob.Dir, files []blob.Publication) { t.Helper(); link(t, d, files[0]) },
		"all linked":   all,
		"one removed": func(t *testing.T, d *blob.Dir, files []blob.Publication) {
			t.Helper()
			all(t, d, files)
			remove(t, d, files[0].Staged)
		},
		"all removed": func(t *testing.T, d *blob.Dir, files []blob.Publication) {
			t.Helper()
			all(t, d, files)
			for _, f := range files {
				remove(t, d, f.Staged)
			}
		},
	}
}

func TestPublishGoesOnWhereAnotherStopped(t *testing.T) {
	t.Parallel()
	for state, reach := range halfWay() {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			dead := open(t, t.TempDir())
			files := stage(t, dead, "one", "two", "three")
			reach(t, dead, files)
			next := open(t, dead.Root())
			for range 2 {
				if err := next.Publish(t.Context(), files); err != nil {
					t.Fatal(err)
				}
				published(t, next, files, "one", "two", "three")
			}
			if err := dead.Publish(t.Context(), files); err != nil { // it was only frozen
				t.Error(err)
			}
		})
	}
}

func TestPublishSideBySide(t *testing.T) {
	t.Parallel()
	first := open(t, t.TempDir())
	files := stage(t, first, "one", "two", "three", "four")
	dirs := []*blob.Dir{first, first, open(t, first.Root()), open(t, first.Root())}
	errs := make([]error, len(dirs))
	var all sync.WaitGroup
	for i, d := range dirs {
		all.Go(func() { errs[i] = d.Publish(t.Context(), files) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	published(t, first, files, "one", "two", "three", "four")
}

// What is staged is removed only when every file has its final name.
func TestPublishRemovesNothingUntilAllIsLinked(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	files := stage(t, d, "one", "two", "three")
	link(t, d, files[2])
	remove(t, d, files[2].Final)
	if err := os.WriteFile(filepath.Join(d.Root(), files[2].Final), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), files); !errors.Is(err, blob.ErrTaken) {
		t.Fatalf("a final name that is taken: %v", err)
	}
	for _, f := range files {
		if !exists(t, d, f.Staged) {
			t.Errorf("%s is gone", f.Staged)
		}
	}
	if got := content(t, d, files[2].Final); got != "other" {
		t.Errorf("what was there became %q", got)
	}
	remove(t, d, files[2].Final)
	if err := d.Publish(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	published(t, d, files, "one", "two", "three")
}

func TestPublishTellsWhatIsGone(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	files := stage(t, d, "one", "two")
	remove(t, d, files[1].Staged)
	if err := d.Publish(t.Context(), files); !errors.Is(err, blob.ErrGone) || errors.Is(err, blob.ErrTaken) {
		t.Fatalf("a staged file that is gone: %v", err)
	}
	if !exists(t, d, files[0].Staged) {
		t.Error("the staged file that is left was removed")
	}
	if exists(t, d, files[0].Final) {
		t.Error("a file can be seen whose group has to be taken back")
	}
	if err := os.WriteFile(filepath.Join(d.Root(), files[1].Final), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Publish(t.Context(), files); !errors.Is(err, blob.ErrTaken) {
		t.Errorf("gone, and its name is taken: %v", err)
	}
}

// Somebody may remove what a lake holds, folders too, while it runs: those of names that come again, and those above
// names that are new.
func TestRemovedFoldersAreMadeAgain(t *testing.T) {
	t.Parallel()
	for name, final := range map[string]string{"the same partition": "games/dt=2024-05-00/genre=%2F=a/f.parquet", "another": "games/dt=2024-06-01/genre=b/f.parquet"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t, t.TempDir())
			if err := d.Publish(t.Context(), stage(t, d, "one")); err != nil {
				t.Fatal(err)
			}
			if err := d.Update(t.Context(), "_tables/n.json", add); err != nil {
				t.Fatal(err)
			}
			files := stage(t, d, "two")
			files[0].Final = final
			for _, folder := range []string{"games", "_tables"} {
				if err := os.RemoveAll(filepath.Join(d.Root(), folder)); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.Publish(t.Context(), files); err != nil {
				t.Fatal(err)
			}
			published(t, d, files, "two")
			if err := errors.Join(os.RemoveAll(filepath.Join(d.Root(), "_tables")), os.RemoveAll(filepath.Join(d.Root(), "_staging"))); err != nil {
				t.Fatal(err)
			}
			if err := d.Update(t.Context(), "_tables/n.json", add); err != nil {
				t.Error(err)
			}
			if err := create(t, d, "_staging/lane/f").Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A root that is gone is not made again: it may be a disk that is not mounted.
func TestARootThatIsGoneIsWaitedFor(t *testing.T) {
	t.Parallel()
	d := open(t, filepath.Join(t.TempDir(), "root"))
	if err := os.Remove(d.Root()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create("staged/f"); fault.Of(err) != fault.Retryable || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("create without a root: %v", err)
	}
	if err := os.Mkdir(d.Root(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := create(t, d, "staged/f").Close(); err != nil {
		t.Error(err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	files := stage(t, d, "one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Publish(ctx, files); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
	if exists(t, d, files[0].Final) || !exists(t, d, files[0].Staged) {
		t.Error("it went on")
	}
	if err := d.Publish(t.Context(), files); err != nil {
		t.Error(err)
	}
}
