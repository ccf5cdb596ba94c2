// Package routers is the engine: it carries the chunks of a source through handlers into sinks on a Watermill Router,
// and owns the commit protocol. Sources and sinks know only their half of it.
package routers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// Store keeps the state of lanes. Every method is durable when it returns, and fenced by the epoch.
type Store interface {
	Acquire(ctx context.Context, lane checkpoint.Lane) (checkpoint.State, error)
	SaveIntent(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error
	SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error
	Ended(ctx context.Context, pipeline string) (map[string]record.Position, error)
}

var _ Store = (*checkpoint.Store)(nil)

// Step is a handler with the name that status and dead letters show.
type Step struct {
	Name    string
	Handler handlers.Handler
}

// NamedSink is a sink with the name that its manifests, status and dead letters carry.
type NamedSink struct {
	Name string
	Sink sinks.Sink
}

// Limits close a commit group. Rows, Bytes and Messages also stop it from growing; after Age or Idle it is closed as
// soon as the committer is free, and grows until then. A group closes too when the lane ends and when memory runs out.
type Limits struct {
	Rows     int           // default 1,000,000
	Bytes    int           // of the batches as read; default 1 GiB
	Messages int           // chunks; default and most 1,000
	Age      time.Duration // since the group's first chunk; 0: close it as soon as the committer is free
	Idle     time.Duration // since its last chunk; 0: not looked at
}

// Retry paces the restarts of a lane after retryable failures.
type Retry struct {
	Max     int           // restarts in a row without a commit before the lane fails; 0: no limit
	Initial time.Duration // default 200 ms; doubles each time, give or take a fifth
	Longest time.Duration // default 30 s
}

// Pipeline is one source, the steps that its records pass, and the sinks that they reach, in order. A row that a step
// refuses is a dead letter and reaches no sink. A row that a sink refuses is a dead letter of that sink alone, which
// names it: the other sinks are given it all the same, whatever their order.
type Pipeline struct {
	Name        string
	Source      sources.Source
	Steps       []Step
	Sinks       []NamedSink
	Limits      Limits
	Retry       Retry
	StopAfter   float64       // share of a lane's records, from its 1,000th on, that may be dead letters; 0: any
	Slots       int           // lanes that end and run at the same time, beside all endless ones; default 4
	Refresh     time.Duration // how often the source is asked for its lanes; default 10 s
	StepTimeout time.Duration // of each step of a commit; default 5 min
	// StopTimeout is how long an orderly stop may take, default 30 s: then the commits under way are cut off, and
	// recovery ends them at the next start. An open group that can be read again is given up at once when its commit
	// would probably take more than half of it.
	StopTimeout time.Duration
}

func (p Pipeline) withDefaults() Pipeline {
	p.Limits.Rows = cmp.Or(p.Limits.Rows, 1_000_000)
	p.Limits.Bytes = cmp.Or(p.Limits.Bytes, 1<<30)
	p.Limits.Messages = min(cmp.Or(p.Limits.Messages, maxMessages), maxMessages)
	p.Retry.Initial = cmp.Or(p.Retry.Initial, 200*time.Millisecond)
	p.Retry.Longest = cmp.Or(p.Retry.Longest, 30*time.Second)
	p.Slots = cmp.Or(p.Slots, 4)
	p.Refresh = cmp.Or(p.Refresh, 10*time.Second)
	p.StepTimeout = cmp.Or(p.StepTimeout, 5*time.Minute)
	p.StopTimeout = cmp.Or(p.StopTimeout, 30*time.Second)
	return p
}

// maxMessages bounds the goroutines of a lane: the Router holds one for each message that is not durable.
const maxMessages = 1000

func (p Pipeline) check() error {
	switch {
	case p.Name == "" || p.Source == nil || len(p.Sinks) == 0:
		return errors.New("a pipeline has a name, a source and a sink")
	case p.StopAfter < 0 || p.StopAfter > 1:
		return fmt.Errorf("the share of dead letters is %v: want 0 to 1", p.StopAfter)
	}
	names := map[string]bool{}
	for _, s := range p.Sinks {
		if s.Name == "" || s.Sink == nil || names[s.Name] {
			return fmt.Errorf("sink %q: each has a name of its own", s.Name)
		}
		names[s.Name] = true
	}
	for _, s := range p.Steps {
		if s.Name == "" || s.Handler == nil || names[s.Name] {
			return fmt.Errorf("step %q: each has a name of its own", s.Name)
		}
		names[s.Name] = true
	}
	return nil
}

// Options are what a run needs beside its pipeline.
type Options struct {
	Store  Store
	Budget *Budget // of the process; nil: no limit
	Log    *slog.Logger
	Team   *Team              // of processes that share the lanes; nil: this one reads all
	Offers Offers             // the team shares only lanes that are Apart, which are offered there; nil: it shares all
	Probe  func(point string) // called at each of Points, where crash tests die; nil otherwise
}

// Run is one run of a pipeline on one Watermill Router. It is used once.
type Run struct {
	pipeline Pipeline
	store    Store
	budget   *Budget
	log      *slog.Logger
	probe    func(point string)
	protocol []protocolStep
	lanes    *schedule
	share    sharing
	offers   *offering // nil: of a run that offers none
	board    *board
	stop     chan struct{} // closed by Stop
	stopOnce func()
}
