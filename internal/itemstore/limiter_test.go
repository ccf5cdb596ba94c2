package itemstore

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// capacity is a table that bears so many writes a second, with a bucket of one second.
type capacity struct {
	mu    sync.Mutex
	rate  float64
	left  float64
	at    time.Time
	taken int
	over  int
}

func (c *capacity) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.left = min(c.rate, c.left+now.Sub(c.at).Seconds()*c.rate)
	c.at = now
	if c.left < 1 {
		c.over++
		return false
	}
	c.left--
	c.taken++
	return true
}

// The rate of a table comes near what it bears, from above and when it bears more; few writes are throttled on the way.
func TestLimiterFindsTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		table := &capacity{rate: 50, at: time.Now()}
		l := &limiter{}
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() {
				for l.wait(ctx, 1) == nil {
					_ = pause(ctx, 5*time.Millisecond) // the way there and back
					if table.take() {
						l.passed(1)
					} else {
						l.throttled()
					}
				}
			})
		}
		measure := func(seconds int) (perSecond, refused float64) {
			table.mu.Lock()
			taken, over := table.taken, table.over
			table.mu.Unlock()
			_ = pause(ctx, time.Duration(seconds)*time.Second)
			table.mu.Lock()
			defer table.mu.Unlock()
			return float64(table.taken-taken) / float64(seconds), float64(table.over-over) / float64(table.taken-taken+table.over-over)
		}
		_, _ = measure(10)
		if got, refused := measure(30); got < 37 || refused > 0.1 {
			t.Errorf("of 50 writes a second %.0f are done, %.0f %% are throttled", got, 100*refused)
		}
		table.mu.Lock()
		table.rate = 200
		table.mu.Unlock()
		_, _ = measure(60)
		if got, refused := measure(30); got < 125 || refused > 0.1 {
			t.Errorf("of 200 writes a second %.0f are done, %.0f %% are throttled", got, 100*refused)
		}
		cancel()
		writers.Wait()
	})
}

// A table that never throttles has no limit.
func TestLimiterWithoutLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &limiter{}
		begun := time.Now()
		for range 10_000 {
			if err := l.wait(t.Context(), 400); err != nil {
				t.Fatal(err)
			}
			l.passed(400)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}
