package app

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// gate hands requests to the handler of now. While there is none, because the pipelines are being changed, they wait.
type gate struct {
	mu     sync.Mutex
	inside *visit        // nil: the gate is shut
	opened chan struct{} // closed when the gate opens
}

// visit is one handler and the requests that it has.
type visit struct {
	handler  http.Handler
	requests int
	shut     bool
	gone     chan struct{} // closed when nobody is inside and nobody may enter
}

// gatePatience is how long a request waits for the pipelines to be changed.
const gatePatience = 30 * time.Second

func newGate() *gate { return &gate{opened: make(chan struct{})} }

// open lets requests through to a handler. The gate was shut.
func (g *gate) open(handler http.Handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside = &visit{handler: handler, gone: make(chan struct{})}
	close(g.opened)
}

// shut lets nobody in any more, and waits until those inside have gone or ctx ends.
func (g *gate) shut(ctx context.Context) {
	g.mu.Lock()
	v := g.inside
	if v == nil {
		g.mu.Unlock()
		return
	}
	g.inside, g.opened = nil, make(chan struct{})
	v.shut = true
	if v.requests == 0 {
		close(v.gone)
	}
	g.mu.Unlock()
	select {
	case <-v.gone:
	case <-ctx.Done():
	}
}

// enter gives what answers a request, which leaves it when it is answered; nil: wait for the channel.
func (g *gate) enter() (*visit, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside != nil {
		g.inside.requests++
	}
	return g.inside, g.opened
}

func (g *gate) leave(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.requests--; v.requests == 0 && v.shut {
		close(v.gone)
	}
}

// ServeHTTP answers.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, opened := g.enter()
	if v == nil {
		patience := time.NewTimer(gatePatience)
		defer patience.Stop()
		for v == nil {
			select {
			case <-opened:
				v, opened = g.enter()
				continue
			case <-patience.C:
			case <-r.Context().Done():
			}
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the pipelines are being changed", http.StatusServiceUnavailable)
			return
		}
	}
	defer g.leave(v)
	v.handler.ServeHTTP(w, r)
}
