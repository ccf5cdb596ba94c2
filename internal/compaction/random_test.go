package compaction

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// randomTable is a table of any columns, whose schema widens as it goes.
type randomTable struct {
	r      *rand.Rand
	fields []record.Field
	key    []string
}

func newRandomTable(r *rand.Rand) *randomTable {
	t := &randomTable{r: r}
	for _, f := range parquettest.Fields(r) {
		if !holdsVersions(f) { // a version of the source's own is a text
			t.fields = append(t.fields, f)
		}
	}
	if len(t.fields) == 0 {
		t.fields = []record.Field{{Name: "only", Kind: record.Int32}}
	}
	for _, f := range t.fields {
		if f.Kind != record.List && f.Kind != record.Struct && r.IntN(3) == 0 {
			t.key = append(t.key, f.Name)
		}
	}
	return t
}

func holdsVersions(f record.Field) bool {
	return f.Kind == record.VersionText || slices.ContainsFunc(f.Fields, holdsVersions)
}

// grow adds a column, or widens one.
func (t *randomTable) grow() {
	t.fields = slices.Clone(t.fields)
	if t.r.IntN(2) == 0 {
		t.fields = append(t.fields, record.Field{Name: fmt.Sprintf("more%d", len(t.fields)), Kind: record.String, Nullable: true})
		return
	}
	for i, f := range t.fields {
		switch f.Kind { //nolint:exhaustive // those that can be wider
		case record.Int32:
			t.fields[i].Kind = record.Int64
		case record.Float32:
			t.fields[i].Kind = record.Float64
		}
	}
}

func (t *randomTable) batch() (*record.Batch, error) {
	schema, err := record.NewSchema("random", t.key, t.fields...)
	if err != nil {
		return nil, err
	}
	n := 1 + t.r.IntN(100)
	columns := parquettest.Columns(t.r, t.fields, n)
	for i := range columns { // the sink refuses what the source did not send
		columns[i].Absent = nil
	}
	sys := record.System{Source: []string{"one", "two"}[t.r.IntN(2)], IngestTime: t.r.Int64N(1 << 40), Versions: record.Versions{Epoch: uint16(t.r.IntN(3))}} //nolint:gosec // small
	for i := range n {
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(t.r.IntN(50))) //nolint:gosec // small
		sys.EventTimes = append(sys.EventTimes, 20_000*day+t.r.Int64N(2)*day)
		sys.Ops = append(sys.Ops, []record.Op{record.Insert, record.Update, record.Delete, record.Truncate}[t.r.IntN(4)])
		sys.EventIDs.AppendText(fmt.Append(nil, i))
	}
	return record.NewBatch(schema, n, columns, sys, nil)
}

// What a table holds is the same before and after, in every column, however wide its rows are for the memory; merged files
// are sorted, and no pair of them would make one.
func TestContentStaysTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		r := rand.New(rand.NewPCG(seed, 1))
		dir, err := os.MkdirTemp("", "acequia-compaction-") //nolint:usetesting // one a check
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		w, err := newWorld(t.Context(), dir)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = w.state.Close() }()
		table := newRandomTable(r)
		for range 2 + r.IntN(4) {
			b, err := table.batch()
			if err != nil {
				rt.Fatal(err)
			}
			if err := w.commit(t.Context(), "checkpoint", b); err != nil {
				rt.Fatal(err)
			}
			if r.IntN(4) == 0 {
				table.grow()
			}
		}
		before, _ := w.live(rt, "random")
		o := w.options()
		o.Rows = int64(50 + r.IntN(400))
		o.Column = 1 << (6 + r.IntN(16)) // of 64 bytes no key fits, and few columns do at once
		results, err := Compact(t.Context(), o)
		if err != nil {
			rt.Fatal(err)
		}
		after, files := w.live(rt, "random")
		if !slices.Equal(before, after) {
			rt.Fatalf("%d rows became %d, or others; %+v", len(before), len(after), results)
		}
		described, err := describedTable(w.root, "random")
		if err != nil {
			rt.Fatal(err)
		}
		for _, name := range files {
			if !strings.Contains(name, "/swap-") {
				continue
			}
			if err := sorted(w.root, name, described); err != nil {
				rt.Fatal(err)
			}
		}
		if o.Column < 1<<16 {
			return // files whose keys do not fit stay as they are
		}
		if again, err := Compact(t.Context(), o); err != nil || again[0].Inputs > 0 && again[0].Rows > 2*o.Rows {
			rt.Fatalf("again: %+v, %v", again, err)
		}
	})
}

// sorted checks that the rows of a file are in the order of key and version.
func sorted(root, name string, described *schemas.LakeTable) error {
	m := newMerge(described, 1<<30)
	if err := m.open(context.Background(), blob.Within(root), []string{name}); err != nil {
		return err
	}
	defer m.close()
	if err := m.sort(context.Background()); err != nil {
		return err
	}
	if int64(m.rows) > 1_000_000 || !slices.IsSorted(m.order) {
		return fmt.Errorf("%s is not sorted: %d", name, m.order[:min(20, len(m.order))])
	}
	return nil
}

// The order is that of the values, whatever their type.
func TestOrderOfKeys(t *testing.T) {
	t.Parallel()
	null := uint64(0)
	text := func(values ...string) (c record.Column) {
		for _, v := range values {
			c.AppendText([]byte(v))
		}
		return c
	}
	for name, c := range map[string]struct {
		field  record.Field
		column record.Column // its rows come in this order: 2, 0, 1
	}{
		"integers":       {record.Field{Kind: record.Int64}, record.Column{Ints: []int64{-1, 3, -1 << 63}}},
		"floats":         {record.Field{Kind: record.Float64}, record.Column{Floats: []float64{-0.5, 3, -7}}},
		"decimals":       {record.Field{Kind: record.Decimal, Precision: 38}, record.Column{Wide: []record.Int128{{Hi: -1, Lo: 2}, {Hi: 0, Lo: 1}, {Hi: -1, Lo: 1}}}},
		"texts":          {record.Field{Kind: record.String}, text("id-0000000000-b", "id-0000000000-bb", "id-0000000000-a")},
		"long texts":     {record.Field{Kind: record.String}, text("xaaaaaaaaab", "xaaaaaaaaabb", "xaaaaaaaaaa")},
		"nulls":          {record.Field{Kind: record.Int64, Nullable: true}, record.Column{Ints: []int64{-1 << 63, 0, 0}, Valid: []uint64{null | 3}}},
		"equal as stand": {record.Field{Kind: record.Int32}, record.Column{Ints: []int64{5, 5, 4}}},
	} {
		k := keyColumns{fields: []record.Field{c.field}, columns: []record.Column{c.column}}
		order := make([]int32, 3)
		k.sort(order)
		if !slices.Equal(order, []int32{2, 0, 1}) {
			t.Errorf("%s: order %d", name, order)
		}
	}
}

// Of one key the versions ascend, over epochs.
func TestVersionsOfAKeyAscend(t *testing.T) {
	t.Parallel()
	w := start(t)
	schema, err := gamesSchema()
	if err != nil {
		t.Fatal(err)
	}
	commit := func(v record.Version) {
		b := record.NewBuilder(schema, 2)
		for id := range 2 {
			b.Int(0, int64(id))
			b.Next()
		}
		b.System().Versions, b.System().EventTimes = record.One(v), []int64{20_000 * day}
		if err := w.commit(t.Context(), "checkpoint", b.Batch(nil)); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []record.Version{{Epoch: 2, Lo: 1}, {Epoch: 1, Lo: 9}, {Epoch: 1, Hi: 1}, {Epoch: 3}} {
		commit(v)
	}
	for range 2 { // the second time a file of several epochs is among the inputs
		if got, err := Compact(t.Context(), w.options()); err != nil || got[0].Outputs != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		if w.group == 4 {
			commit(record.Version{Epoch: 1, Lo: 9, Index: 3})
		}
	}
	_, files := w.live(t, "games")
	rows, err := rowsIn(w.root, "games", files)
	if err != nil || len(rows) != 10 {
		t.Fatal(rows, err)
	}
	for i, want := range []string{"0001-00000000000000000000000000000009-00000000", "0001-00000000000000000000000000000009-00000003", "0001-00000000000000010000000000000000-00000000", "0002", "0003"} {
		for id := range 2 {
			if row := rows[id*5+i]; !strings.HasPrefix(row, fmt.Sprintf("id=%d ", id)) || !strings.Contains(row, `_version="`+want) {
				t.Errorf("row %d of key %d: %s", i, id, row)
			}
		}
	}
}

// A column that does not fit into the memory is read in parts; the rows come out all the same.
func TestAColumnThatDoesNotFit(t *testing.T) {
	t.Parallel()
	w := start(t)
	schema, err := gamesSchema()
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for file := range 4 {
		b := record.NewBuilder(schema, 150)
		for range 150 {
			b.Int(0, r.Int64N(1000))
			if file == 0 {
				b.String(1, "the same")
			} else {
				b.String(1, strings.Repeat("x", r.IntN(2000)))
			}
			b.Next()
		}
		b.System().EventTimes = []int64{20_000 * day}
		if err := w.commit(t.Context(), "checkpoint", b.Batch(nil)); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := w.live(t, "games")
	o := w.options()
	o.Column = 20_000 // of some 450,000
	if got, err := Compact(t.Context(), o); err != nil || got[0].Outputs != 1 || got[0].Inputs != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	after, files := w.live(t, "games")
	if !slices.Equal(before, after) {
		t.Errorf("%d rows became %d, or others", len(before), len(after))
	}
	described, err := describedTable(w.root, "games")
	if err != nil {
		t.Fatal(err)
	}
	if err := sorted(w.root, files[0], described); err != nil {
		t.Error(err)
	}
}

// A column that the table's description does not know would be lost.
func TestAColumnThatNobodyKnowsIsNotLost(t *testing.T) {
	t.Parallel()
	w := start(t)
	if err := w.fill(t.Context(), 2, 10, 1); err != nil {
		t.Fatal(err)
	}
	described, err := describedTable(w.root, "games")
	if err != nil {
		t.Fatal(err)
	}
	described.Columns = described.Columns[:1]
	text, err := described.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.root+"/_tables/games.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Compact(t.Context(), w.options()); fault.Code(err) != "ACQ-LAKE-024" || !strings.Contains(err.Error(), "column title") {
		t.Errorf("got %v", err)
	}
}
