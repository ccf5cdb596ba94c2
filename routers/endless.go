package routers

import (
	"context"
	"fmt"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"
)

// serveEndless gives each endless lane a subscriber of its own as soon as it may start, so that it takes no slot from the
// lanes that end. Its own channel carries nothing, and is closed when all of these lanes are over: until then the Router
// has a handler, and so takes more of them.
func (s *slot) serveEndless(ctx, reads context.Context, router *message.Router) {
	defer close(s.out)
	var lanes sync.WaitGroup
	defer lanes.Wait()
	select {
	case <-router.Running(): // before it, the Router takes no handler that is to run at once
	case <-ctx.Done():
		return
	}
	for n := 0; ; n++ {
		lane, right := s.run.lanes.next(true)
		if right == nil {
			return
		}
		own := s.run.subscribe(router, fmt.Sprintf("endless-%d", n))
		// No signal cancels the context, as that of Router.Run. It fails when a subscriber does, and ours never do.
		if err := router.RunHandlers(context.WithoutCancel(ctx)); err != nil {
			s.run.lanes.finish(reads, lane, right, fmt.Errorf("subscribe lane %s: %w", lane.ID, err))
			_ = router.Close() // it would wait for the subscriber
			return
		}
		lanes.Go(func() {
			defer close(own.out)
			s.run.lanes.finish(reads, lane, right, own.keep(ctx, reads, lane, right))
		})
	}
}
