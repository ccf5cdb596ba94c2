package record_test

import (
	"testing"

	"github.com/acequia-io/acequia/record"
)

// TestLeading gives the same words for the same text, whatever lies behind it, and other words for another text of the
// same length.
func TestLeading(t *testing.T) {
	t.Parallel()
	type key struct {
		a, b uint64
		size int
	}
	seen := map[key]string{}
	for n := range 17 {
		for i := range n + 1 {
			for _, behind := range []string{"", "x", "0123456789abcdef"} {
				v := append(make([]byte, n, n+len(behind)), behind...)[:n]
				if i < n {
					v[i] = 0xFF
				}
				a, b := record.Leading(v)
				k := key{a, b, n}
				if other, ok := seen[k]; ok != (behind != "") || ok && other != string(v) {
					t.Fatalf("%q with %q behind has the words of %q", v, behind, other)
				}
				seen[k] = string(v)
			}
		}
	}
	a, b := record.Leading([]byte("0123456789abcdefghi"))
	if a2, b2 := record.Leading([]byte("0123456789abcdef")); a != a2 || b != b2 {
		t.Error("what is behind the first 16 bytes counts")
	}
}
