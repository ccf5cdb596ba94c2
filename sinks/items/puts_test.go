package items

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/internal/itemstore"
)

// TestPuts adds and takes back in any order: what is left is what a plain list would have, in pieces that are full but the last.
func TestPuts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 4).Draw(t, "size")
		var p puts
		var want []string
		for i := range rapid.IntRange(0, 40).Draw(t, "steps") {
			if rapid.IntRange(0, 4).Draw(t, "step") > 0 {
				p.add(itemstore.Put{Key: strconv.Itoa(i)}, size)
				want = append(want, strconv.Itoa(i))
				continue
			}
			n := rapid.IntRange(0, len(want)).Draw(t, "left")
			p.cut(n)
			want = want[:n]
		}
		for i, piece := range p.pieces {
			if len(piece) != size && i < len(p.pieces)-1 || len(piece) == 0 || len(piece) > size {
				t.Fatalf("piece %d of %d has %d of %d", i, len(p.pieces), len(piece), size)
			}
		}
		p.whole()
		var got []string
		for _, piece := range p.pieces {
			for i := range piece {
				got = append(got, piece[i].Key)
			}
		}
		if p.n != len(want) || len(got) != len(want) || len(p.pieces) > 1 {
			t.Fatalf("%d counted, %d there, of %d, in %d pieces", p.n, len(got), len(want), len(p.pieces))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("%v instead of %v", got, want)
			}
		}
	})
}
