package sorter_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/internal/sorter"
	"github.com/acequia-io/acequia/record"

	"github.com/google/go-cmp/cmp"
)

func line(fields []record.Field, columns []record.Column, row int) string {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = parquettest.Value(f, &columns[i], row)
		if columns[i].IsAbsent(row) {
			parts[i] = "absent"
		}
	}
	return strings.Join(parts, "|")
}

func size(columns []record.Column) int {
	n := 0
	for i := range columns {
		n += columns[i].Size() + 280
	}
	return n
}

// epoch puts versions into an epoch, at any depth.
func epoch(fields []record.Field, columns []record.Column, e uint16) {
	for i, f := range fields {
		if f.Kind == record.VersionText {
			columns[i].Versions.Epoch = e
		}
		epoch(f.Fields, columns[i].Children, e)
	}
}

// trial is one random use of a sorter.
type trial struct {
	fields  []record.Field
	want    map[int][]string
	got     map[int][]string
	largest int // batch
	pending int // releases
}

func (tr *trial) fill(t *testing.T, r *rand.Rand, s *sorter.Sorter, limit int) {
	t.Helper()
	tr.want, tr.got = map[int][]string{}, map[int][]string{}
	parts := 1 + r.IntN(40)
	var kept []record.Column // constants that go on
	for range r.IntN(30) {
		rows := r.IntN(600)
		columns := parquettest.Columns(r, tr.fields, rows)
		if r.IntN(6) == 0 {
			epoch(tr.fields, columns, uint16(r.IntN(3))) //nolint:gosec // few
		}
		for i := range columns {
			if kept != nil && columns[i].Const && kept[i].Const && r.IntN(3) > 0 {
				columns[i] = kept[i]
			}
		}
		if rows > 0 {
			kept = columns
		}
		part := make([]int32, rows)
		for i := range part {
			part[i] = int32(r.IntN(parts)) //nolint:gosec // few
			tr.want[int(part[i])] = append(tr.want[int(part[i])], line(tr.fields, columns, i))
		}
		tr.largest = max(tr.largest, size(columns)+4*rows)
		tr.pending++
		if err := s.Add(columns, rows, part, func() { tr.pending-- }); err != nil {
			t.Fatal(err)
		}
		if held := s.Held(); held > limit+2*tr.largest {
			t.Fatalf("holds %d bytes, limit %d, largest batch %d", held, limit, tr.largest)
		}
	}
}

func (tr *trial) drain(t *testing.T, s *sorter.Sorter) {
	t.Helper()
	last := -1
	err := s.Each(func(part int, columns []record.Column, lo, hi int) error {
		if part < last || lo >= hi {
			t.Fatalf("partition %d after %d, rows %d to %d", part, last, lo, hi)
		}
		last = part
		for i := lo; i < hi; i++ {
			tr.got[part] = append(tr.got[part], line(tr.fields, columns, i))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRegroups(t *testing.T) {
	t.Parallel()
	spilled, trials := 0, 60
	if os.Getenv("ACEQUIA_TORTURE") != "" {
		trials = 400
	}
	for seed := range uint64(trials) {
		r := rand.New(rand.NewPCG(seed, 2))
		dir := t.TempDir()
		limit := 64<<10 + r.IntN(400<<10)
		tr := trial{fields: parquettest.Fields(r)}
		s := sorter.New(dir, tr.fields, limit, 0)
		for range 2 {
			tr.fill(t, r, s, limit)
			if s.Spilled() > 0 {
				spilled++
			}
			if names, err := filepath.Glob(dir + "/*"); err != nil || len(names) > 0 {
				t.Fatalf("seed %d: the scratch file has a name: %v %v", seed, names, err)
			}
			if r.IntN(10) == 0 {
				s.Reset()
				if tr.pending != 0 {
					t.Fatalf("seed %d: Reset left %d batches", seed, tr.pending)
				}
				continue
			}
			tr.drain(t, s)
			if d := cmp.Diff(tr.want, tr.got); d != "" {
				t.Fatalf("seed %d: rows differ (-want +got):\n%s", seed, d[:min(len(d), 2000)])
			}
			if tr.pending != 0 {
				t.Fatalf("seed %d: %d batches were not released", seed, tr.pending)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if spilled < trials/4 {
		t.Fatalf("only %d trials reached the disk", spilled)
	}
}

func ints(n int) []record.Column {
	c := record.Column{}
	for i := range n {
		c.Ints = append(c.Ints, int64(i)*7919)
	}
	return []record.Column{c}
}

func oneField() []record.Field { return []record.Field{{Name: "n", Kind: record.Int64}} }

// TestManyRuns has so many runs that they are merged first, more than once.
func TestManyRuns(t *testing.T) {
	t.Parallel()
	s := sorter.New(t.TempDir(), oneField(), 1, 0)
	const batches, rows = 100, 6000
	for range batches {
		if err := s.Add(ints(rows), rows, make([]int32, rows), nil); err != nil {
			t.Fatal(err)
		}
	}
	next := 0
	err := s.Each(func(_ int, columns []record.Column, lo, hi int) error {
		for i := lo; i < hi; i++ {
			if want := int64(next%rows) * 7919; columns[0].Int(i) != want {
				t.Fatalf("row %d: %d, want %d", next, columns[0].Int(i), want)
			}
			next++
		}
		return nil
	})
	if err != nil || next != batches*rows {
		t.Fatalf("%d rows, %v", next, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDiskLimit(t *testing.T) {
	t.Parallel()
	s := sorter.New(t.TempDir(), oneField(), 1, 50_000)
	released, given := 0, 0
	var err error
	for err == nil && given < 100 {
		given++
		err = s.Add(ints(6000), 6000, make([]int32, 6000), func() { released++ })
	}
	if fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-LAKE-020" {
		t.Fatalf("got %v", err)
	}
	if again := s.Add(ints(1), 1, make([]int32, 1), nil); !errors.Is(again, err) {
		t.Fatalf("the error went away: %v", again)
	}
	if each := s.Each(func(int, []record.Column, int, int) error { return nil }); !errors.Is(each, err) {
		t.Fatalf("rows of a broken sorter: %v", each)
	}
	s.Reset()
	if released != given {
		t.Fatalf("%d of %d batches released", released, given)
	}
	if s.Spilled() != 0 {
		t.Fatal("Reset keeps the disk")
	}
	if err := s.Add(ints(1), 1, make([]int32, 1), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	for name, part := range map[string][]int32{"negative": {-1}, "huge": {1 << 24}, "missing": {}} {
		s := sorter.New(t.TempDir(), oneField(), 1, 0)
		released := false
		if err := s.Add(ints(1), 1, part, func() { released = true }); err == nil || !released {
			t.Errorf("%s: error %v, released %t", name, err, released)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNoDirectory(t *testing.T) {
	t.Parallel()
	s := sorter.New(filepath.Join(t.TempDir(), "none"), oneField(), 1, 0)
	err := s.Add(ints(60_000), 60_000, make([]int32, 60_000), nil)
	if !errors.Is(err, os.ErrNotExist) || fault.Code(err) != "ACQ-LAKE-021" {
		t.Fatalf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestErrorOfTheReader(t *testing.T) {
	t.Parallel()
	want := errors.New("no more")
	for _, rows := range []int{10, 60_000} { // in memory, on disk
		s := sorter.New(t.TempDir(), oneField(), 1, 0)
		if err := s.Add(ints(rows), rows, make([]int32, rows), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.Each(func(int, []record.Column, int, int) error { return want }); !errors.Is(err, want) {
			t.Errorf("%d rows: got %v", rows, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
