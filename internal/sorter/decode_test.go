package sorter

import (
	"math/rand/v2"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
)

// FuzzDecode gives the decoder blocks that no sorter has written: it must not panic or ask for memory without end.
func FuzzDecode(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		fields := parquettest.Fields(r)
		columns := parquettest.Columns(r, fields, 50)
		sorted := make([]record.Column, len(fields))
		var g gatherer
		for i := range fields {
			g.column(fields[i], &sorted[i], []*record.Column{&columns[i]}, []uint64{3, 1, 49, 7})
		}
		f.Add(seed, 4, appendBlock(nil, fields, sorted, 0, 4))
	}
	f.Fuzz(func(_ *testing.T, seed uint64, rows int, block []byte) {
		fields := parquettest.Fields(rand.New(rand.NewPCG(seed, 4)))
		d := decoder{fields: fields, columns: make([]record.Column, len(fields))}
		h := header{rows: max(0, rows%1000), size: len(block)}
		if d.add(block, h, 1<<16) == nil {
			_ = d.add(block, h, 1<<16)
		}
	})
}
