package routers

import (
	"math/rand/v2"
	"time"
)

// backoff paces restarts: each delay is twice the one before, give or take a fifth, up to the longest.
type backoff struct {
	retry Retry
	tries int
}

// next gives the delay before the next try; false when there is none.
func (b *backoff) next() (time.Duration, bool) {
	b.tries++
	if b.retry.Max > 0 && b.tries > b.retry.Max {
		return 0, false
	}
	delay := b.retry.Initial
	for range b.tries - 1 {
		if delay *= 2; delay >= b.retry.Longest {
			delay = b.retry.Longest
			break
		}
	}
	return time.Duration(float64(delay) * (0.8 + 0.4*rand.Float64())), true //nolint:gosec // jitter
}

func (b *backoff) reset() { b.tries = 0 }
