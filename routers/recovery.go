package routers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/sinks"
)

// takeOver rolls the pending intent forward, then removes what no intent names. It never reads the source. It says
// whether it rolled something forward.
func (s *slot) takeOver(ctx context.Context, lane checkpoint.Lane, writers []sinks.Writer, state *checkpoint.State) (rolled bool, err error) {
	if in := state.Pending; in != nil {
		manifests, err := s.manifests(*in)
		if err != nil {
			return false, err
		}
		if rolled, err = s.rollForward(ctx, lane, writers, manifests, state); err != nil {
			return false, err
		}
	}
	for i, w := range writers {
		r, ok := w.(sinks.Recoverer)
		if !ok {
			continue
		}
		if err := r.Sweep(ctx); err != nil {
			return false, fmt.Errorf("sweep %s: %w", s.run.pipeline.Sinks[i].Name, err)
		}
	}
	return rolled, nil
}

// manifests gives the manifest of each sink of the pipeline, in its order.
func (s *slot) manifests(in checkpoint.Intent) ([]sinks.Manifest, error) {
	out, found := make([]sinks.Manifest, len(s.run.pipeline.Sinks)), 0
	for i, named := range s.run.pipeline.Sinks {
		text, ok := in.Manifests[named.Name]
		if !ok {
			continue
		}
		found++
		if err := json.Unmarshal(text, &out[i]); err != nil {
			return nil, fmt.Errorf("read manifest of %s: %w", named.Name, err)
		}
	}
	if found != len(in.Manifests) {
		return nil, &fault.Error{
			Class: fault.Fatal, Code: "ACQ-RUN-004", Place: s.run.pipeline.Name,
			Err:    fmt.Errorf("group %d is half committed to a sink that the pipeline no longer has", in.Group),
			Remedy: "put the sink back under its old name, start once, and take it out again",
		}
	}
	return out, nil
}

func (s *slot) rollForward(ctx context.Context, lane checkpoint.Lane, writers []sinks.Writer, manifests []sinks.Manifest, state *checkpoint.State) (bool, error) {
	in := state.Pending
	for i, w := range writers {
		err := w.Publish(ctx, manifests[i])
		if errors.Is(err, sinks.ErrVanished) {
			s.run.Log.Error("a staged file has vanished: the group is read again", slog.String("lane", lane.ID), slog.Int64("group", in.Group), errAttr(err))
			state.Pending = nil
			return false, s.withdraw(ctx, lane, writers, manifests, state.Epoch)
		}
		if err != nil {
			return false, fmt.Errorf("roll group %d forward in %s: %w", in.Group, s.run.pipeline.Sinks[i].Name, err)
		}
	}
	s.run.Probe("in-recovery")
	if err := s.run.Store.SaveCheckpoint(ctx, lane, state.Epoch, *in); err != nil {
		return false, err
	}
	state.Group, state.Position, state.Ended, state.Pending = in.Group, in.To, in.Ended, nil
	return true, nil
}

// withdraw takes back a group of which a staged part has vanished, if nothing of it is visible in any sink.
func (s *slot) withdraw(ctx context.Context, lane checkpoint.Lane, writers []sinks.Writer, manifests []sinks.Manifest, epoch int64) error {
	for i, w := range writers {
		if len(manifests[i].Files) == 0 {
			continue
		}
		err := errors.New("the sink cannot take a group back")
		if r, ok := w.(sinks.Recoverer); ok {
			err = r.Withdraw(ctx, manifests[i])
		}
		if err != nil {
			return &fault.Error{
				Class: fault.Fatal, Code: "ACQ-RUN-005", Place: s.run.pipeline.Sinks[i].Name, Err: err,
				Remedy: "staged files were removed by hand while others of their group are visible: restore them, or delete the visible ones named in the log",
			}
		}
	}
	dropper, ok := s.run.Store.(Dropper)
	if !ok {
		return errors.New("withdraw: the store cannot forget an intent")
	}
	return dropper.DropIntent(ctx, lane, epoch)
}
