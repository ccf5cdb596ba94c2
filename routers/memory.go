package routers

import (
	"context"
	"fmt"
	"iter"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sinks"
)

// Rememberer is a store that keeps what stateful steps remember: SaveIntent and SaveCheckpoint save the group's part of it.
type Rememberer interface {
	Remembered(ctx context.Context, pipeline, step, lane string) iter.Seq2[checkpoint.Block, error]
}

var _ Rememberer = (*checkpoint.Store)(nil)

// remembers says why a pipeline cannot keep what its steps remember.
func (p Pipeline) remembers(s Store) error {
	for _, step := range p.Steps {
		if _, stateful := step.Handler.(handlers.Stateful); !stateful {
			continue
		}
		if _, ok := s.(Rememberer); !ok {
			return fmt.Errorf("step %s remembers records, and the store keeps no memory", step.Name)
		}
	}
	return nil
}

// track gives the incarnation its handlers: trackers where a step is stateful. The lane was recovered.
func (in *incarnation) track(ctx context.Context) error {
	for _, step := range in.run.pipeline.Steps {
		stateful, ok := step.Handler.(handlers.Stateful)
		store, keeps := in.run.store.(Rememberer)
		if !ok || !keeps {
			in.handlers = append(in.handlers, step.Handler)
			continue
		}
		blocks := func(lane string) iter.Seq2[handlers.Block, error] {
			return func(yield func(handlers.Block, error) bool) {
				for b, err := range store.Remembered(ctx, in.name.Pipeline, step.Name, lane) {
					if !yield(handlers.Block(b), err) {
						return
					}
				}
			}
		}
		t, err := stateful.Track(ctx, in.name.ID, blocks)
		if err != nil {
			return fmt.Errorf("step %s: %w", step.Name, err)
		}
		in.handlers = append(in.handlers, t)
	}
	return in.run.charge()
}

// charge tells the budget what the steps of the pipeline remember.
func (r *Run) charge() error {
	held, holds := 0, false
	for _, step := range r.pipeline.Steps {
		if h, ok := step.Handler.(handlers.Holder); ok {
			held, holds = held+h.Held(), true
		}
	}
	if !holds {
		return nil
	}
	return r.budget.keep(r, held)
}

// held is the memory of the open group, in the writers and in what the steps remember of it.
func (in *incarnation) held() int {
	held := 0
	for _, w := range in.writers {
		if h, ok := w.(sinks.Holder); ok {
			held += h.Held()
		}
	}
	for _, t := range in.handlers {
		_, tracks := t.(handlers.Tracker)
		if h, ok := t.(handlers.Holder); ok && tracks {
			held += h.Held()
		}
	}
	return held
}

// untrack ends the trackers.
func (in *incarnation) untrack() {
	for _, h := range in.handlers {
		if t, ok := h.(handlers.Tracker); ok {
			t.Close()
		}
	}
}

// remember takes what the trackers remember of a group that is cut.
func (in *incarnation) remember(g *group) {
	for i, h := range in.handlers {
		t, ok := h.(handlers.Tracker)
		if !ok {
			continue
		}
		if g.memory == nil {
			g.memory = map[string]checkpoint.Memory{}
		}
		m := checkpoint.Memory(t.Cut())
		g.memory[in.run.pipeline.Steps[i].Name] = m
		g.remembers = g.remembers || len(m.Block) > 0
	}
}

// kept is the memory of the group as its checkpoint takes it: what the intent has brought is there already.
func (g *group) kept() map[string]checkpoint.Memory {
	if !g.intended {
		return g.memory
	}
	out := make(map[string]checkpoint.Memory, len(g.memory))
	for step, m := range g.memory {
		m.Block = nil
		out[step] = m
	}
	return out
}
