package app_test

import (
	"fmt"
	"testing"

	"github.com/acequia-io/acequia/internal/app"
)

// TestOthersThanTheHeapAreCounted has Go leave room for the program, and for what the store of items holds beside its heap; a small
// project keeps a third.
func TestOthersThanTheHeapAreCounted(t *testing.T) {
	t.Parallel()
	const text = `version: 1
memory: %s
sources:
  games: { type: file, path: games.csv, stream: games, key: [rank], schema: { rank: int64 } }
sinks:
  out: { type: %s }
pipelines:
  games: { from: games, to: [out] }
`
	const program = 90 << 20
	heap := func(memory, sink string) int64 {
		p, problems := loaded(t, fmt.Sprintf(text, memory, sink))
		if problems != "" {
			t.Fatal(problems)
		}
		return app.Heap(p, program)
	}
	if got := heap("256MiB", "discard"); got < 156<<20 || got > 166<<20 {
		t.Errorf("of 256 MiB with a program of 90 Go's heap has %d bytes", got)
	}
	const store = 48 << 20
	if with, without := heap("256MiB", "items"), heap("256MiB", "discard"); without-with != store {
		t.Errorf("Go's heap has %d bytes with items, %d without", with, without)
	}
	if got := heap("64MiB", "items"); got != (64<<20)/3 {
		t.Errorf("of 64 MiB Go's heap has %d bytes", got)
	}
}
