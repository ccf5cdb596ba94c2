package lake_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
)

// texts is a column of one text a slot.
func texts(values ...string) record.Column {
	var c record.Column
	for _, v := range values {
		c.AppendText([]byte(v))
	}
	return c
}

// TestValuesThatAFileCannotHoldAreNamed gives a batch of four rows of which a file cannot hold some: these are named
// before anything is written, however the rows are routed, and the others pass once.
func TestValuesThatAFileCannotHoldAreNamed(t *testing.T) {
	t.Parallel()
	text := record.Field{Name: "element", Kind: record.String, Nullable: true}
	tooWide := record.Int128{Hi: 0x4b3b4ca85a86c47a, Lo: 0x098a224000000000} // 10 to the 38th
	for _, c := range []struct {
		name   string
		field  record.Field
		column record.Column
		bad    []int
	}{
		{"too many digits, 128 bits", record.Field{Kind: record.Decimal, Precision: 38, Scale: 2}, record.Column{Wide: []record.Int128{{Lo: 1}, tooWide, {Hi: -1}, {}}}, []int{1}},
		{"too many digits, 64 bits", record.Field{Kind: record.Decimal, Precision: 3}, record.Column{Ints: []int64{999, 1000, -1000, -999}}, []int{1, 2}},
		{"beyond 32 bits", record.Field{Kind: record.Int32}, record.Column{Ints: []int64{math.MaxInt32, math.MinInt32, math.MaxInt32 + 1, 0}}, []int{2}},
		{"null in a list", record.Field{Kind: record.List, Fields: []record.Field{{Name: "element", Kind: record.Int64}}}, record.Column{
			Offsets: []uint32{0, 2, 2, 3, 4}, Children: []record.Column{{Ints: []int64{1, 0, 3, 4}, Valid: []uint64{0b1101}}},
		}, []int{0}},
		{"no UTF-8", record.Field{Kind: record.String}, texts("a", "b", "c", "d\xff"), []int{3}},
		{"UTF-8 only together", record.Field{Kind: record.String}, texts("a", "\xc3", "\xb1", "d"), []int{1, 2}},
		{"no UTF-8 in a list", record.Field{Kind: record.List, Fields: []record.Field{text}}, record.Column{
			Offsets: []uint32{0, 1, 2, 2, 4}, Children: []record.Column{texts("a", "b", "c", "\xff")},
		}, []int{3}},
		{"no UTF-8 in a struct", record.Field{Kind: record.Struct, Fields: []record.Field{{Name: "note", Kind: record.String}}}, record.Column{
			Children: []record.Column{texts("\xff", "b", "c", "\xc3")},
		}, []int{0, 3}},
		{"no UTF-8 under a null", record.Field{Kind: record.String, Nullable: true}, func() record.Column {
			c := texts("a", "\xff", "c", "d")
			c.SetNull(1)
			return c
		}(), nil},
	} {
		for _, days := range []int{1, 4, 100} { // one file, side by side, through the sorter
			t.Run(fmt.Sprintf("%s/%d", c.name, days), func(t *testing.T) {
				t.Parallel()
				unfit(t, c.field, c.column, days, c.bad)
			})
		}
	}
}

func unfit(t *testing.T, f record.Field, column record.Column, days int, want []int) {
	t.Helper()
	f.Name = "value"
	schema, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, f)
	if err != nil {
		t.Fatal(err)
	}
	ids := record.Column{Ints: []int64{0, 1, 2, 3}}
	sys := record.System{EventTimes: []int64{20_000 * day, 20_001 * day, 20_002 * day, 20_003 * day}}
	if days == 1 {
		sys.EventTimes = sys.EventTimes[:1]
	}
	b, err := record.NewBatch(schema, 4, []record.Column{ids, column}, sys, nil)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	w, err := open(t, lake.Config{URL: root}).Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "a", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	if days > 4 { // the group before has so many partitions that the table is wide from then on
		widen(t, w, schema, days)
	}
	var bad []int
	err = w.Write(t.Context(), b)
	if rows, ok := errors.AsType[*fault.Rows](err); ok {
		for _, r := range rows.Bad {
			bad = append(bad, r.Index)
			if r.Column != "value" || r.Err == nil {
				t.Errorf("row %d is refused with %+v", r.Index, r)
			}
		}
	} else if err != nil {
		t.Fatalf("bad rows are not told apart: %v", err)
	}
	if !slices.Equal(bad, want) {
		t.Fatalf("rows %v are named, want %v", bad, want)
	}
	if err != nil {
		if err := w.Write(t.Context(), b.Without(bad)); err != nil {
			t.Fatalf("the rows that are left: %v", err)
		}
	}
	m, err := w.Cut(sinks.Group{Ordinal: 2}).Stage(t.Context())
	if err == nil {
		err = w.Publish(t.Context(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for _, ids := range visible(t, root) {
		got = append(got, ids...)
	}
	slices.Sort(got)
	left := slices.DeleteFunc([]int64{0, 1, 2, 3}, func(id int64) bool { return slices.Contains(want, int(id)) })
	if !slices.Equal(got, left) {
		t.Errorf("rows %v are visible, want %v", got, left)
	}
}

// widen lets a group that is never published have many partitions.
func widen(t *testing.T, w sinks.Writer, schema *record.Schema, days int) {
	t.Helper()
	b := record.NewBuilder(schema, days)
	for i := range days {
		b.Int(0, int64(i))
		b.Next()
		b.System().EventTimes = append(b.System().EventTimes, int64(i)*day)
	}
	if err := w.Write(t.Context(), b.Batch(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
}
