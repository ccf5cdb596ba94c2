package derive_test

import (
	"math"
	"testing"

	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/record"
)

func TestFloor(t *testing.T) {
	t.Parallel()
	h, err := derive.New(derive.Config{Name: "bucket", From: "n", Floor: 10})
	if err != nil {
		t.Fatal(err)
	}
	cases := [][2]int64{
		{1998, 1990},
		{1990, 1990},
		{0, 0},
		{9, 0},
		{-1, -10},
		{-10, -10},
		{-11, -20},
		{math.MaxInt64, math.MaxInt64 - 7},
		{math.MinInt64 + 8, math.MinInt64 + 8},
	}
	b := record.NewBuilder(schema(t, record.Field{Name: "n", Kind: record.Int64, Nullable: true}), len(cases)+2)
	for _, c := range cases {
		b.Int(1, c[0])
		b.Next()
	}
	b.Null(1)
	b.Next()
	b.Absent(1)
	b.Next()
	out, err := h.Handle(t.Context(), b.Batch(nil))
	if err != nil {
		t.Fatal(err)
	}
	got := &out[0].Columns[2]
	for i, c := range cases {
		if v := got.Int(i); v != c[1] || !got.IsValid(i) {
			t.Errorf("%d became %d, want %d", c[0], v, c[1])
		}
	}
	if n := len(cases); got.IsValid(n) || got.IsAbsent(n) {
		t.Error("null did not stay null")
	}
	if n := len(cases) + 1; !got.IsAbsent(n) {
		t.Error("absent did not stay absent: an update that sends no year would erase the decade")
	}
}
