package routers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// group is a commit group: open while the lane fills it, then the committer's.
type group struct {
	ordinal     int64 // given when it is cut
	from, to    record.Position
	chunks      []record.Position // the end of each chunk, to settle one by one
	rows, bytes int
	letters     []checkpoint.DeadLetter
	laneEnded   bool
	stagings    []sinks.Staging // one a sink
	manifests   map[string]json.RawMessage
	parts       []sinks.Manifest // as manifests, one a sink
	files       int
	intended    bool          // the intent may have been saved: the group can only be rolled forward
	done        chan struct{} // closed when durable or failed; lets the group's handlers return
	err         error         // valid when done is closed
}

func (g *group) full(l Limits) bool {
	return g.rows >= l.Rows || g.bytes >= l.Bytes || len(g.chunks) >= l.Messages
}

// still says that the group moves nothing: no file, no dead letter, no position, no end of the lane.
func (g *group) still(at record.Position) bool {
	return g.files == 0 && len(g.letters) == 0 && g.to == at && !g.laneEnded
}

func (g *group) intent() checkpoint.Intent {
	return checkpoint.Intent{
		Group: g.ordinal, To: g.to, Ended: g.laneEnded, Rows: int64(g.rows), Manifests: g.manifests, DeadLetters: g.letters,
	}
}

// protocolStep is one step of the commit of a group.
type protocolStep struct {
	name string
	do   func(ctx context.Context, c *committer, g *group) error
}

// protocol gives the steps in the only order that is safe. A group without files needs no intent; one that moves
// nothing needs no checkpoint either, and its ordinal is used again.
func protocol() []protocolStep {
	return []protocolStep{
		{"stage", func(ctx context.Context, c *committer, g *group) error { return c.stage(ctx, g) }},
		{"intent", func(ctx context.Context, c *committer, g *group) error {
			if g.files == 0 {
				return nil
			}
			g.intended = true
			return c.run.Store.SaveIntent(ctx, c.lane, c.state.Epoch, g.intent())
		}},
		{"publish", func(ctx context.Context, c *committer, g *group) error {
			for i, w := range c.writers {
				if err := w.Publish(ctx, g.parts[i]); err != nil {
					return fmt.Errorf("publish to %s: %w", c.run.pipeline.Sinks[i].Name, err)
				}
			}
			return nil
		}},
		{"checkpoint", func(ctx context.Context, c *committer, g *group) error {
			if g.still(c.state.Position) {
				return nil
			}
			g.intended = true
			return c.run.Store.SaveCheckpoint(ctx, c.lane, c.state.Epoch, g.intent())
		}},
		{"settle", func(ctx context.Context, c *committer, g *group) error {
			if !g.still(c.state.Position) {
				c.state.Group, c.state.Position, c.state.Ended = g.ordinal, g.to, g.laneEnded
			}
			close(g.done) // the handlers return, the Router acks
			for _, to := range g.chunks {
				if err := c.reader.Settle(ctx, to, nil); err != nil {
					return fmt.Errorf("settle: %w", err)
				}
			}
			return nil
		}},
	}
}

// Points lists where Options.Probe is called.
func Points() []string {
	points := []string{"after-acquire", "in-recovery", "accepted"}
	for _, s := range protocol() {
		points = append(points, "before-"+s.name, "after-"+s.name)
	}
	return points
}

// stage makes the group safe in every sink.
func (c *committer) stage(ctx context.Context, g *group) error {
	g.manifests = make(map[string]json.RawMessage, len(g.stagings))
	for i, s := range g.stagings {
		name := c.run.pipeline.Sinks[i].Name
		m, err := s.Stage(ctx)
		if err != nil {
			return fmt.Errorf("stage in %s: %w", name, err)
		}
		g.parts = append(g.parts, m)
		g.files += len(m.Files)
		if len(m.Files) == 0 {
			continue
		}
		text, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("stage in %s: %w", name, err)
		}
		g.manifests[name] = text
	}
	return nil
}

var errAbandoned = errors.New("the group was abandoned")
