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

// TestDictionaryCollision has two texts that the table of a small dictionary cannot tell apart by their hashes.
func TestDictionaryCollision(t *testing.T) {
	t.Parallel()
	type place struct{ high, slot uint32 }
	at := map[place]uint64{}
	for i := range uint64(8 << 20) {
		v := binary.LittleEndian.AppendUint64(nil, i*0x9E3779B97F4A7C15)
		h := hash(v)
		p := place{uint32(h >> 32), uint32(h & 63)} //nolint:gosec // parts of a hash
		other, ok := at[p]
		if !ok {
			at[p] = i
			continue
		}
		var d textDict
		if d.id(v) != 0 || d.id(binary.LittleEndian.AppendUint64(nil, other*0x9E3779B97F4A7C15)) != 1 {
			t.Errorf("texts %d and %d are one", i, other)
		}
		return
	}
	t.Error("no collision found")
}
