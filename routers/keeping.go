package routers

import (
	"context"
	"errors"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
)

// errTakenOver ends work under a lease that is another process's by now.
var errTakenOver = fault.Retry(errors.New("another process has taken the work over"))

// keeping is a lease that this process keeps for work that it does.
type keeping struct {
	since time.Time
	lost  func(do func()) (stop func() bool) // has something done when the lease is lost
	end   context.CancelFunc
}

func keepFrom(ctx context.Context, since time.Time) *keeping {
	lost, end := context.WithCancel(context.WithoutCancel(ctx))
	return &keeping{since: since, end: end, lost: func(do func()) func() bool { return context.AfterFunc(lost, do) }}
}

// unkeep ends what is done under a lease that was kept; the caller holds the lock.
func (t *Team) unkeep(key string) {
	if k := t.kept[key]; k != nil {
		k.end()
		delete(t.kept, key)
	}
}

// Keep takes a lease that nobody has, for work that one process does, and keeps it. false: another does it.
func (t *Team) Keep(ctx context.Context, key string) (bool, error) {
	t.mu.Lock()
	kept := t.kept[key] != nil
	s, there := t.seen[key]
	_, alive := t.alive(key, time.Now())
	t.mu.Unlock()
	if kept || alive {
		return kept, nil
	}
	var seen *checkpoint.Lease
	if there {
		seen = &s.Lease
	}
	t.mu.Lock()
	t.kept[key] = keepFrom(ctx, time.Now()) // before it is taken: a round that finds it would give it up
	t.mu.Unlock()
	ctx, cancel := t.lasting(ctx)
	defer cancel()
	mine, err := t.Leases.Take(ctx, key, seen)
	t.mu.Lock()
	defer t.mu.Unlock()
	if !mine {
		t.unkeep(key)
		return false, err
	}
	if k := t.kept[key]; k != nil {
		k.since = time.Now()
	} else {
		t.kept[key] = keepFrom(ctx, time.Now())
	}
	t.seen[key] = sighting{Lease: checkpoint.Lease{Key: key, Owner: t.Owner}, since: time.Now()}
	return true, nil
}

// While gives a context for what is done under a lease that is kept: it ends with the lease, as soon as this process knows. One that stood
// still may not know yet, so what is done must be fenced by what it writes, too.
func (t *Team) While(ctx context.Context, key string) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	t.mu.Lock()
	k := t.kept[key]
	t.mu.Unlock()
	if k == nil {
		cancel(errTakenOver)
		return ctx, func() {}
	}
	stop := k.lost(func() { cancel(errTakenOver) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// Free gives up a lease that was kept.
func (t *Team) Free(ctx context.Context, key string) {
	t.mu.Lock()
	kept := t.kept[key] != nil
	t.mu.Unlock()
	if kept {
		t.release(ctx, key)
	}
}
