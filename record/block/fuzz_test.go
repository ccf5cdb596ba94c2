package block_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/record/block"
)

// A list of a milliard equal elements takes no more bytes than one of two: it counts as what it is.
func TestElementsCount(t *testing.T) {
	t.Parallel()
	fields := []record.Field{{Name: "l", Kind: record.List, Fields: []record.Field{{Name: "element", Kind: record.Int64}}}}
	for elements, want := range map[uint32]error{2: nil, 1 << 30: block.ErrDamaged} {
		columns := []record.Column{{Offsets: []uint32{0, elements}, Children: []record.Column{{Const: true, Ints: []int64{7}}}}}
		p := block.Append(nil, fields, columns, 0, 1)
		if err := block.NewDecoder(fields, make([]record.Column, 1)).Add(p, 1, 1<<16); !errors.Is(err, want) {
			t.Errorf("%d elements in %d bytes: %v", elements, len(p), err)
		}
	}
}

// FuzzDecode gives the decoder blocks that nobody has written: it must not panic or ask for memory without end.
func FuzzDecode(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		fields := parquettest.Fields(r)
		columns := parquettest.Columns(r, fields, 50)
		f.Add(seed, 4, block.Append(nil, fields, columns, 3, 7))
	}
	f.Fuzz(func(_ *testing.T, seed uint64, rows int, p []byte) {
		fields := parquettest.Fields(rand.New(rand.NewPCG(seed, 4)))
		d := block.NewDecoder(fields, make([]record.Column, len(fields)))
		rows = max(0, rows%1000)
		if d.Add(p, rows, 1<<16) == nil {
			_ = d.Add(p, rows, 1<<16)
		}
	})
}
