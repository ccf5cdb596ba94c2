package routers

import (
	"slices"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
)

// TestLetterOfAPart: a dead letter says which values the source did not send.
func TestLetterOfAPart(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema("t", nil, record.Field{Name: "a", Kind: record.String, Nullable: true}, record.Field{Name: "b", Kind: record.String, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(schema, 2)
	b.Null(0)
	b.Absent(1)
	b.Next()
	b.Next()
	batch := b.Batch(nil)
	d := &delivery{incarnation: &incarnation{}}
	for row, want := range [][]string{{"b"}, nil} {
		if got := d.letter("s", batch, row, fault.Row{}); !slices.Equal(got.Absent, want) {
			t.Errorf("row %d: %v are absent, want %v, of %s", row, got.Absent, want, got.Row)
		}
	}
}
