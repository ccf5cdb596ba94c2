// Package routers is the engine: it carries the chunks of a source through handlers into sinks on a Watermill Router,
// and owns the commit protocol. Sources and sinks know only their half of it.
package routers

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// Store keeps the state of lanes. Every method is durable when it returns, and fenced by the epoch.
type Store interface {
	Acquire(ctx context.Context, lane checkpoint.Lane) (checkpoint.State, error)
	SaveIntent(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error
	SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error
	Ended(ctx context.Context, pipeline string) (map[string]bool, error)
}

// Dropper is a store that can forget an intent of which nothing is visible.
type Dropper interface {
	DropIntent(ctx context.Context, lane checkpoint.Lane, epoch int64) error
}

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
// soon as the committer is free, and grows until then. Age 0: as soon as the committer is free.
type Limits struct {
	Rows     int           // default 1,000,000
	Bytes    int           // of the batches as read; default 1 GiB
	Messages int           // chunks; default 1,000
	Age      time.Duration // since the group's first chunk
	Idle     time.Duration // since its last; 0: not looked at
}

// Retry paces the restarts of a lane after retryable failures.
type Retry struct {
	Max     int           // restarts in a row without a commit before the lane fails; 0: no limit
	Initial time.Duration // default 200 ms; doubles each time, plus or minus a fifth
	Longest time.Duration // default 30 s
}

// Pipeline is one source, the steps its records pass, and the sinks they reach. Each sink is on its own: a row that one
// refuses is a dead letter of that sink, and the others keep it.
type Pipeline struct {
	Name      string
	Source    sources.Source
	Steps     []Step
	Sinks     []NamedSink
	Limits    Limits
	Retry     Retry
	StopAfter float64       // share of dead letters, from record 1,000 on, above which a lane stops; 0: never
	Slots     int           // lanes that run at the same time; default 4
	Refresh   time.Duration // how often the source is asked for lanes again; default 10 s
}

func (p Pipeline) withDefaults() Pipeline {
	p.Limits.Rows = cmp.Or(p.Limits.Rows, 1_000_000)
	p.Limits.Bytes = cmp.Or(p.Limits.Bytes, 1<<30)
	p.Limits.Messages = cmp.Or(p.Limits.Messages, 1_000)
	p.Retry.Initial = cmp.Or(p.Retry.Initial, 200*time.Millisecond)
	p.Retry.Longest = cmp.Or(p.Retry.Longest, 30*time.Second)
	p.Slots = cmp.Or(p.Slots, 4)
	p.Refresh = cmp.Or(p.Refresh, 10*time.Second)
	return p
}

// Options are what a run needs beside its pipeline.
type Options struct {
	Store  Store
	Budget *Budget // of the process; nil: no limit
	Log    *slog.Logger
	// Probe is called at each of Points. The crash tests die there; nil otherwise.
	Probe func(point string)
	// CommitTimeout bounds each commit; default 5 min.
	CommitTimeout time.Duration
}

// Run is one run of a pipeline on one Watermill Router. It is used once.
type Run struct {
	Options
	pipeline Pipeline
	protocol []protocolStep
	lanes    *schedule
	stop     chan struct{}
	once     sync.Once
	status   board
}

// New prepares a run.
func New(p Pipeline, o Options) (*Run, error) {
	switch {
	case p.Name == "" || p.Source == nil || len(p.Sinks) == 0:
		return nil, errors.New("new run: a pipeline has a name, a source and a sink")
	case o.Store == nil || o.Log == nil:
		return nil, errors.New("new run: a store and a log are needed")
	}
	seen := map[string]bool{}
	for _, s := range p.Sinks {
		if seen[s.Name] {
			return nil, errors.New("new run: two sinks have the name " + s.Name)
		}
		seen[s.Name] = true
	}
	o.Log = o.Log.With(slog.String("pipeline", p.Name))
	o.CommitTimeout = cmp.Or(o.CommitTimeout, 5*time.Minute)
	if o.Probe == nil {
		o.Probe = func(string) {}
	}
	if o.Budget == nil {
		o.Budget = NewBudget(0)
	}
	r := &Run{Options: o, pipeline: p.withDefaults(), protocol: protocol(), stop: make(chan struct{})}
	r.lanes = newSchedule(r)
	r.status.lanes = map[string]*laneBoard{}
	return r, nil
}

// Stop ends the reads, commits the open groups and lets Run return. It may be called more than once.
func (r *Run) Stop() { r.once.Do(func() { close(r.stop) }) }
