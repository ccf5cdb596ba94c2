package compaction

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/sinks/lake"
)

// losable is a world whose locks can be lost without notice: a minute passes in S3, and a file system of a network forgets one.
func losable(t *testing.T, place string) (w *world, lose func()) {
	t.Helper()
	var err error
	switch place {
	case "S3":
		s := blobtest.New(t)
		lose = func() { s.Later(2 * time.Minute) }
		w, err = newWorldAt(t.Context(), t.TempDir(), lake.Config{URL: "s3://bucket/lake", AWS: s.Settings().AWS})
	default:
		w, err = newWorld(t.Context(), t.TempDir())
		lose = func() {
			if err := os.Remove(filepath.Join(w.root, "_swaps", "games.lock")); err != nil {
				t.Error(err)
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.state.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.fill(t.Context(), 4, 50, 1); err != nil {
		t.Fatal(err)
	}
	return w, lose
}

// Who was frozen for longer than a lease and lost the table to another changes nothing, wherever it was, and takes nothing from the other:
// neither what it has staged nor the names that it uses.
func TestAFrozenHolderChangesNothing(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"S3", "directory"} {
		for _, frozen := range []string{"before-create", "before-swap", lakefiles.BeforePending, lakefiles.AfterPending, lakefiles.AfterPublish} {
			t.Run(place+"/"+frozen, func(t *testing.T) {
				t.Parallel()
				w, lose := losable(t, place)
				before, files := fetched(t, w.bucket)
				first, err := lakefiles.Lock(t.Context(), w.bucket, "games")
				if err != nil {
					t.Fatal(err)
				}
				var second *lakefiles.Table
				var theirs *blob.File
				nameOf := func() (id, output string) {
					id = lakefiles.NewID(time.Now())
					return id, filepath.ToSlash(filepath.Dir(files[0])) + "/" + lakefiles.OutputName(id, 0, "00000000")
				}
				theirID, theirOutput := nameOf()
				takeOver := func(point string) {
					if point != frozen || second != nil {
						return
					}
					lose()
					if second, err = lakefiles.Lock(t.Context(), w.bucket, "games"); err == nil {
						theirs, err = stagedCopy(t.Context(), second, w.bucket, theirOutput, files[1])
					}
					if err != nil {
						t.Error(err)
					}
				}
				first.Probe = takeOver
				id, output := nameOf()
				takeOver("before-create")
				f, err := stagedCopy(t.Context(), first, w.bucket, output, files[0])
				if err != nil {
					t.Fatal(err)
				}
				takeOver("before-swap")
				if err := first.Swap(t.Context(), id, files[:1], []blob.Publication{f.Publication()}, 0); err == nil {
					t.Error("it could swap")
				}
				if err := first.Discard(t.Context()); err != nil {
					t.Error(err)
				}
				if second == nil || theirs == nil {
					t.Fatal("it was not taken over")
				}
				same := func(when string, want []string) {
					t.Helper()
					if after, now := fetched(t, w.bucket); !slices.Equal(before, after) || !slices.Equal(want, now) {
						t.Errorf("%s: files %q became %q, and %d rows %d", when, want, now, len(before), len(after))
					}
				}
				same("after the first", files)
				if left, err := w.bucket.Leftovers(t.Context(), "_swaps/games"); len(left) != 1 || err != nil {
					t.Errorf("staged: %v, %v", left, err)
				}
				if err := second.Swap(t.Context(), theirID, files[1:2], []blob.Publication{theirs.Publication()}, 0); err != nil {
					t.Error(err)
				}
				swapped := slices.Replace(slices.Clone(files), 1, 2, theirOutput)
				slices.Sort(swapped)
				same("after the second", swapped)
				if _, _, err := first.Sweep(t.Context(), time.Now()); err != nil {
					t.Error(err)
				}
				same("after the first has swept", swapped)
				first.Close()
				second.Close()
			})
		}
	}
}

// late is a bucket where one write of a journal is given up by who sent it, and arrives when files are about to be removed.
type late struct {
	blob.Bucket
	give    bool
	arrive  func(ctx context.Context) error
	removed func() // called after files were removed
}

var errNoAnswer = errors.New("no answer came")

func (l *late) Update(ctx context.Context, name string, change func(old []byte) ([]byte, error)) error {
	if !l.give {
		return l.Bucket.Update(ctx, name, change)
	}
	l.give = false
	return l.Bucket.Update(ctx, name, func(old []byte) ([]byte, error) {
		next, err := change(old)
		l.arrive = func(ctx context.Context) error { // a conditional write
			return l.Bucket.Update(ctx, name, func(now []byte) ([]byte, error) {
				if !bytes.Equal(now, old) {
					return nil, nil
				}
				return next, nil
			})
		}
		return nil, errors.Join(err, errNoAnswer)
	})
}

func (l *late) Remove(ctx context.Context, names ...string) error {
	if l.arrive != nil && strings.Contains(names[0], "/swap-") {
		if err := l.arrive(ctx); err != nil {
			return err
		}
		l.arrive = nil
	}
	defer l.removed()
	return l.Bucket.Remove(ctx, names...)
}

// The last write of a swap is given up, the swap is taken back, and then the write arrives: it is refused, else the table would be without
// outputs and inputs, for good if the process died there.
func TestALateWriteIsRefused(t *testing.T) {
	t.Parallel()
	w, _ := losable(t, "S3")
	before, files := fetched(t, w.bucket)
	bucket := &late{Bucket: w.bucket}
	bucket.removed = func() {
		if after, now := fetched(t, w.bucket); !slices.Equal(before, after) || !slices.Equal(files, now) {
			t.Errorf("files %q became %q, and %d rows %d", files, now, len(before), len(after))
		}
	}
	table, err := lakefiles.Lock(t.Context(), bucket, "games")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	table.Probe = func(point string) { bucket.give = bucket.give || point == lakefiles.AfterPublish }
	id := lakefiles.NewID(time.Now())
	f, err := stagedCopy(t.Context(), table, bucket, filepath.ToSlash(filepath.Dir(files[0]))+"/"+lakefiles.OutputName(id, 0, "00000000"), files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Swap(t.Context(), id, files[:1], []blob.Publication{f.Publication()}, 0); !errors.Is(err, errNoAnswer) || bucket.arrive != nil {
		t.Errorf("%v, and the write arrived: %t", err, bucket.arrive == nil)
	}
	bucket.removed()
}

// stagedCopy stages a copy of a file as an output.
func stagedCopy(ctx context.Context, table *lakefiles.Table, b blob.Files, output, of string) (*blob.File, error) {
	text, err := b.Read(ctx, of)
	if err != nil {
		return nil, err
	}
	f, err := table.Create(ctx, output)
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(text); err != nil {
		return nil, err
	}
	var sealer blob.Sealer
	if err := sealer.Seal(ctx, f); err != nil {
		return nil, err
	}
	return f, sealer.Wait()
}
