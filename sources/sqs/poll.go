package sqs

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/sources"
)

// poll receives until the reader ends, the queue does, or a receive fails for another reason than that there were too many.
func (r *reader) poll(ctx, receives context.Context) {
	for tries := 0; r.flight.reserve(ctx, r.pressing) == nil; {
		at := time.Now()
		all, err := r.queue.Receive(receives, r.config.Wait, r.config.Visibility)
		fresh, again := r.flight.admit(all, at, r.config.Visibility)
		r.answers.delete(again)
		switch {
		case err == nil:
			tries = 0
			r.give(ctx, r.fetch(ctx, fresh))
		case ctx.Err() != nil || errors.Is(err, io.EOF):
			return
		case errors.Is(err, messaging.ErrOverLimit):
			r.pressing()
			r.log.WarnContext(ctx, "the queue has as many messages in flight as it may: the group is closed", slog.Any("error", err))
			tries++
			pause(ctx, pollPause(tries))
		case awsconfig.Throttled(err), fault.Of(err) == fault.Retryable && tries < receiveTries: // what is in flight need not come again
			tries++
			pause(ctx, pollPause(tries))
		default:
			r.fail(err)
			return
		}
	}
}

// receiveTries is how often in a row a receive may fail before the lane is told.
const receiveTries = 5

// pressing tells Read that nothing more comes before some is deleted.
func (r *reader) pressing() {
	select {
	case r.press <- struct{}{}:
	default:
	}
}

// give hands messages to Read.
func (r *reader) give(ctx context.Context, all []*message) {
	if len(all) == 0 {
		return
	}
	select {
	case r.arrivals <- all:
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ungiven = append(r.ungiven, all...)
	}
}

// fetch puts the bodies in that stand in S3. A message whose body cannot be had now comes again later.
func (r *reader) fetch(ctx context.Context, all []*message) []*message {
	return slices.DeleteFunc(all, func(m *message) bool {
		if r.config.Format == formatRaw || len(m.Body) == 0 {
			return false
		}
		body, found, err := messaging.Unfold(m.Body, func(at messaging.Pointer) ([]byte, error) { return r.payloads.Get(ctx, at) })
		switch {
		case !found:
		case err == nil:
			r.flight.grow(len(body) - m.size)
			m.Body, m.size = body, len(body)
		case fault.Of(err) == fault.Poison:
			m.lost = err
		case fault.Of(err) == fault.Retryable || ctx.Err() != nil:
			r.log.WarnContext(ctx, "a large body cannot be fetched: its message comes again", slog.String("message", m.ID), slog.Any("error", err))
			r.flight.taken(m.size)
			r.answers.refuse([]*message{m})
			return true
		default:
			r.flight.taken(m.size)
			r.answers.refuse([]*message{m})
			r.fail(err)
			return true
		}
		return false
	})
}

// fail ends the reads: the first failure is the one that is told.
func (r *reader) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure == nil {
		r.failure = err
		close(r.failed)
	}
}

// pollPause is how long a poller waits after n calls in a row that were too many: up to 10 s.
func pollPause(n int) time.Duration {
	return min(100*time.Millisecond<<min(n, 10), 10*time.Second)
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// keepers is how many batches are extended at the same time.
const keepers = 4

// keep hides the messages that are in flight for longer, while their group waits: each when half of its time is over.
func (r *reader) keep(ctx context.Context) {
	tick := time.NewTicker(max(r.config.Visibility/8, 100*time.Millisecond)) //nolint:mnd // half of the time, and a quarter to do it in
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			var calls sync.WaitGroup
			free := make(chan struct{}, keepers)
			for batch := range slices.Chunk(r.flight.due(now.Add(r.config.Visibility/2)), messaging.MostEntries) {
				free <- struct{}{}
				calls.Go(func() {
					defer func() { <-free }()
					r.extend(ctx, batch)
				})
			}
			calls.Wait()
		}
	}
}

// extend hides a batch for longer. What fails is tried again at the next tick.
func (r *reader) extend(ctx context.Context, batch []*message) {
	now := time.Now()
	times := make([]time.Duration, len(batch))
	for i, m := range batch {
		times[i] = max(0, min(r.config.Visibility, messaging.LongestHide-time.Minute-now.Sub(m.received)))
	}
	failed, err := r.queue.Hide(ctx, r.flight.handles(batch), times)
	if err != nil {
		if ctx.Err() == nil {
			r.log.WarnContext(ctx, "messages could not be hidden for longer: they may come again", slog.Any("error", err))
		}
		return
	}
	for _, f := range slices.Backward(failed) {
		r.log.DebugContext(ctx, "a message could not be hidden for longer", slog.String("message", batch[f.Index].ID), slog.Any("error", &f))
		batch = slices.Delete(batch, f.Index, f.Index+1)
	}
	r.flight.hidden(batch, now.Add(r.config.Visibility))
}

// Lag is what waits in the queue, and how old the oldest message is that is in flight here.
func (r *reader) Lag(ctx context.Context) (sources.Lag, error) {
	l, err := r.queue.Look(ctx)
	if err != nil {
		return sources.Lag{}, err
	}
	lag := sources.Lag{Records: l.Visible}
	if sent := r.flight.oldest(); !sent.IsZero() {
		lag.Age = max(0, time.Since(sent))
		if l.Retention > 0 {
			lag.Loss = max(time.Second, l.Retention-lag.Age)
		}
	}
	return lag, nil
}
