package app

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// gate hands requests to the handler of now. While there is none, because the pipelines are being changed, they wait.
type gate struct {
	mu      sync.Mutex
	handler http.Handler
	inside  *sync.WaitGroup // requests that the handler has
	opened  chan struct{}   // closed when a handler has come
}

// gatePatience is how long a request waits for the pipelines to be changed.
const gatePatience = 30 * time.Second

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// open lets requests through to a handler.
func (g *gate) open(handler http.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handler, g.inside = handler, &sync.WaitGroup{}
	close(g.opened)
}

// shut lets nobody in any more, and waits until those inside have gone or ctx ends.
func (g *gate) shut(ctx context.Context) {
	g.mu.Lock()
	inside := g.inside
	if g.handler == nil {
		g.mu.Unlock()
		return
	}
	g.handler, g.opened = nil, make(chan struct{})
	g.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		inside.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	}
}

// ServeHTTP answers.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	patience := time.NewTimer(gatePatience)
	defer patience.Stop()
	for {
		g.mu.Lock()
		handler, inside, opened := g.handler, g.inside, g.opened
		if handler != nil {
			inside.Add(1)
		}
		g.mu.Unlock()
		if handler != nil {
			defer inside.Done()
			handler.ServeHTTP(w, r)
			return
		}
		select {
		case <-opened:
			continue
		case <-patience.C:
		case <-r.Context().Done():
		}
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the pipelines are being changed", http.StatusServiceUnavailable)
		return
	}
}
