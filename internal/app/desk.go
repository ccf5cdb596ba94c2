package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/record"
)

var _ web.Letters = (*letterDesk)(nil)

// Find gives a page of the dead letters that a filter chooses, and what is known of all of them.
func (k *letterDesk) Find(ctx context.Context, f checkpoint.LetterFilter, before int64, limit int) (found web.Found, err error) {
	if found.Letters, err = k.state.FindDeadLetters(ctx, f, before, limit); err != nil {
		return found, err
	}
	if found.Reasons, err = k.state.CountReasons(ctx, f); err != nil {
		return found, err
	}
	found.Retries = k.retries()
	return found, nil
}

// retries gives the last retry of each pipeline, the newest first.
func (k *letterDesk) retries() []web.Retry {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]web.Retry, 0, len(k.last))
	for _, r := range k.last {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b web.Retry) int {
		if c := b.Began.Compare(a.Began); c != 0 {
			return c
		}
		return strings.Compare(a.Pipeline, b.Pipeline)
	})
	return out
}

// Edit puts another record in the place of a dead letter's. Its columns are checked where they are known.
func (k *letterDesk) Edit(ctx context.Context, id int64, row []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	letters, err := k.state.FindDeadLetters(ctx, checkpoint.LetterFilter{IDs: []int64{id}}, 0, 1)
	switch {
	case err != nil:
		return err
	case len(letters) == 0:
		return web.ErrNoLetter
	}
	d := &letters[0]
	if err := k.idle(d.Pipeline); err != nil {
		return err
	}
	if p, err := k.find(d.Pipeline); err == nil {
		if in := p.given(checkpoint.Refuser{Pipeline: d.Pipeline, Stream: d.Stream, Step: d.Step}); in != nil {
			if err := record.NewBuilder(in, 1).AppendJSON(row); err != nil {
				return &fault.Error{Class: fault.Poison, Code: "ACQ-DLQ-004", Place: d.Stream, Err: err}
			}
		}
	}
	found, err := k.state.EditDeadLetter(ctx, id, row)
	if err == nil && !found {
		err = web.ErrNoLetter
	}
	return err
}

// Drop forgets those that a filter chooses.
func (k *letterDesk) Drop(ctx context.Context, f checkpoint.LetterFilter) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, err := k.chosen(ctx, f); err != nil {
		return 0, err
	}
	return k.state.DropDeadLetters(ctx, f)
}

// idle says whether dead letters of a pipeline may be touched. The caller holds mu.
func (k *letterDesk) idle(pipeline string) error {
	if last := k.last[pipeline]; last != nil && last.Ended.IsZero() {
		return &fault.Error{
			Class: fault.Retryable, Code: "ACQ-DLQ-003", Place: pipeline, Err: errors.New("dead letters of this pipeline are being sent again"),
			Remedy: "wait until that has ended",
		}
	}
	return nil
}

// chosen counts what a filter chooses, by pipeline. The caller holds mu.
func (k *letterDesk) chosen(ctx context.Context, f checkpoint.LetterFilter) (map[string]int64, error) {
	reasons, err := k.state.CountReasons(ctx, f)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, c := range reasons {
		if err := k.idle(c.Pipeline); err != nil {
			return nil, err
		}
		counts[c.Pipeline] += c.Count
	}
	return counts, nil
}

// patience is how long the answer to a request waits for its retries: most have ended by then.
const patience = 2 * time.Second

// Retry begins to send those again that a filter chooses. It waits a moment for the end; Find tells what becomes of them.
func (k *letterDesk) Retry(ctx context.Context, f checkpoint.LetterFilter) error {
	ended, err := k.begin(ctx, f)
	if err != nil {
		return err
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, one := range ended {
		select {
		case <-one:
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// begin starts a retry of each pipeline. What it gives is closed as they end.
func (k *letterDesk) begin(ctx context.Context, f checkpoint.LetterFilter) (ended []<-chan struct{}, err error) {
	if f.Pipeline != "" {
		if _, err := k.find(f.Pipeline); err != nil {
			return nil, err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	counts, err := k.chosen(ctx, f)
	if err != nil {
		return nil, err
	}
	for pipeline := range counts {
		if _, err := k.find(pipeline); err != nil {
			return nil, err
		}
	}
	if k.life.Err() != nil {
		return nil, errClosing
	}
	for pipeline, n := range counts {
		one := f
		one.Pipeline = pipeline
		now, done := &web.Retry{Pipeline: pipeline, Chosen: n, Began: time.Now()}, make(chan struct{})
		k.last[pipeline] = now
		ended = append(ended, done)
		k.running.Go(func() {
			defer close(done)
			result, err := k.send(k.life, one)
			k.mu.Lock()
			defer k.mu.Unlock()
			now.Passed, now.Refused, now.Ended, now.Err = result.Passed, result.Refused, time.Now(), err
		})
	}
	return ended, nil
}

var errClosing = &fault.Error{Class: fault.Retryable, Code: "ACQ-DLQ-005", Err: errors.New("acequia is being stopped"), Remedy: "send them again when it runs"}
