package web

import (
	"context"
	"errors"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// Letters is what the pages of the dead letters need of who keeps them. Its methods may be called by many goroutines, while
// the pipelines run.
type Letters interface {
	// Find gives the dead letters that a filter chooses, newest first: at most limit, before an ID if that is not 0.
	Find(ctx context.Context, f checkpoint.LetterFilter, before int64, limit int) (Found, error)
	// Edit puts another record, a JSON object, in the place of a dead letter's; ErrNoLetter: there is none of that ID.
	Edit(ctx context.Context, id int64, row []byte) error
	// Retry begins to send those again that a filter chooses. Found.Retries tells what becomes of them.
	Retry(ctx context.Context, f checkpoint.LetterFilter) error
	// Drop forgets those that a filter chooses, and counts them.
	Drop(ctx context.Context, f checkpoint.LetterFilter) (int64, error)
}

// ErrNoLetter means that there is no dead letter of an ID.
var ErrNoLetter = errors.New("there is no such dead letter")

// Found is what Letters.Find finds.
type Found struct {
	Letters []checkpoint.DeadLetter
	Reasons []checkpoint.LetterCount // of all that the filter chooses
	Retries []Retry                  // the last of each pipeline, newest first
}

// Total counts all that the filter chooses.
func (f Found) Total() (n int64) {
	for _, c := range f.Reasons {
		n += c.Count
	}
	return n
}

// Retry is how dead letters of a pipeline are sent again.
type Retry struct {
	Pipeline        string
	Chosen          int64
	Passed, Refused int64 // once it has ended
	Began, Ended    time.Time
	Err             error // why it ended early
}
