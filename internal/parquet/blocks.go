package parquet

// blocks are bytes that only grow, in pieces: what was written is never copied, as it would be for a slice that grows.
type blocks struct {
	all  [][]byte // those after the last one in use are empty, and kept
	last int
	size int // bytes written
	held int // capacity
}

// The size of a new block: half of what there is, so that little is held in vain, within these.
const (
	leastBlock = 4 << 10
	mostBlock  = 512 << 10
)

func (b *blocks) append(p []byte) {
	b.size += len(p)
	for len(p) > 0 {
		if b.last == len(b.all) {
			n := min(max(b.held/2, leastBlock), mostBlock)
			b.all, b.held = append(b.all, make([]byte, 0, n)), b.held+n
		}
		at := &b.all[b.last]
		n := min(len(p), cap(*at)-len(*at))
		*at, p = append(*at, p[:n]...), p[n:]
		if len(p) > 0 {
			b.last++
		}
	}
}

// reset forgets the bytes and keeps the memory.
func (b *blocks) reset() {
	for i := range b.all {
		b.all[i] = b.all[i][:0]
	}
	b.last, b.size = 0, 0
}
