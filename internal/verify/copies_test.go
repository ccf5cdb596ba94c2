package verify_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
)

func pair(t *testing.T, key string) *record.Schema {
	t.Helper()
	return schemaOf(t, key, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "v", Kind: record.String, Nullable: true})
}

func numbered(from, to int, v string) (docs []string) {
	for i := from; i < to; i++ {
		docs = append(docs, fmt.Sprintf(`{"id":%d,"v":%q}`, i, v))
	}
	return docs
}

// TestTheNewestCopyCounts writes several copies of keys, the newest not last, and deletes some.
func TestTheNewestCopyCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	newest := w.batch(w.source.schema, record.Update, numbered(0, 30, "new")...)
	for i := range newest.System.Versions.Lo {
		newest.System.Versions.Lo[i] += 1_000_000
	}
	w.give(newest, true, true)
	for range 3 {
		w.write(record.Update, numbered(0, 40, "old")...)
	}
	w.write(record.Delete, numbered(35, 40, "")...)
	w.write(record.Delete, numbered(0, 5, "")...) // with an old version
	w.source.set(append(numbered(0, 30, "new"), numbered(30, 35, "old")...)...)
	w.want(35, 0, 0, 0)
	w.source.set(append(numbered(0, 30, "old"), numbered(30, 35, "old")...)...)
	w.want(35, 0, 0, 30)
}

// TestTheSameRowTwice is in the lake what a copy with the same version is: one row.
func TestTheSameRowTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	b := w.batch(w.source.schema, record.Insert, numbered(0, 20, "x")...)
	w.give(b, true, true)
	w.give(b, true, true)
	w.source.set(numbered(0, 20, "x")...)
	w.want(20, 0, 0, 0)
}

// TestOneVersionTwoEvents has two copies of one version: the greater id of an event decides, as in the view.
func TestOneVersionTwoEvents(t *testing.T) {
	t.Parallel()
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		w := newWorld(t, pair(t, "id"))
		for _, i := range order {
			w.version = 0
			b := w.batch(w.source.schema, record.Insert, numbered(0, 20, []string{"first", "second"}[i])...)
			for range b.Rows {
				b.System.EventIDs.AppendText([]byte{'a' + byte(i)})
			}
			w.give(b, true, false)
		}
		w.source.set(numbered(0, 20, "second")...)
		if lake := w.compare(verify.Options{})[0]; !lake.Equal() {
			t.Errorf("%v: %+v", order, lake)
		}
	}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 30, "gone")...)
	late := w.batch(w.source.schema, record.Insert, numbered(50, 60, "late")...) // of before the truncation, and written after it
	w.give(w.batch(w.source.schema, record.Truncate, `{"id":0}`), true, false)
	w.write(record.Insert, numbered(10, 20, "new")...)
	w.give(late, true, false)
	w.source.set(numbered(10, 20, "new")...)
	for _, o := range []verify.Options{{}, verify.Options{}.Copies(1)} {
		if lake := w.compare(o)[0]; !lake.Equal() || lake.SinkRows != 10 {
			t.Errorf("%+v", lake)
		}
	}
	w.source.set(numbered(10, 21, "new")...)
	if lake := w.compare(verify.Options{})[0]; lake.Missing != 1 || len(lake.Differ) != 1 || lake.Differ[0].Key["id"] != "20" {
		t.Errorf("%+v", lake)
	}
}

func TestWithoutAKey(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source, sink              []string
		missing, extra, different int64
	}{
		"equal, in another order":   {source: []string{"a", "b", "a"}, sink: []string{"b", "a", "a"}},
		"empty":                     {},
		"a pair that xor cancels":   {source: []string{"a"}, sink: []string{"a", "b", "b"}, extra: 2},
		"another pair, as many":     {source: []string{"a", "b", "b"}, sink: []string{"a", "c", "c"}, different: 1},
		"one of two that are equal": {source: []string{"a", "a"}, sink: []string{"a"}, missing: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			docs := func(values []string) (out []string) {
				for _, v := range values {
					out = append(out, fmt.Sprintf(`{"id":1,"v":%q}`, v))
				}
				return out
			}
			w := newWorld(t, pair(t, ""))
			w.source.ranged = 0
			w.source.set(docs(c.source)...)
			w.write(record.Insert, docs(c.sink)...)
			w.want(int64(len(c.source)), c.missing, c.extra, c.different)
		})
	}
}

// TestSnapshotsWithoutAKey reads the rows of the newest snapshot that was completed, each as often as its versions say.
func TestSnapshotsWithoutAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, ""))
	w.source.ranged = 0
	snapshot := func(epoch uint16, complete bool, docs ...string) *record.Batch {
		w.epoch, w.version = epoch, 0
		b := w.batch(w.source.schema, record.Snapshot, docs...)
		w.give(b, true, false)
		if complete {
			end := w.batch(w.source.schema, record.Truncate, `{"id":0}`)
			end.System.Versions = record.One(record.Version{Epoch: epoch})
			w.give(end, true, false)
		}
		return b
	}
	one := `{"id":1,"v":"x"}`
	snapshot(1, true, one, one, one)
	again := snapshot(2, true, one, one, `{"id":2}`)
	w.give(again, true, false) // rows of one version are one row
	snapshot(3, false, one)
	w.source.set(`{"id":2}`, one, one)
	w.want(3, 0, 0, 0)
	w.source.set(one, one, one)
	w.want(3, 0, 0, 1)
}

// TestWidenedColumns reads files of before and after a column grew, and leaves out what the source no longer has.
func TestWidenedColumns(t *testing.T) {
	t.Parallel()
	columns := func(extra string, n, f record.Kind, precision, scale int) []record.Field {
		return []record.Field{
			{Name: "id", Kind: n},
			{Name: "n", Kind: n, Nullable: true},
			{Name: "f", Kind: f, Nullable: true},
			{Name: "d", Kind: record.Decimal, Precision: precision, Scale: scale, Nullable: true},
			{Name: extra, Kind: record.String, Nullable: true},
		}
	}
	before := schemaOf(t, "id", columns("old", record.Int32, record.Float32, 6, 2)...)
	after := schemaOf(t, "id", columns("new", record.Int64, record.Float64, 30, 6)...)
	slices.Reverse(after.Fields[1:]) // other columns, in another order
	after = schemaOf(t, "id", after.Fields...)
	w := newWorld(t, before)
	row := func(i int, more string) string {
		return fmt.Sprintf(`{"id":%d,"n":%d,"f":0.5,"d":"%d.25"%s}`, i, i, i, more)
	}
	for i := range 20 {
		w.give(w.batch(before, record.Insert, row(i, `,"old":"x"`)), true, true)
	}
	w.source.schema = after
	docs := []string{}
	for i := range 20 {
		docs = append(docs, row(i, ""))
	}
	for i := 15; i < 25; i++ {
		doc := row(i, `,"new":"y"`)
		docs = append(docs[:i], doc)
	}
	w.give(w.batch(after, record.Update, docs[15:]...), true, true)
	w.source.set(docs...)
	tables := w.want(25, 0, 0, 0)
	if !slices.Equal(tables[0].LeftOut, []string{"old"}) {
		t.Errorf("left out %q", tables[0].LeftOut)
	}
	w.source.set(append(docs[:24:24], row(24, `,"new":"z"`))...)
	w.want(25, 0, 0, 1)
}

// TestRawColumns compares the text that stands for a value which its column cannot hold.
func TestRawColumns(t *testing.T) {
	t.Parallel()
	at := record.Field{Name: "At", Kind: record.Timestamp, Nullable: true}
	plain := schemaOf(t, "id", record.Field{Name: "id", Kind: record.Int64}, at)
	raw := schemaOf(t, "id", record.Field{Name: "id", Kind: record.Int64}, at, record.Field{Name: "At__raw", Kind: record.String, Nullable: true})
	w := newWorld(t, plain)
	w.give(w.batch(plain, record.Insert, `{"id":1,"At":"2026-01-01T00:00:00Z"}`), true, true)
	w.give(w.batch(raw, record.Insert, `{"id":2,"At__raw":"infinity"}`), true, true)
	w.source.set(`{"id":1,"At":"2026-01-01T00:00:00Z"}`, `{"id":2}`)
	w.want(2, 0, 0, 1) // a source that does not tell
	w.source.schema = raw
	w.source.set(`{"id":1,"At":"2026-01-01T00:00:00Z"}`, `{"id":2,"At__raw":"infinity"}`)
	w.want(2, 0, 0, 0)
}

// TestAValueOfAnotherType equals nothing, also where the source holds nothing.
func TestAValueOfAnotherType(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.write(record.Insert, numbered(0, 10, "text")...)
	w.source.schema = schemaOf(t, "id", record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "v", Kind: record.Int64, Nullable: true})
	for i := range 10 {
		w.source.docs = append(w.source.docs, fmt.Sprintf(`{"id":%d}`, i))
	}
	w.want(10, 0, 0, 10)
}

// TestOperationsWithoutAKey: what the view of the latest rows does not show of a table without a key is not compared either.
func TestOperationsWithoutAKey(t *testing.T) {
	t.Parallel()
	for _, truncated := range []bool{false, true} {
		w := newWorld(t, pair(t, ""))
		w.source.ranged = 0
		if truncated {
			w.give(w.batch(w.source.schema, record.Truncate, `{"id":0}`), true, false)
		}
		w.write(record.Snapshot, numbered(0, 5, "x")...)
		w.write(record.Insert, numbered(5, 8, "x")...)
		w.write(record.Update, numbered(0, 5, "y")...)
		w.source.set(numbered(0, 8, "x")...)
		w.want(8, 0, 0, 0)
	}
}

// versioned gives records versions of an epoch, one each, and one day: they are in one file.
func versioned(b *record.Batch, epoch uint16, numbers ...uint64) *record.Batch {
	b.System.EventTimes = []int64{0}
	b.System.Versions = record.Versions{Epoch: epoch, Lo: numbers}
	return b
}

// TestFilesBelowATruncation reads files of which a row may be there still, and no others: those of an epoch before are damaged, and
// nobody notices. Rows at the truncation's own version are there, and so are those above it beside others that are gone.
func TestFilesBelowATruncation(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"id", ""} {
		w := newWorld(t, pair(t, key))
		w.source.ranged = 0
		w.give(versioned(w.batch(w.source.schema, record.Snapshot, numbered(0, 4, "old")...), 1, 1, 2, 3, 4), true, false)
		below := lakeFiles(t, w.root)
		w.give(versioned(w.batch(w.source.schema, record.Snapshot, numbered(0, 1, "new")...), 2, 0), true, false) // at the truncation
		w.give(versioned(w.batch(w.source.schema, record.Snapshot, numbered(1, 3, "new")...), 2, 1, 2), true, false)
		mixed := versioned(w.batch(w.source.schema, record.Snapshot, numbered(3, 6, "new")...), 2, 0, 8, 9)
		mixed.System.Ops = []record.Op{record.Truncate, record.Snapshot, record.Insert}
		w.give(mixed, true, false)
		w.source.set(append(numbered(0, 3, "new"), numbered(4, 6, "new")...)...)
		check := func(rows int64) {
			t.Helper()
			for _, o := range []verify.Options{{}, verify.Options{}.Copies(1)} {
				if lake := w.compare(o)[0]; !lake.Equal() || lake.SinkRows != rows || lake.Digest != lake.SinkDigest {
					t.Errorf("key %q: %+v", key, lake)
				}
			}
		}
		check(5)
		for _, name := range below {
			damage(t, name)
		}
		check(5)
		w.source.set(append(numbered(0, 2, "new"), numbered(4, 6, "other")...)...) // what differs is looked at again
		if lake := w.compare(verify.Options{})[0]; lake.Equal() {
			t.Errorf("key %q: %+v", key, lake)
		}
	}
}

// TestATruncationBetweenOthers: the newest of several truncations counts, wherever it stands.
func TestATruncationBetweenOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pair(t, "id"))
	w.source.ranged = 0
	for _, version := range []uint64{5, 9, 7} {
		b := versioned(w.batch(w.source.schema, record.Update, numbered(int(version), int(version)+3, "x")...), 1, version+1, version, version-1)
		b.System.Ops = []record.Op{record.Update, record.Truncate, record.Update}
		w.give(b, true, false)
	}
	w.source.set(numbered(9, 10, "x")...)
	if lake := w.compare(verify.Options{})[0]; !lake.Equal() || lake.SinkRows != 1 {
		t.Errorf("%+v", lake)
	}
}

// lakeFiles are the files of the table.
func lakeFiles(t *testing.T, root string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "t", "*", "*.parquet"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	return names
}

// damage takes the content of a file away; the footer stays.
func damage(t *testing.T, name string) {
	t.Helper()
	text, err := os.ReadFile(name) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	footer := int(binary.LittleEndian.Uint32(text[len(text)-8:]))
	clear(text[4 : len(text)-8-footer])
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
