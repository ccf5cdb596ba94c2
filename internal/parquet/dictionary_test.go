package parquet

import (
	"encoding/binary"
	"testing"
)

// TestDictionaryIDs numbers values in the order they come, each once, also while the tables grow.
func TestDictionaryIDs(t *testing.T) {
	t.Parallel()
	var texts textDict
	var words wordDict
	for round := range 2 {
		for i := range int32(5000) {
			v := binary.AppendVarint(make([]byte, i%40), int64(i))
			if id := texts.id(v); id != i {
				t.Fatalf("round %d: text %d has id %d", round, i, id)
			}
			if id := words.id(int64(i-2500) << (i % 30)); round == 1 && words.words[id] != int64(i-2500)<<(i%30) {
				t.Fatalf("round %d: word %d has id %d", round, i, id)
			}
		}
	}
	if texts.len() != 5000 {
		t.Errorf("%d texts, want 5000", texts.len())
	}
	distinct := map[int64]bool{}
	for _, v := range words.words {
		distinct[v] = true
	}
	if len(distinct) != len(words.words) {
		t.Errorf("%d words, %d distinct", len(words.words), len(distinct))
	}
}

// TestDictionaryCollision has two texts that only their bytes tell apart: the second word undoes what the first did to
// the hash.
func TestDictionaryCollision(t *testing.T) {
	t.Parallel()
	text := func(first uint64) []byte {
		v := binary.LittleEndian.AppendUint64(nil, first)
		v = binary.LittleEndian.AppendUint64(v, fold(first, k1)^42)
		return append(v, "the same"...)
	}
	a1, b1 := long(text(1))
	a2, b2 := long(text(2))
	if a1 != a2 || b1 != b2 {
		t.Fatal("the texts do not collide")
	}
	var d textDict
	if d.id(text(1)) != 0 || d.id(text(2)) != 1 || d.id(text(1)) != 0 {
		t.Error("two texts are one")
	}
}

// TestDictionaryShort tells apart all texts of up to three bytes out of three letters, and texts that differ in one byte.
func TestDictionaryShort(t *testing.T) {
	t.Parallel()
	var d textDict
	seen := map[string]int32{}
	put := func(v []byte) {
		id := d.id(v)
		if want, ok := seen[string(v)]; ok && id != want || !ok && int(id) != len(seen) {
			t.Fatalf("%q has id %d", v, id)
		}
		seen[string(v)] = id
	}
	put(nil)
	for i := range 3 * 3 * 3 * 4 {
		put([]byte{"\x00ab"[i%3], "\x00ab"[i/3%3], "\x00ab"[i/9%3]}[:i/27])
	}
	for n := range 40 {
		for i := range n {
			v := make([]byte, n)
			put(v)
			v[i] = 1
			put(v)
		}
	}
}
