package compaction

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

func TestSmallFilesBecomeOne(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 5, 40, 2); err != nil {
		t.Fatal(err)
	}
	before, files := w.live(t, "games")
	o := w.options()
	o.Grace = time.Hour
	o.DryRun = true
	would, err := Compact(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if again, now := w.live(t, "games"); !slices.Equal(now, files) || !slices.Equal(again, before) {
		t.Error("a dry run changed files")
	}
	if swaps, err := os.ReadDir(filepath.Join(w.root, "_swaps")); err == nil {
		t.Errorf("a dry run left %v", swaps)
	}
	o.DryRun = false
	did, err := Compact(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := Result{Table: "games", Partitions: 2, Inputs: 10, Outputs: 2, Rows: 200}
	for i, got := range [][]Result{would, did} {
		got[0].BytesIn, got[0].BytesOut, got[0].DryRun, got[0].DeleteAfter = 0, 0, false, time.Time{}
		if diff := cmp.Diff([]Result{want}, got); diff != "" {
			t.Errorf("result %d: %s", i, diff)
		}
	}
	after, files := w.live(t, "games")
	if diff := cmp.Diff(before, after); diff != "" || len(files) != 2 {
		t.Errorf("%d files; %s", len(files), diff)
	}
	rows, err := rowsIn(w.root, "games", files[:1])
	if err != nil || !strings.HasPrefix(rows[0], "id=0 ") || !strings.HasPrefix(rows[1], "id=2 ") || !strings.HasPrefix(rows[99], "id=198 ") {
		t.Errorf("not sorted by key: %q, %v", rows[:2], err)
	}
	if again, err := Compact(t.Context(), o); err != nil || again[0].Outputs != 0 || again[0].DeleteAfter.IsZero() {
		t.Errorf("a second run: %+v, %v", again, err)
	}
}

// A merged file is not merged again before its inputs are deleted: its rows would be in the folder three times.
func TestRowsAreAtMostTwiceInTheFolder(t *testing.T) {
	t.Parallel()
	w := start(t)
	o := w.options()
	o.Grace = time.Hour
	for range 3 {
		if err := w.fill(t.Context(), 2, 30, 1); err != nil {
			t.Fatal(err)
		}
		if got, err := Compact(t.Context(), o); err != nil || got[0].Inputs != 2 || got[0].Deleted != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	exact(t, w, "in the grace time", 180)
}

// A partition is closed when its last file is old enough; what has no second small file stays as it is.
func TestWhatIsChosen(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 3, 50, 1); err != nil {
		t.Fatal(err)
	}
	_, files := w.live(t, "games")
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range files[1:] {
		if err := os.Chtimes(filepath.Join(w.root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	o := w.options()
	o.OlderThan = time.Hour
	if got, err := Compact(t.Context(), o); err != nil || got[0].Open != 1 || got[0].Inputs != 0 {
		t.Errorf("an open partition: %+v, %v", got, err)
	}
	if err := os.Chtimes(filepath.Join(w.root, files[0]), old, old); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, name := range files {
		info, err := os.Stat(filepath.Join(w.root, name))
		if err != nil {
			t.Fatal(err)
		}
		size = max(size, info.Size())
	}
	for _, c := range []struct {
		name         string
		target, rows int64
		inputs       int
	}{{"each is large enough", size / 2, 0, 0}, {"two fit", 2*size + 10, 0, 2}} {
		o.Target, o.Rows, o.DryRun = c.target, c.rows, true
		if got, err := Compact(t.Context(), o); err != nil || got[0].Inputs != c.inputs {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	o.Target, o.Rows, o.DryRun = 0, 100, false
	if got, err := Compact(t.Context(), o); err != nil || got[0].Inputs != 2 || got[0].Rows != 100 || got[0].Deleted != 2 {
		t.Errorf("two have the rows: %+v, %v", got, err)
	}
	if _, files := w.live(t, "games"); len(files) != 2 {
		t.Errorf("files %q", files)
	}
}

// A file whose group is not checkpointed may be asked for by recovery: it is left.
func TestRecoveryFindsWhatItAsksFor(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 3, 20, 1); err != nil {
		t.Fatal(err)
	}
	b, err := games(60, 80, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.commit(t.Context(), "publish", b); err != nil {
		t.Fatal(err)
	}
	before, _ := w.live(t, "games")
	got, err := Compact(t.Context(), w.options())
	if err != nil || got[0].Inputs != 3 || got[0].Left != 1 || got[0].Deleted != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := w.recover(t.Context()); err != nil {
		t.Errorf("recovery: %v", err)
	}
	if after, _ := w.live(t, "games"); !slices.Equal(before, after) {
		t.Errorf("%d rows became %d", len(before), len(after))
	}
	if got, err = Compact(t.Context(), w.options()); err != nil || got[0].Inputs != 2 || got[0].Left != 0 {
		t.Errorf("after recovery: %+v, %v", got, err)
	}
	if after, files := w.live(t, "games"); !slices.Equal(before, after) || len(files) != 1 {
		t.Errorf("%d rows became %d in %q", len(before), len(after), files)
	}
}

// Files of a pipeline that the state does not know, and files of nobody, are left.
func TestFilesOfOthersAreLeft(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 2, 20, 1); err != nil {
		t.Fatal(err)
	}
	_, files := w.live(t, "games")
	for from, to := range map[string]string{
		files[0]: "other-00000001-e1-g1-0-00000000.parquet", files[1]: "by_hand.parquet",
	} {
		if err := os.Rename(filepath.Join(w.root, from), filepath.Join(w.root, filepath.Dir(from), to)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Compact(t.Context(), w.options()); err != nil || got[0].Left != 2 || got[0].Inputs != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestADamagedFileIsRefused(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(text []byte) []byte{
		"cut":     func(text []byte) []byte { return text[:len(text)/2] },
		"a page":  func(text []byte) []byte { copy(text[20:], "damaged damaged damaged"); return text },
		"no file": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			if err := w.fill(t.Context(), 3, 50, 1); err != nil {
				t.Fatal(err)
			}
			_, files := w.live(t, "games")
			path := filepath.Join(w.root, files[1])
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, harm(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Compact(t.Context(), w.options())
			if fault.Code(err) != "ACQ-LAKE-024" || !strings.Contains(fmt.Sprint(err), files[1]) || len(got) > 0 {
				t.Errorf("%+v, %v", got, err)
			}
			now, err := lakefiles.List(t.Context(), blob.Within(w.root), "games")
			if err != nil || !slices.Equal(files, now) {
				t.Errorf("files %q became %q, %v", files, now, err)
			}
			if staged, err := os.ReadDir(filepath.Join(w.root, "_swaps/games")); len(staged) > 0 {
				t.Errorf("staged %v, %v", staged, err)
			}
		})
	}
}

func TestOneCompactionATable(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 2, 20, 1); err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Probe = func(string) {
		if _, err := Compact(t.Context(), w.options()); fault.Code(err) != "ACQ-LAKE-023" {
			t.Errorf("a second compaction: %v", err)
		}
	}
	if got, err := Compact(t.Context(), o); err != nil || got[0].Outputs != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	o.Tables = []string{"gmaes"}
	if _, err := Compact(t.Context(), o); fault.Code(err) != "ACQ-USE-030" {
		t.Errorf("a table that is not there: %v", err)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 4, 50, 5); err != nil {
		t.Fatal(err)
	}
	o := w.options()
	o.Before = time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC) // of 1 to 5 January
	o.DryRun = true
	if got, err := Expire(t.Context(), o); err != nil || got[0].Partitions != 2 || got[0].Inputs != 8 || got[0].Rows != 80 || got[0].Open != 12/4 {
		t.Errorf("dry run: %+v, %v", got, err)
	}
	o.DryRun, o.Grace = false, time.Hour
	if got, err := Expire(t.Context(), o); err != nil || got[0].Partitions != 2 || got[0].Outputs != 0 || got[0].DeleteAfter.IsZero() {
		t.Errorf("%+v, %v", got, err)
	}
	rows, files := w.live(t, "games")
	if len(rows) != 120 || len(files) != 12 || strings.Contains(files[0], "dt=2026-01-02") {
		t.Errorf("%d rows in %q", len(rows), files)
	}
	if _, err := os.Stat(filepath.Join(w.root, "games/dt=2026-01-01")); err != nil {
		t.Errorf("the files go after the grace time: %v", err)
	}
	other := start(t, "id")
	if err := other.fill(t.Context(), 1, 3, 1); err != nil {
		t.Fatal(err)
	}
	o = other.options()
	o.Before = time.Now()
	if _, err := Expire(t.Context(), o); fault.Code(err) != "ACQ-USE-031" || !strings.Contains(err.Error(), "by id") {
		t.Errorf("a table without dates: %v", err)
	}
}
