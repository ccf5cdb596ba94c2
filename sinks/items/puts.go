package items

import (
	"slices"

	"github.com/acequia-io/acequia/internal/itemstore"
)

// puts are the writes of a group, in pieces of what one transaction has: one array that grows would hold half as much again, and would
// be held whole until the last of it is stored.
type puts struct {
	pieces [][]itemstore.Put
	n      int
}

func (p *puts) add(one itemstore.Put, size int) {
	last := len(p.pieces) - 1
	if last < 0 || len(p.pieces[last]) >= size {
		p.pieces = append(p.pieces, nil)
		last++
		if last > 0 { // most groups have few records, and no second piece
			p.pieces[last] = make([]itemstore.Put, 0, size)
		}
	}
	p.pieces[last] = append(p.pieces[last], one)
	p.n++
}

// cut leaves the first n.
func (p *puts) cut(n int) {
	for p.n > n {
		last := len(p.pieces) - 1
		kept := max(0, len(p.pieces[last])-(p.n-n))
		p.n -= len(p.pieces[last]) - kept
		clear(p.pieces[last][kept:])
		if p.pieces[last] = p.pieces[last][:kept]; kept == 0 {
			p.pieces = p.pieces[:last]
		}
	}
}

// whole makes one piece of all.
func (p *puts) whole() {
	if len(p.pieces) > 1 {
		p.pieces = [][]itemstore.Put{slices.Concat(p.pieces...)}
	}
}
