package lake_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

func gamesSchema(t *testing.T) *record.Schema {
	t.Helper()
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "Title", Kind: record.String, Nullable: true}, record.Field{Name: "year", Kind: record.Int32, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const day = int64(86_400_000_000)

// games makes rows lo to hi; the event of row i is on day i%days.
func games(t *testing.T, lo, hi, days int) *record.Batch {
	t.Helper()
	b := record.NewBuilder(gamesSchema(t), hi-lo)
	for i := lo; i < hi; i++ {
		b.Int(0, int64(i))
		if i%7 == 0 {
			b.Null(1)
		} else {
			b.String(1, fmt.Sprintf("juego %d", i))
		}
		b.Int(2, int64(1980+i%days))
		b.Next()
		b.System().EventTimes = append(b.System().EventTimes, 20_000*day+int64(i%days)*day)
		b.System().Versions.Lo = append(b.System().Versions.Lo, uint64(i))
	}
	b.System().Source = "test"
	return b.Batch(nil)
}

func open(t *testing.T, c lake.Config) *lake.Lake {
	t.Helper()
	l, err := lake.New(t.Context(), c, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// commit writes batches as one group and publishes it.
func commit(t *testing.T, l *lake.Lake, lane sinks.Lane, ordinal int64, batches ...*record.Batch) sinks.Manifest {
	t.Helper()
	w, err := l.Open(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Cut(sinks.Group{Ordinal: ordinal, To: "9"}).Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // publishing again changes nothing
		if err := w.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// visible gives the ids in the lake by partition folder.
func visible(t *testing.T, root string) map[string][]int64 {
	t.Helper()
	found := map[string][]int64{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, "_staging") || !strings.HasSuffix(path, ".parquet") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		file, err := parquet.OpenFile(f, info.Size())
		if err != nil {
			return err
		}
		folder := filepath.Base(filepath.Dir(path))
		rows := parquet.NewReader(file)
		defer rows.Close()
		for {
			row := struct {
				ID int64 `parquet:"id"`
			}{}
			if rows.Read(&row) != nil {
				return nil
			}
			found[folder] = append(found[folder], row.ID)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestEveryRowGoesToThePartitionOfItsOwnDay(t *testing.T) {
	t.Parallel()
	for _, days := range []int{1, 3, 100} { // one file, side by side, through the sorter
		t.Run(fmt.Sprint(days), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			m := commit(t, open(t, lake.Config{URL: root}), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}, 1, games(t, 0, 700, days), games(t, 700, 1500, days))
			if len(m.Files) != days {
				t.Errorf("%d files, want one a partition: %d", len(m.Files), days)
			}
			got, total := visible(t, root), 0
			for folder, ids := range got {
				total += len(ids)
				for _, id := range ids {
					if want := "dt=" + dayText(20_000+int(id)%days); folder != want {
						t.Fatalf("row %d is in %s, want %s", id, folder, want)
					}
				}
				if !slices.IsSorted(ids) {
					t.Errorf("%s is out of order", folder)
				}
			}
			if total != 1500 || len(got) != days {
				t.Errorf("%d rows in %d folders, want 1500 in %d", total, len(got), days)
			}
		})
	}
}

func dayText(n int) string { return time.Unix(int64(n)*86400, 0).UTC().Format("2006-01-02") }

func TestNothingIsVisibleBeforePublish(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	l := open(t, lake.Config{URL: "file://" + root})
	w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), games(t, 0, 10, 2)); err != nil {
		t.Fatal(err)
	}
	first := w.Cut(sinks.Group{Ordinal: 1})
	if err := w.Write(t.Context(), games(t, 10, 20, 2)); err != nil {
		t.Fatal(err)
	}
	m, err := first.Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := visible(t, root); len(got) > 0 {
		t.Fatalf("visible before publish: %v", got)
	}
	// The process dies; the next owner rolls the intent forward, then sweeps what no intent names.
	next, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Publish(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	recoverer, ok := next.(sinks.Recoverer)
	if !ok {
		t.Fatal("the lake's writer cannot recover")
	}
	if err := recoverer.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(root, "_staging"))
	if err != nil {
		t.Fatal(err)
	}
	for _, lane := range left {
		files, err := os.ReadDir(filepath.Join(root, "_staging", lane.Name()))
		if err != nil || len(files) > 0 {
			t.Errorf("left after the sweep: %v, %v", files, err)
		}
	}
	total := 0
	for _, ids := range visible(t, root) {
		total += len(ids)
	}
	if total != 10 {
		t.Errorf("%d rows are visible, want the 10 of the intent", total)
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestVanishedAndConflictingFilesAreNamed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	l := open(t, lake.Config{URL: root})
	w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(t.Context(), games(t, 0, 10, 1)); err != nil {
		t.Fatal(err)
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, m.Files[0].Staged)); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), m); !errors.Is(err, sinks.ErrVanished) {
		t.Errorf("publish of a file that is gone: %v", err)
	}
	if err := w.(sinks.Recoverer).Withdraw(t.Context(), m); err != nil {
		t.Errorf("withdraw: %v", err)
	}
	final := filepath.Join(root, m.Files[0].Name)
	if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(final, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(t.Context(), m); !errors.Is(err, sinks.ErrConflict) {
		t.Errorf("publish over other content: %v", err)
	}
	if err := w.(sinks.Recoverer).Withdraw(t.Context(), m); !errors.Is(err, sinks.ErrVisible) {
		t.Errorf("withdraw of what is visible: %v", err)
	}
}

func TestRowsThatAFileCannotHoldAreNamed(t *testing.T) {
	t.Parallel()
	b := record.NewBuilder(gamesSchema(t), 3)
	for i, title := range []string{"good", "bad\xff", "good"} {
		b.Int(0, int64(i))
		b.String(1, title)
		b.Next()
	}
	l := open(t, lake.Config{URL: t.TempDir()})
	w, err := l.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Write(t.Context(), b.Batch(nil))
	rows, ok := errors.AsType[*fault.Rows](err)
	if !ok || len(rows.Bad) != 1 || rows.Bad[0].Index != 1 || rows.Bad[0].Column != "Title" {
		t.Errorf("got %v, want row 1, column Title", err)
	}
	for i, id := range []string{"e1", "e2", "e\xff"} {
		b.Int(0, int64(i))
		b.String(1, "good")
		b.System().EventIDs.AppendText([]byte(id))
		b.Next()
	}
	err = w.Write(t.Context(), b.Batch(nil))
	rows, ok = errors.AsType[*fault.Rows](err)
	if !ok || len(rows.Bad) != 1 || rows.Bad[0].Index != 2 || rows.Bad[0].Column != "_event_id" {
		t.Errorf("got %v, want row 2, column _event_id", err)
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err != nil || len(m.Files) > 0 {
		t.Errorf("a refused batch left %v, %v", m, err)
	}
}

func TestANewColumnWidensTheTable(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	l := open(t, lake.Config{URL: root})
	lane := sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}
	commit(t, l, lane, 1, games(t, 0, 5, 1))
	wider, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "Title", Kind: record.String, Nullable: true}, record.Field{Name: "year", Kind: record.Int64, Nullable: true},
		record.Field{Name: "price", Kind: record.Float64})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(wider, 1)
	b.Int(0, 5)
	b.Next()
	b.System().EventTimes = []int64{20_000 * day}
	commit(t, l, lane, 2, b.Batch(nil))
	text, err := os.ReadFile(filepath.Join(root, "_tables", "games.json"))
	if err != nil || !strings.Contains(string(text), `"price"`) || !strings.Contains(string(text), `"version": 2`) {
		t.Errorf("the description did not evolve: %v\n%s", err, text)
	}
	narrow, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.String})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Declare(t.Context(), []*record.Schema{narrow}); fault.Code(err) != "ACQ-LAKE-011" {
		t.Errorf("a key that became text: %v", err)
	}
}
