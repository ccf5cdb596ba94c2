package parquet_test

import (
	"bytes"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet"
	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"

	pq "github.com/parquet-go/parquet-go"
)

// TestNestedByHand has shapes that random columns have seldom.
func TestNestedByHand(t *testing.T) {
	t.Parallel()
	ints := record.Field{Name: "n", Kind: record.Int64, Nullable: true}
	lists := record.Field{Name: "l", Kind: record.List, Nullable: true, Fields: []record.Field{ints}}
	tests := map[string]struct {
		field  record.Field
		column record.Column
		rows   int
	}{
		// the values of three rows are slots 0 5 0 5 0 5: as many as from 0 to 5
		"constant with gaps": {lists, record.Column{Const: true, Offsets: []uint32{0, 6}, Children: []record.Column{
			{Ints: []int64{1, 0, 0, 0, 0, 2}, Valid: []uint64{0b100001}},
		}}, 3},
		"no elements": {
			record.Field{Name: "l", Kind: record.List, Fields: []record.Field{{Name: "s", Kind: record.Struct, Fields: []record.Field{lists}}}},
			record.Column{Offsets: []uint32{0, 0, 0}, Children: []record.Column{{}}},
			2,
		},
		"lists of lists": {
			record.Field{Name: "l", Kind: record.List, Fields: []record.Field{{Name: "m", Kind: record.List, Nullable: true, Fields: []record.Field{lists}}}},
			record.Column{Offsets: []uint32{0, 3, 3, 4}, Children: []record.Column{{
				Offsets: []uint32{0, 2, 2, 2, 4}, Valid: []uint64{0b1011}, Children: []record.Column{{
					Offsets: []uint32{0, 1, 1, 1, 3}, Valid: []uint64{0b1101}, Children: []record.Column{{Ints: []int64{7, 0, 9}, Valid: []uint64{0b101}}},
				}},
			}}},
			3,
		},
		"constant member": {
			record.Field{Name: "s", Kind: record.Struct, Nullable: true, Fields: []record.Field{ints, lists}},
			record.Column{Valid: []uint64{0b101}, Children: []record.Column{
				{Ints: []int64{4}, Const: true}, {Offsets: []uint32{0, 2}, Const: true, Children: []record.Column{{Ints: []int64{5, 6}}}},
			}},
			3,
		},
	}
	for name, test := range tests {
		fields, batches := []record.Field{test.field}, []batch{{[]record.Column{test.column}, test.rows}}
		var out bytes.Buffer
		w := parquet.NewWriter(&out, fields, nil, parquet.Options{})
		if err := w.Write(batches[0].columns, 0, test.rows); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := pq.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		row := 0
		readRows(t, 0, f, func(r pq.Row) {
			want := parquettest.Value(test.field, &test.column, row)
			if got := newAssembly(r).value(test.field, 0, 0); got != want {
				t.Errorf("%s: row %d: got %s, want %s", name, row, got, want)
			}
			row++
		})
		if row != test.rows {
			t.Errorf("%s: %d rows, want %d", name, row, test.rows)
		}
	}
}
