package mysql

import (
	"slices"

	"github.com/acequia-io/acequia/internal/gather"
)

// Gathering takes rows one by one, and decodes them column by column when there are enough. Rows that cannot be held go to refused, which is
// called when Decoder.Count rows before it were taken.
type Gathering struct {
	*Decoder

	refused func(*gather.RowError) error
	block   gather.Block
	rows    int
}

// Gather makes one for rows of the layout.
func (l *Layout) Gather(refused func(*gather.RowError) error) *Gathering {
	return &Gathering{Decoder: l.Decoder(), refused: refused, block: gather.Block{Spans: make([]gather.Span, len(l.source)*gather.BlockStride)}}
}

// Take takes one row of values as a query sends them, one for each column of the table; nil is NULL. Nothing of them is kept.
func (g *Gathering) Take(values [][]byte) error {
	if len(values) != len(g.layout.source) {
		return g.otherWidth(len(values))
	}
	for c, v := range values {
		n := int32(-1)
		if v != nil {
			n = int32(len(v)) //nolint:gosec // a row is below 2 GiB
		}
		g.block.Spans[c*gather.BlockStride+g.rows] = gather.Span{At: int32(len(g.block.Buf)), N: n} //nolint:gosec // below most, or one row
		g.block.Buf = append(g.block.Buf, v...)
	}
	const most = 1 << 20
	if g.rows++; g.rows == gather.BlockRows || len(g.block.Buf) >= most {
		return g.Flush()
	}
	return nil
}

// Flush decodes what was taken.
func (g *Gathering) Flush() error {
	if g.rows == 0 {
		return nil
	}
	rows := g.rows
	g.rows = 0
	g.block.Buf = append(g.block.Buf, slices.Repeat([]byte{0}, gather.Slack)...)
	err := g.Decoder.block(&g.block, 0, rows, g.refused)
	g.block.Buf = g.block.Buf[:0]
	return err
}
