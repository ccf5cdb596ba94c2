package block_test

import (
	"math/rand/v2"
	"testing"

	"github.com/acequia-io/acequia/internal/parquet/parquettest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/record/block"
)

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
