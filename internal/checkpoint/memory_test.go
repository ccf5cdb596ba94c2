package checkpoint

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// blocks gives the blocks of step s as lane:data.
func blocks(t *testing.T, s *Store, of string) string {
	t.Helper()
	var all []string
	for b, err := range s.Remembered(t.Context(), "p", "s", of) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b.Lane+":"+string(b.Data))
	}
	return strings.Join(all, " ")
}

func memory(block string, newest, before int64) map[string]Memory {
	return map[string]Memory{"s": {Block: []byte(block), Newest: newest, Before: before}}
}

func TestMemoryGoesWithItsGroup(t *testing.T) {
	t.Parallel()
	onAll(t, memoryGoesWithItsGroup)
}

func memoryGoesWithItsGroup(t state) {
	s := t.open()
	other := Lane{"p", "other"}
	mustAcquire(t.T, s, 1)
	if _, err := s.Acquire(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		if d := cmp.Diff(want, blocks(t.T, s, "")); d != "" {
			t.Error(d)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.SaveIntent(t.Context(), lane, 1, Intent{Group: 1, Memory: memory("a", 10, 0)}))
	expect("l:a") // the group can only be rolled forward
	must(s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 1, Memory: memory("", 10, 0)}))
	must(s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 2, Memory: memory("b", 20, 0)}))
	expect("l:a l:b")

	// A fenced owner adds nothing.
	if err := s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 9, Memory: memory("x", 20, 100)}); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if err := s.SaveIntent(t.Context(), lane, 7, Intent{Group: 3, Memory: memory("x", 20, 100)}); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	expect("l:a l:b")

	// A group that is taken back takes its memory along.
	must(s.SaveIntent(t.Context(), lane, 1, Intent{Group: 3, Memory: memory("c", 30, 0)}))
	must(s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 3, Undone: true}))
	expect("l:a l:b")

	// What is too old goes: of the lane, and of lanes that have ended.
	must(s.SaveCheckpoint(t.Context(), other, 1, Intent{Group: 1, Memory: memory("o", 5, 0)}))
	must(s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 4, Memory: memory("d", 40, 10)}))
	expect("l:b l:d other:o")
	must(s.SaveCheckpoint(t.Context(), other, 1, Intent{Group: 2, Ended: true}))
	must(s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 5, Memory: memory("", 40, 20)}))
	expect("l:d")
	if got := blocks(t.T, s, "other"); got != "" {
		t.Error(got)
	}
}
