package lakefiles_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

func openDir(t *testing.T) *blob.Dir {
	t.Helper()
	dir, err := blob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func filled(t *testing.T, rows int) *blob.Dir {
	t.Helper()
	dir := openDir(t)
	for n := range rows {
		if err := publish(dir, n); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func lock(t *testing.T, dir *blob.Dir) *lakefiles.Table {
	t.Helper()
	locked, err := lakefiles.Lock(t.Context(), dir, table)
	if err != nil {
		t.Fatal(err)
	}
	return locked
}

func TestInputsStayForTheGraceTime(t *testing.T) {
	t.Parallel()
	dir := filled(t, 6)
	if err := merge(dir, time.Hour, func(string) {}); err != nil {
		t.Fatal(err)
	}
	whole(t, dir.Root(), "in the grace time", 6)
	if n := len(raw(t, dir.Root())); n != 7 {
		t.Errorf("%d files, want the inputs and the output", n)
	}
	locked := lock(t, dir)
	defer locked.Close()
	deleted, next, err := locked.Sweep(t.Context(), time.Now().Add(59*time.Minute))
	if deleted != 0 || err != nil || time.Until(next) < 59*time.Minute {
		t.Errorf("deleted %d too early, next %v, %v", deleted, next, err)
	}
	deleted, next, err = locked.Sweep(t.Context(), time.Now().Add(61*time.Minute))
	if deleted != 6 || err != nil || !next.IsZero() {
		t.Errorf("deleted %d, next %v, %v", deleted, next, err)
	}
	whole(t, dir.Root(), "after it", 6)
	clean(t, dir)
}

// A swap without outputs drops files, and the folders that are empty then.
func TestASwapWithoutOutputsDropsFiles(t *testing.T) {
	t.Parallel()
	dir := filled(t, 6)
	live, err := lakefiles.List(t.Context(), blob.Within(dir.Root()), table)
	if err != nil {
		t.Fatal(err)
	}
	first := slices.DeleteFunc(slices.Clone(live), func(name string) bool { return !strings.Contains(name, "dt=2026-11-01") })
	locked := lock(t, dir)
	defer locked.Close()
	if err := locked.Swap(t.Context(), "drop", first, nil, 0); err != nil {
		t.Fatal(err)
	}
	if left, err := lakefiles.List(t.Context(), blob.Within(dir.Root()), table); len(left) != 4 || err != nil {
		t.Errorf("left %q, %v", left, err)
	}
	if _, _, err := locked.Sweep(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 3} {
		if err := publish(dir, n); err != nil {
			t.Errorf("a writer that knew the folder: %v", err)
		}
	}
	whole(t, dir.Root(), "with the rows again", 6)
}

func TestOneHolderAtATime(t *testing.T) {
	t.Parallel()
	dir := filled(t, 2)
	locked := lock(t, dir)
	if _, err := lakefiles.Lock(t.Context(), dir, table); fault.Code(err) != "ACQ-LAKE-023" {
		t.Errorf("a second holder: %v", err)
	}
	other, err := lakefiles.Lock(t.Context(), dir, "other")
	if err != nil {
		t.Fatalf("another table: %v", err)
	}
	other.Close()
	locked.Close()
	lock(t, dir).Close()
}

// A file can be replaced once, and only by files that are new.
func TestSwapsThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := filled(t, 3)
	live, err := lakefiles.List(t.Context(), blob.Within(dir.Root()), table)
	if err != nil {
		t.Fatal(err)
	}
	locked := lock(t, dir)
	defer locked.Close()
	if err := locked.Swap(t.Context(), "one", live[:1], nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		inputs []string
		output string
	}{
		"an input that counts no more": {live[:1], ""},
		"an input that is not there":   {[]string{table + "/dt=2026-11-01/none.parquet"}, ""},
		"a file of another table":      {[]string{"other/a.parquet"}, ""},
		"a way out":                    {live[1:2], table + "/../x.parquet"},
		"an output that is there":      {live[1:2], live[2]},
	} {
		var outputs []blob.Publication
		if c.output != "" {
			outputs = []blob.Publication{{Staged: "none", Final: c.output}}
		}
		if err := locked.Swap(t.Context(), "two", c.inputs, outputs, 0); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if left, err := lakefiles.List(t.Context(), blob.Within(dir.Root()), table); !slices.Equal(left, live[1:]) || err != nil {
		t.Errorf("left %q, %v", left, err)
	}
}

// An output that cannot be published changes nothing.
func TestASwapThatFailsIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(locked *lakefiles.Table, output *blob.Publication) context.Context{
		"the staged file is gone": func(_ *lakefiles.Table, output *blob.Publication) context.Context {
			output.Staged += ".gone"
			return context.Background()
		},
		"the context ends": func(locked *lakefiles.Table, _ *blob.Publication) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			locked.Probe = func(point string) {
				if point == lakefiles.AfterPending {
					cancel()
				}
			}
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filled(t, 4)
			live, err := lakefiles.List(t.Context(), blob.Within(dir.Root()), table)
			if err != nil {
				t.Fatal(err)
			}
			locked := lock(t, dir)
			defer locked.Close()
			output, err := stage(dir, locked, "new", live)
			if err != nil {
				t.Fatal(err)
			}
			ctx := fail(locked, &output)
			if err := locked.Swap(ctx, "new", live, []blob.Publication{output}, 0); err == nil {
				t.Fatal("it did not fail")
			}
			whole(t, dir.Root(), "after the failure", 4)
			if names, err := dir.List("_swaps/" + table); len(names) > 0 || err != nil {
				t.Errorf("staged %q, %v", names, err)
			}
			if names := raw(t, dir.Root()); len(names) != 4 {
				t.Errorf("files %q", names)
			}
		})
	}
}

// A journal that cannot be read says nothing about which files count: nobody may guess.
func TestADamagedJournalIsRefused(t *testing.T) {
	t.Parallel()
	for i, text := range []string{
		"{", `{"version":2}`, `{"version":1,"swaps":[{"id":"x","state":"half"}]}`,
		`{"version":1,"swaps":[{"id":"x","state":"pending","outputs":["games/../../etc/passwd.parquet"]}]}`,
		`{"version":1,"swaps":[{"id":"x","state":"pending","outputs":["_tables/games.json"]}]}`,
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			dir := filled(t, 1)
			if _, err := dir.Folder("_swaps"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir.Root(), "_swaps", table+".json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := lakefiles.List(t.Context(), blob.Within(dir.Root()), table); fault.Code(err) != "ACQ-LAKE-022" {
				t.Errorf("list: %v", err)
			}
			if _, err := lakefiles.Lock(t.Context(), dir, table); fault.Code(err) != "ACQ-LAKE-022" {
				t.Errorf("lock: %v", err)
			}
			if names := raw(t, dir.Root()); len(names) != 1 {
				t.Errorf("files %q", names)
			}
		})
	}
}

// A swap that goes on while the folders are walked is either not seen at all or seen as a whole.
func TestAListIsOfOneMoment(t *testing.T) {
	t.Parallel()
	dir := filled(t, 6)
	walks := 0
	names, err := lakefiles.ListWith(t.Context(), blob.Within(dir.Root()), table, func() {
		if walks++; walks > 2 {
			return
		}
		if err := merge(dir, time.Hour, func(string) {}); err != nil { // its output is not among what was walked
			t.Error(err)
		}
	})
	if err != nil || walks != 3 {
		t.Fatalf("%d walks, %v", walks, err)
	}
	rows, err := counted(dir.Root(), names)
	if len(rows) != 6 || len(names) != 1 || err != nil {
		t.Errorf("%d rows in %q, %v", len(rows), names, err)
	}
	if names, err := lakefiles.ListWith(t.Context(), blob.Within(dir.Root()), table, func() {
		if err := merge(dir, time.Hour, func(string) {}); err != nil {
			t.Error(err)
		}
	}); fault.Of(err) != fault.Retryable {
		t.Errorf("swapped all the time: %q, %v", names, err)
	}
}

func TestATableWithoutFiles(t *testing.T) {
	t.Parallel()
	if names, err := lakefiles.List(t.Context(), blob.Within(filepath.Join(t.TempDir(), "none")), table); len(names) > 0 || err != nil {
		t.Errorf("%q, %v", names, err)
	}
}
