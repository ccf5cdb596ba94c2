package blob

import (
	"context"
	"sync"
	"time"
)

const (
	// leaseTime is after how long without a sign of life a lock is free, by the clock of the bucket.
	leaseTime = time.Minute
	leaseBeat = leaseTime / 4
)

// keepBeating gives a sign of life again and again, until that says that the lock is another's or stop is called, which waits for the last.
func keepBeating(ctx context.Context, beat func(ctx context.Context) (lost bool)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var all sync.WaitGroup
	all.Go(func() {
		again := time.NewTicker(leaseBeat)
		defer again.Stop()
		for lost := false; !lost; {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				lost = beat(ctx)
			}
		}
	})
	return func() {
		cancel()
		all.Wait()
	}
}
