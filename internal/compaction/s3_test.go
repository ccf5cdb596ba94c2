package compaction

import (
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

// fetched copies the files of a table that count into a directory, and gives their sorted rows.
func fetched(t *testing.T, b blob.Files) (rows, files []string) {
	t.Helper()
	files, err := lakefiles.List(t.Context(), b, "games")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range append(slices.Clone(files), "_tables/games.json") {
		text, err := b.Read(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rows, err = rowsIn(dir, "games", files); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows, files
}

// TestOnS3 compacts and expires a lake in S3, with a list of several pages.
func TestOnS3(t *testing.T) {
	t.Parallel()
	s := blobtest.New(t)
	s.Page(3)
	w, err := newWorldAt(t.Context(), t.TempDir(), lake.Config{URL: "s3://bucket/lake", AWS: s.Settings().AWS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.state.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := w.fill(t.Context(), 5, 200, 2); err != nil {
		t.Fatal(err)
	}
	before, files := fetched(t, w.bucket)
	o := w.options()
	o.Grace = time.Hour
	got, err := Compact(t.Context(), o)
	if err != nil || len(got) != 1 || got[0].Inputs != len(files) || got[0].Deleted != 0 {
		t.Fatalf("%+v of %d files, %v", got, len(files), err)
	}
	after, now := fetched(t, w.bucket)
	if !slices.Equal(before, after) || len(now) != got[0].Outputs {
		t.Errorf("%d rows became %d, in %q", len(before), len(after), now)
	}
	if all := s.Names("lake/games/"); len(all) != len(files)+len(now) {
		t.Errorf("in the grace time there are %d objects", len(all))
	}
	s.Later(2 * time.Hour)
	table, err := lakefiles.Lock(t.Context(), w.bucket, "games")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := table.Sweep(t.Context(), time.Now().Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	table.Close()
	if all := s.Names("lake/games/"); len(all) != len(now) || s.Staged() > 0 {
		t.Errorf("after it there are %q, and %d uploads", all, s.Staged())
	}
	o = w.options()
	o.Before = time.Now().AddDate(100, 0, 0)
	if _, err := Expire(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if all := s.Names("lake/games/"); len(all) > 0 {
		t.Errorf("expired: %s", strings.Join(all, ", "))
	}
}
