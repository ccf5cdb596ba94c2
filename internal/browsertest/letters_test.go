package browsertest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
)

// addLetters puts dead letters into the state of a demo that is yet to start: the form lets nothing through that its steps
// would refuse. Each language mends and drops some of its own.
func addLetters(ctx context.Context, dir string) (err error) {
	store, err := checkpoint.Open(ctx, filepath.Join(dir, "state.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	lane := checkpoint.Lane{Pipeline: "videogames-lake", ID: "before"}
	state, err := store.Acquire(ctx, lane)
	if err != nil {
		return err
	}
	in := checkpoint.Intent{Group: 1, To: "1"}
	for i, lang := range []string{"es", "en"} {
		for n := range 40 {
			in.DeadLetters = append(in.DeadLetters, letter(i*1000+n, lang))
		}
	}
	in.DeadLetters = append(in.DeadLetters, checkpoint.DeadLetter{
		Stream: "videogames", Position: "2", Step: "read", Code: "ACQ-FILE-020", Reason: "ACQ-FILE-020: games.bin:1: no record begins here", Op: "I",
		Version: record.Version{Lo: 9}.String(), EventID: "binary", At: time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC),
		Raw: []byte("\x00\x01\x02\xff\xfePK\x03\x04 not text"),
	})
	return store.SaveCheckpoint(ctx, lane, state.Epoch, in)
}

// letter is a game of a genre that nobody knows.
func letter(n int, lang string) checkpoint.DeadLetter {
	at := time.Date(2026, 11, 28, 10, 0, n%60, 0, time.UTC)
	id := fmt.Sprintf("0193f0a0-0000-7000-8000-%012d", n)
	return checkpoint.DeadLetter{
		Stream: "videogames", Position: record.Position(fmt.Sprint(1000 + n)), Index: int64(n), Step: "canonical", Column: "genre",
		Reason: fmt.Sprintf(`"Puzzel %s" is not one of the 13 options`, lang), Op: "I",
		Version: record.Version{Lo: uint64(n + 1)}.String(), EventID: id, Event: at, Source: "form.videogames", At: at,
		Row: fmt.Appendf(nil, `{"id":"%s","title":"Letter %d %s","developer":"N/A","genre":"Puzzel %s","year":1984,"competitive":true}`, id, n, lang, lang),
	}
}
