package routers

import (
	"math/rand/v2"
	"time"
)

// backoff paces restarts: each delay is twice the one before, up to the longest, give or take a fifth.
type backoff struct {
	retry Retry
	tries int // since the last commit
}

// next gives the delay before the next try; false when there is none.
func (b *backoff) next() (time.Duration, bool) {
	b.tries++
	if b.retry.Max > 0 && b.tries > b.retry.Max {
		return 0, false
	}
	delay := b.retry.Longest
	if doublings := b.tries - 1; doublings < 32 {
		delay = min(delay, b.retry.Initial<<doublings)
	}
	return time.Duration(float64(delay) * (0.8 + 0.4*rand.Float64())), true //nolint:gosec // jitter needs no secrecy
}
