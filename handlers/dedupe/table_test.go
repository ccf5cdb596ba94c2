package dedupe

import (
	"testing"

	"pgregory.net/rapid"
)

// The table does what a map does, also with keys that all have one place; its slots are in order, and no gap parts a key from
// its place.
func TestTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var got table
		want := map[key]slot{}
		limit := rapid.IntRange(1, 400).Draw(t, "limit")
		keys := rapid.Custom(func(t *rapid.T) key {
			n := rapid.Uint64Range(0, 600).Draw(t, "n")
			return rapid.SampledFrom([]key{{hi: 1 << 56, lo: n}, {hi: ^uint64(0), lo: n}, {hi: n << 47}, {hi: n * 0x9E3779B97F4A7C15}, {hi: n << 24, lo: n}}).Draw(t, "key")
		})
		horizon := int64(-1)
		keep := func(s *slot) bool { return s.at > horizon }
		for at := range int64(limit) {
			k := keys.Draw(t, "of")
			switch rapid.IntRange(0, 30).Draw(t, "do") {
			case 0:
				horizon = at / 2
				got.keep(keep)
				for k, s := range want {
					if s.at <= horizon {
						delete(want, k)
					}
				}
			case 1, 2, 3, 4, 5:
				got.remove(k)
				delete(want, k)
			default:
				s := slot{key: k, at: at, lane: int32(at % 3), used: true}
				got.put(s, func(*slot) bool { return true })
				want[k] = s
			}
			found := got.get(k)
			if s, ok := want[k]; ok != (found != nil) || ok && *found != s {
				t.Fatalf("%x is %v, want %v", k, found, s)
			}
		}
		same(t, &got, want)
	})
}

func same(t *rapid.T, got *table, want map[key]slot) {
	keys, slots := 0, 0
	for i := range got.parts {
		p := &got.parts[i]
		slots += cap(p.slots)
		var last *slot
		for at := range p.slots {
			s := &p.slots[at]
			if !s.used {
				continue
			}
			keys++
			if want[s.key] != *s {
				t.Fatalf("%x is %v, want %v", s.key, s, want[s.key])
			}
			if last != nil && !last.key.less(s.key) {
				t.Fatalf("%x before %x", last.key, s.key)
			}
			for gap := p.place(s.key); gap < at; gap++ {
				if !p.slots[gap].used {
					t.Fatalf("a gap before %x", s.key)
				}
			}
			last = s
		}
	}
	if keys != len(want) || keys != got.keys || slots != got.slots {
		t.Fatalf("%d keys, counted %d, want %d; %d slots, counted %d", keys, got.keys, len(want), slots, got.slots)
	}
}

// A full part lets go of what is too old before it grows.
func TestTableForgets(t *testing.T) {
	t.Parallel()
	var got table
	for at := range int64(100_000) {
		got.put(slot{key: key{hi: uint64(at) * 0x9E3779B97F4A7C15}, at: at, used: true}, func(s *slot) bool { return s.at > at-1000 })
	}
	if got.keys > 20_000 || got.slots > 40_000 {
		t.Errorf("%d keys in %d slots", got.keys, got.slots)
	}
}
