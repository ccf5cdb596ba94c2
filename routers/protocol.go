package routers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sinks"
)

// protocolStep is one step of the commit of a group.
type protocolStep struct {
	name, before, after string
	do                  func(ctx context.Context, c *committer, g *group) error
}

func newStep(name string, do func(ctx context.Context, c *committer, g *group) error) protocolStep {
	return protocolStep{name: name, before: "before-" + name, after: "after-" + name, do: do}
}

// protocol gives the steps in the only order that is safe.
func protocol() []protocolStep {
	return []protocolStep{
		newStep("stage", stage), newStep("intent", intend), newStep("publish", publish), newStep("checkpoint", save),
		newStep("settle", settle),
	}
}

// The points that are not of a step.
const (
	afterAcquire  = "after-acquire"
	inRecovery    = "in-recovery" // rolled forward, the checkpoint not yet saved
	afterRecovery = "after-recovery"
	accepted      = "accepted" // a chunk, by every writer
)

// Points lists where Options.Probe is called, in the order of a lane's life.
func Points() []string {
	points := []string{afterAcquire, inRecovery, afterRecovery, accepted}
	for _, s := range protocol() {
		points = append(points, s.before, s.after)
	}
	return points
}

// stage makes the group safe, and not yet visible, in every sink.
func stage(ctx context.Context, c *committer, g *group) error {
	for i, s := range g.stagings {
		m, err := s.Stage(ctx)
		if err != nil {
			return fmt.Errorf("sink %s: %w", c.run.pipeline.Sinks[i].Name, err)
		}
		g.manifests = append(g.manifests, m)
		g.files += len(m.Files)
	}
	return nil
}

// intend saves the intent. Without files there is nothing that could be visible before the checkpoint, which saves the
// dead letters and the position in one transaction: no intent is needed.
func intend(ctx context.Context, c *committer, g *group) error {
	if g.files == 0 {
		return nil
	}
	in, err := g.intent(c.run.pipeline.Sinks)
	if err != nil {
		return err
	}
	g.intended = true
	return c.run.store.SaveIntent(ctx, c.name, c.state.Epoch, in)
}

// publish makes the files visible.
func publish(ctx context.Context, c *committer, g *group) error {
	for i, m := range g.manifests {
		if len(m.Files) == 0 {
			continue
		}
		if err := c.writers[i].Publish(ctx, m); err != nil {
			return fmt.Errorf("sink %s: %w", c.run.pipeline.Sinks[i].Name, explained(err))
		}
	}
	return nil
}

// save moves the checkpoint. A group that moves nothing needs none, and the next one takes its ordinal.
func save(ctx context.Context, c *committer, g *group) error {
	if g.still() {
		return nil
	}
	if err := c.run.store.SaveCheckpoint(ctx, c.name, c.state.Epoch, g.result()); err != nil {
		return err
	}
	c.state.Group, c.state.Position, c.state.Ended = g.ordinal, g.to, g.ended
	return nil
}

// settle lets the handlers return, so that the Router acks, and confirms every chunk upstream.
func settle(ctx context.Context, c *committer, g *group) error {
	g.release(nil)
	g.settled = true
	var failed error
	for _, to := range g.chunks {
		failed = errors.Join(failed, c.reader.Settle(ctx, to, nil))
	}
	return failed
}

// recover rolls the pending intent forward, then removes what no intent names. It never reads the source. It says
// whether it rolled something forward.
func (in *incarnation) recover(ctx context.Context) (rolled bool, err error) {
	if in.state.Pending != nil {
		if rolled, err = in.rollForward(ctx, *in.state.Pending); err != nil {
			return false, fmt.Errorf("roll group %d forward: %w", in.state.Pending.Group, err)
		}
		in.state.Pending = nil
		in.board.acquired(in.state)
	}
	for i, w := range in.writers {
		if r, ok := w.(sinks.Recoverer); ok {
			if err := r.Sweep(ctx); err != nil {
				return false, fmt.Errorf("sweep sink %s: %w", in.run.pipeline.Sinks[i].Name, err)
			}
		}
		if p, ok := w.(sinks.Prover); ok {
			if err := p.Prove(ctx, in.state.Group); err != nil {
				return false, fmt.Errorf("sink %s: %w", in.run.pipeline.Sinks[i].Name, explained(err))
			}
		}
	}
	return rolled, nil
}

func (in *incarnation) rollForward(ctx context.Context, pending checkpoint.Intent) (bool, error) {
	manifests, err := in.manifests(pending)
	if err != nil {
		return false, err
	}
	for i, m := range manifests {
		if len(m.Files) == 0 {
			continue
		}
		err := in.writers[i].Publish(ctx, m)
		if errors.Is(err, sinks.ErrVanished) {
			in.log.WarnContext(ctx, "staged file has vanished, its group is taken back and read again", errAttr(err))
			return false, in.withdraw(ctx, manifests, pending)
		}
		if err != nil {
			return false, fmt.Errorf("sink %s: %w", in.run.pipeline.Sinks[i].Name, explained(err))
		}
	}
	in.run.probe(inRecovery)
	if err := in.run.store.SaveCheckpoint(ctx, in.name, in.state.Epoch, pending); err != nil {
		return false, err
	}
	in.state.Group, in.state.Position, in.state.Ended = pending.Group, pending.To, pending.Ended
	return true, nil
}

// manifests gives the manifest of each sink of the pipeline, in its order.
func (in *incarnation) manifests(pending checkpoint.Intent) ([]sinks.Manifest, error) {
	out, found := make([]sinks.Manifest, len(in.writers)), 0
	for i, named := range in.run.pipeline.Sinks {
		text, ok := pending.Manifests[named.Name]
		if !ok {
			continue
		}
		found++
		if err := json.Unmarshal(text, &out[i]); err != nil {
			return nil, fmt.Errorf("decode manifest of %s: %w", named.Name, err)
		}
	}
	if found != len(pending.Manifests) {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-RUN-004", Err: errors.New("it is half committed to a sink that the pipeline no longer has"),
			Remedy: "put the sink back under its old name, start once, and take it out again",
		}
	}
	return out, nil
}

// withdraw takes back a group of which a staged part has vanished, in every sink, if nothing of it is visible. It ends
// with a checkpoint at the old position: the intent is gone, its records are read again, and no other group will use
// its ordinal, so none of its file names either.
func (in *incarnation) withdraw(ctx context.Context, manifests []sinks.Manifest, pending checkpoint.Intent) error {
	for i, m := range manifests {
		if len(m.Files) == 0 {
			continue
		}
		err := errors.New("the sink cannot take a group back")
		if r, ok := in.writers[i].(sinks.Recoverer); ok {
			err = r.Withdraw(ctx, m)
		}
		if err != nil {
			return fmt.Errorf("sink %s: %w", in.run.pipeline.Sinks[i].Name, explained(err))
		}
	}
	back := checkpoint.Intent{Group: pending.Group, To: in.state.Position, Undone: true}
	if err := in.run.store.SaveCheckpoint(ctx, in.name, in.state.Epoch, back); err != nil {
		return err
	}
	in.state.Group = back.Group
	return nil
}

// explained tells what to do about the failures of a sink that only a person can mend.
func explained(err error) error {
	switch {
	case errors.Is(err, sinks.ErrConflict):
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-RUN-005", Err: err,
			Remedy: "something else has written the named file: move it away and start again; nothing is lost",
		}
	case errors.Is(err, sinks.ErrVisible):
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-RUN-006", Err: err,
			Remedy: "staged files were removed by hand while others of their group are visible: " +
				"put them back, or remove the visible ones that are named here, and start again",
		}
	case errors.Is(err, sinks.ErrAhead):
		return &fault.Error{
			Class: fault.Fatal, Code: "ACQ-RUN-008", Err: err,
			Remedy: "the state was removed or is an older copy, and records would be written a second time: " +
				"bring back the state that belongs to the sink, or begin anew with an empty place for it",
		}
	case errors.Is(err, sinks.ErrVanished): // while the group was being committed: recovery takes it back
		return fault.Retry(err)
	}
	return err
}
