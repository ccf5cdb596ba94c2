package lakefiles_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/record"
)

// groupFile writes the file of a group of a lane.
func groupFile(t *testing.T, root, lane string, group int64) string {
	t.Helper()
	from := lakefiles.Origin{Pipeline: "p", Lane: lakefiles.ShortLane(lane), Epoch: 1, Group: group}
	name := "t/dt=2026-01-01/" + from.FileName(0, "0a0b0c0d")
	for _, folder := range []string{filepath.Join(root, filepath.Dir(name)), filepath.Join(root, "_tables")} {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewWriter(f, []record.Field{{Name: "id", Kind: record.Int64}}, nil, parquet.Options{})
	err = errors.Join(
		w.Write([]record.Column{{Ints: []int64{group}}}, 0, 1), w.Close(parquet.KeyValue{Key: lakefiles.LaneKey, Value: lane}), f.Close(),
		os.WriteFile(filepath.Join(root, "_tables", "t.json"), []byte("{}"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// The history knows the groups of files that are there, and of those that were replaced or dropped, and no lane is taken for another.
func TestHistory(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	const one, other = "lane275038", "lane1163202" // they have one short form
	if lakefiles.ShortLane(one) != lakefiles.ShortLane(other) {
		t.Fatal("the short form has changed: look for two lanes that share one")
	}
	wants := func(what, lane string, group, want int64, where string) {
		t.Helper()
		h, err := lakefiles.ReadHistory(t.Context(), blob.Within(root), "p")
		if err != nil {
			t.Fatal(what, err)
		}
		if got, at, err := h.After(t.Context(), lane, group); got != want || !strings.Contains(at, where) || err != nil {
			t.Errorf("%s: group %d in %q, want %d in %q; %v", what, got, at, want, where, err)
		}
	}
	wants("an empty lake", one, 0, 0, "")
	first, second := groupFile(t, root, one, 3), groupFile(t, root, one, 8)
	wants("files", one, 0, 8, second)
	wants("files that are known", one, 8, 0, "")
	wants("files, one of which is known", one, 3, 8, second)
	wants("files of a lane of the same short name", other, 0, 0, "")
	wants("files of another lane", "else", 0, 0, "")

	dir, err := blob.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	table, err := lakefiles.Lock(t.Context(), dir, "t")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	for _, name := range []string{second, first} {
		if err := table.Swap(t.Context(), lakefiles.NewID(time.Now()), []string{name}, nil, 0); err != nil {
			t.Fatal(err)
		}
		if _, _, err := table.Sweep(t.Context(), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	wants("files that were dropped", one, 7, 8, "dropped")
	wants("files that were dropped, and are known", one, 8, 0, "")
	wants("files of a lane of the same short name that were dropped", other, 0, 0, "")
	if h, err := lakefiles.ReadHistory(t.Context(), blob.Within(root), "q"); err != nil {
		t.Error(err)
	} else if got, _, err := h.After(t.Context(), one, 0); got != 0 || err != nil {
		t.Error("another pipeline has it:", got, err)
	}
}
