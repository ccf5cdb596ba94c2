package lake_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

// More partitions than may be open, in memory and on the sorter's disk: each group has one file a partition, also the
// next one, which has few.
func TestManyPartitionsGiveOneFileEach(t *testing.T) {
	t.Parallel()
	const partitions, rows, fewer = 1030, 4500, 10
	root := t.TempDir()
	l, err := lake.New(t.Context(), lake.Config{URL: root}, 128<<10, slog.New(slog.DiscardHandler)) // the sorter must spill
	if err != nil {
		t.Fatal(err)
	}
	var batches []*record.Batch
	for lo := 0; lo < rows; lo += 1500 {
		batches = append(batches, games(t, lo, lo+1500, partitions))
	}
	lane := sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}
	for ordinal, group := range []struct {
		batches []*record.Batch
		files   int
	}{{batches, partitions}, {[]*record.Batch{games(t, rows, rows+100, fewer), games(t, rows+100, rows+200, fewer)}, fewer}} {
		w, err := l.Open(t.Context(), lane)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range group.batches {
			if err := w.Write(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := count(filepath.Join(root, "_staging")); err != nil || n > 32 {
			t.Errorf("group %d: %d files are open side by side, %v", ordinal+1, n, err)
		}
		m, err := w.Cut(sinks.Group{Ordinal: int64(ordinal) + 1}).Stage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.Publish(t.Context(), m), w.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		folders := map[string]int{}
		for _, f := range m.Files {
			folders[path.Dir(f.Name)]++
		}
		if len(m.Files) != group.files || len(folders) != group.files {
			t.Errorf("group %d: %d files in %d partitions, want %d", ordinal+1, len(m.Files), len(folders), group.files)
		}
	}
	got, seen := visible(t, root), make([]bool, rows+200)
	for folder, ids := range got {
		for _, id := range ids {
			days := partitions
			if id >= rows {
				days = fewer
			}
			if want := "dt=" + dayText(20_000+int(id)%days); folder != want || seen[id] {
				t.Fatalf("row %d is in %s (twice: %t), want %s", id, folder, seen[id], want)
			}
			seen[id] = true
		}
	}
	if i := slices.Index(seen, false); i >= 0 || len(got) != partitions {
		t.Errorf("%d folders, want %d; the first row that is missing is %d", len(got), partitions, i)
	}
}

// noise is a batch whose text cannot be compressed.
func noise(t *testing.T, rng *rand.Rand, lo, hi, days int) *record.Batch {
	t.Helper()
	b := record.NewBuilder(gamesSchema(t), hi-lo)
	for i := lo; i < hi; i++ {
		b.Int(0, int64(i))
		b.String(1, fmt.Sprintf("%016x%016x%016x%016x", rng.Uint64(), rng.Uint64(), rng.Uint64(), rng.Uint64()))
		b.Int(2, 1980)
		b.Next()
		b.System().EventTimes = append(b.System().EventTimes, 20_000*day+int64(i%days)*day)
	}
	return b.Batch(nil)
}

// Files roll inside a group, by rows and by size, which is the greater until the first page has shown how well it
// compresses.
func TestFilesRoll(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	for _, c := range []struct {
		name string
		wide bool // the table has had more partitions than may be open
		days int
		roll lake.Roll
		each int // rows of a batch
	}{
		{"by rows", false, 1, lake.Roll{Rows: 3000}, 2500},
		{"by rows, within a batch", false, 1, lake.Roll{Rows: 3000}, 10_000},
		{"by rows, side by side", false, 3, lake.Roll{Rows: 3000}, 2500},
		{"by rows, sorted", true, 2, lake.Roll{Rows: 3000}, 2500},
		{"by size", false, 1, lake.Roll{Size: 200_000}, 500},
		{"by size, side by side", false, 2, lake.Roll{Size: 200_000}, 2000},
		{"by size, sorted", true, 2, lake.Roll{Size: 260_000}, 2000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			rng := rand.New(rand.NewPCG(1, 2))
			var batches []*record.Batch
			for lo := 0; lo < rows; lo += c.each {
				batches = append(batches, noise(t, rng, lo, lo+c.each, c.days))
			}
			l, lane := open(t, lake.Config{URL: root, Roll: c.roll}), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1}
			if c.wide {
				commit(t, l, lane, 1, noise(t, rng, 0, 33, 33))
				if err := os.RemoveAll(filepath.Join(root, "games")); err != nil {
					t.Fatal(err)
				}
			}
			m := commit(t, l, lane, 2, batches...)
			total, last := int64(0), map[string]int{}
			for i, f := range m.Files {
				total += f.Rows
				last[path.Dir(f.Name)] = i
			}
			for i, f := range m.Files {
				short := i == last[path.Dir(f.Name)]
				if c.roll.Rows > 0 && (f.Rows > c.roll.Rows || f.Rows < c.roll.Rows && !short) {
					t.Errorf("a file has %d rows, want %d", f.Rows, c.roll.Rows)
				}
				if int64(c.roll.Size) > 0 && (f.Bytes > int64(c.roll.Size)*5/4 || f.Bytes < int64(c.roll.Size)/4 && !short) {
					t.Errorf("a file has %d bytes, want about %d", f.Bytes, int64(c.roll.Size))
				}
			}
			if total != rows || len(last) != c.days {
				t.Errorf("%d rows in %d partitions", total, len(last))
			}
			seen := make([]int, rows)
			for _, ids := range visible(t, root) {
				for _, id := range ids {
					seen[id]++
				}
			}
			if i := slices.IndexFunc(seen, func(n int) bool { return n != 1 }); i >= 0 {
				t.Errorf("row %d is visible %d times", i, seen[i])
			}
		})
	}
}
