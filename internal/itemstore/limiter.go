package itemstore

import (
	"context"
	"sync"
	"time"
)

// limiter finds the rate that a table bears, as TCP finds that of a line: it grows slowly, and shrinks by a share when the table throttles.
// Until then there is none. Its unit is a write of 1 KB, or a read of 4.
type limiter struct {
	mu    sync.Mutex
	rate  float64   // units a second; 0: no limit was met
	step  float64   // by how much it grows a second
	next  time.Time // when the next write may begin
	cut   time.Time // when it last shrank
	begun time.Time // of the count
	spent float64   // units since then, to know the rate when the first limit is met
}

const (
	shrink    = 0.7
	growth    = 0.05            // of the rate at the last cut, a second
	leastRate = 1.0             // units a second
	between   = time.Second     // writes under way when a limit is met are throttled too: they count once
	window    = 2 * time.Second // over which the rate is measured while there is no limit
)

// wait returns when a write of so many units may begin, or ctx ends.
func (l *limiter) wait(ctx context.Context, units float64) error {
	l.mu.Lock()
	now := time.Now()
	if now.Sub(l.begun) > window {
		l.begun, l.spent = now, 0
	}
	l.spent += units
	if l.rate == 0 {
		l.mu.Unlock()
		return ctx.Err()
	}
	at := l.next
	if at.Before(now) {
		at = now
	}
	l.next = at.Add(time.Duration(units / l.rate * float64(time.Second)))
	l.mu.Unlock()
	return pause(ctx, at.Sub(now))
}

// passed tells of a write that was not throttled.
func (l *limiter) passed(units float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate > 0 {
		l.rate += l.step * units / l.rate
	}
}

// throttled tells of one that was, and gives the new rate, if it was cut.
func (l *limiter) throttled() (rate float64, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.cut) < between {
		return l.rate, false
	}
	if l.rate == 0 {
		l.rate = l.spent / max(now.Sub(l.begun).Seconds(), 0.1)
	}
	l.rate = max(leastRate, l.rate*shrink)
	l.step = max(1, l.rate*growth)
	l.cut = now
	return l.rate, true
}

// pause waits, or gives the error of a context that ends meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
