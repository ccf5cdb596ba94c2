package sinktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/acequia-io/acequia/sinks"
)

func hides(ctx context.Context, h Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, lines(0, 50)); err != nil {
		return err
	}
	if err := p.wants(nil); err != nil {
		return fmt.Errorf("after write: %w", err)
	}
	group := o.Cut(sinks.Group{Ordinal: 1})
	if err := p.wants(nil); err != nil {
		return fmt.Errorf("after cut: %w", err)
	}
	if _, err := staged(ctx, group); err != nil {
		return err
	}
	if !h.StageShows {
		if err := p.wants(nil); err != nil {
			return fmt.Errorf("after stage: %w", err)
		}
	}
	return o.end(ctx)
}

func publishesOnce(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	first, err := o.commit(ctx, 1, lines(0, 20))
	if err != nil {
		return err
	}
	if err := errors.Join(o.publish(ctx, first), p.wants(lines(0, 20))); err != nil {
		return err
	}
	second, err := o.commit(ctx, 2, lines(20, 30))
	if err != nil {
		return err
	}
	return errors.Join(o.publish(ctx, first), o.publish(ctx, second), p.wants(lines(0, 30)), p.wantsStaged(0), o.end(ctx))
}

func describesParts(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	names := map[string]bool{}
	for ordinal := int64(1); ordinal <= 2; ordinal++ {
		m, err := o.prepare(ctx, ordinal, lines(ordinal*100, ordinal*100+60))
		if err != nil {
			return err
		}
		if len(m.Files) == 0 {
			if p.Staged != nil {
				return errors.New("the sink stages, and its manifest is empty")
			}
			continue
		}
		rows := int64(0)
		for _, f := range m.Files {
			if f.Name == "" || names[f.Name] || f.Staged+f.Upload == "" || names[f.Staged+f.Upload] || f.Bytes <= 0 || len(f.Digest) != 16 {
				return fmt.Errorf("a part is not described, or stands twice: %+v", f)
			}
			names[f.Name], names[f.Staged+f.Upload] = true, true
			rows += f.Rows
		}
		if rows != 60 {
			return fmt.Errorf("the manifest has %d rows, want 60", rows)
		}
	}
	return errors.Join(p.wantsStaged(len(names)/2), o.end(ctx))
}

// saved gives a manifest as recovery finds it in an intent.
func saved(m sinks.Manifest) (out sinks.Manifest, err error) {
	text, err := json.Marshal(m)
	if err != nil {
		return m, fmt.Errorf("save the manifest: %w", err)
	}
	return out, json.Unmarshal(text, &out)
}

func rollsForward(ctx context.Context, _ Harness, p Place) error {
	dead, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	m, err := dead.prepare(ctx, 1, lines(0, 20))
	if err != nil {
		return err
	}
	if m, err = saved(m); err != nil {
		return err
	}
	next, err := own(ctx, p, "a", 2) // dead is never closed, as after a crash
	if err != nil {
		return err
	}
	for range 2 {
		if err := next.publish(ctx, m); err != nil {
			return fmt.Errorf("roll forward: %w", err)
		}
	}
	if r, ok := next.Writer.(sinks.Recoverer); ok {
		if err := r.Sweep(ctx); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	if _, err := next.commit(ctx, 2, lines(20, 30)); err != nil {
		return err
	}
	return errors.Join(p.wants(lines(0, 30)), next.end(ctx), dead.end(ctx))
}

// recoverer gives the writer as recovery needs it; nil where there is nothing to recover.
func (p Place) recoverer(o *owner) (sinks.Recoverer, error) {
	r, ok := o.Writer.(sinks.Recoverer)
	if !ok && p.Staged != nil {
		return nil, errors.New("the sink stages, and its writer is no sinks.Recoverer")
	}
	return r, nil
}

func sweeps(ctx context.Context, h Harness, p Place) error {
	var dead []*owner
	for epoch := int64(1); epoch <= 2; epoch++ {
		o, err := own(ctx, p, "a", epoch)
		if err != nil {
			return err
		}
		dead = append(dead, o)
		if _, err := o.prepare(ctx, 1, lines(epoch*100, epoch*100+20)); err != nil {
			return err
		}
		if err := o.write(ctx, lines(epoch*100+20, epoch*100+60)); err != nil {
			return err
		}
	}
	next, err := own(ctx, p, "a", 11)
	if err != nil {
		return err
	}
	r, err := p.recoverer(next)
	if err != nil {
		return err
	}
	if r != nil {
		for range 2 {
			if err := r.Sweep(ctx); err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
	}
	if !h.StageShows {
		err = p.wants(nil)
	}
	return errors.Join(err, p.wantsStaged(0), next.end(ctx), dead[0].end(ctx), dead[1].end(ctx))
}

// spares sweeps while others have staged: another lane, the same lane of another pipeline, an owner that came later, and
// the sweeper itself.
func spares(ctx context.Context, _ Harness, p Place) error {
	type other struct {
		*owner
		who   string
		group sinks.Manifest
	}
	sweeper := sinks.Lane{Pipeline: "suite", ID: "a", Epoch: 2}
	var all []other
	var want []line
	for who, lane := range map[string]sinks.Lane{
		"another lane":          {Pipeline: "suite", ID: "b", Epoch: 1},
		"another pipeline":      {Pipeline: "suite2", ID: "a", Epoch: 1},
		"a pipeline beside it":  {Pipeline: "suite3", ID: "a", Epoch: 2},
		"its own incarnation":   sweeper,
		"a later owner":         {Pipeline: "suite", ID: "a", Epoch: 3},
		"a later, larger epoch": {Pipeline: "suite", ID: "a", Epoch: 11},
	} {
		o, err := take(ctx, p, lane)
		if err != nil {
			return err
		}
		mine := lines(int64(len(want)), int64(len(want))+20)
		m, err := o.prepare(ctx, 1, mine)
		if err != nil {
			return fmt.Errorf("%s: %w", who, err)
		}
		all, want = append(all, other{o, who, m}), append(want, mine...)
	}
	for _, o := range all {
		if o.who != "its own incarnation" {
			continue
		}
		if r, err := p.recoverer(o.owner); err != nil || r == nil {
			return err
		} else if err := r.Sweep(ctx); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	for _, o := range all {
		if err := o.publish(ctx, o.group); err != nil {
			return fmt.Errorf("the sweep harmed %s: %w", o.who, err)
		}
	}
	err := p.wants(want)
	for _, o := range all {
		err = errors.Join(err, o.end(ctx))
	}
	return err
}

// vanishes loses a staged part before recovery comes to it. What was visible by then decides what Withdraw says.
func vanishes(ctx context.Context, _ Harness, p Place) error {
	if p.Staged == nil {
		return nil
	}
	if p.Lose == nil {
		return errors.New("the harness cannot lose a staged part")
	}
	dead, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	m, err := dead.prepare(ctx, 1, lines(0, 60))
	if err != nil {
		return err
	}
	next, err := own(ctx, p, "a", 2)
	if err != nil {
		return err
	}
	r, err := p.recoverer(next)
	if err != nil {
		return err
	}
	if err := p.Lose(m.Files[0]); err != nil {
		return fmt.Errorf("lose a part: %w", err)
	}
	if err := next.Publish(ctx, m); !errors.Is(err, sinks.ErrVanished) {
		return fmt.Errorf("publish of a part that has vanished gave %w, want sinks.ErrVanished", orNothing(err))
	}
	hidden := p.wants(nil) == nil
	switch err := r.Withdraw(ctx, m); {
	case hidden && err != nil:
		return fmt.Errorf("withdraw: %w", err)
	case !hidden && !errors.Is(err, sinks.ErrVisible):
		return fmt.Errorf("withdraw of what is visible in part gave %w, want sinks.ErrVisible", orNothing(err))
	}
	if err := p.wantsStaged(0); err != nil {
		return fmt.Errorf("after withdraw: %w", err)
	}
	if hidden {
		if _, err := next.commit(ctx, 1, lines(0, 60)); err != nil {
			return fmt.Errorf("read again: %w", err)
		}
		err = p.wants(lines(0, 60))
	}
	return errors.Join(err, next.end(ctx), dead.end(ctx))
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// withdraws tries to withdraw what can be seen, in part and as a whole.
func withdraws(ctx context.Context, _ Harness, p Place) error {
	if p.Staged == nil {
		return nil
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	r, err := p.recoverer(o)
	if err != nil {
		return err
	}
	whole, err := o.commit(ctx, 1, lines(0, 60))
	if err != nil {
		return err
	}
	if err := r.Withdraw(ctx, whole); !errors.Is(err, sinks.ErrVisible) {
		return fmt.Errorf("withdraw of what is visible gave %w, want sinks.ErrVisible", orNothing(err))
	}
	if err := p.wants(lines(0, 60)); err != nil {
		return fmt.Errorf("after withdraw: %w", err)
	}
	parts, err := o.prepare(ctx, 2, lines(60, 120))
	if err != nil {
		return err
	}
	if err := o.publish(ctx, sinks.Manifest{Files: parts.Files[len(parts.Files)-1:]}); err != nil {
		return err
	}
	if err := r.Withdraw(ctx, parts); !errors.Is(err, sinks.ErrVisible) {
		return fmt.Errorf("withdraw of what is visible in part gave %w, want sinks.ErrVisible", orNothing(err))
	}
	return errors.Join(p.wantsStaged(0), o.end(ctx))
}

func conflicts(ctx context.Context, _ Harness, p Place) error {
	if p.Take == nil {
		return nil
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	m, err := o.prepare(ctx, 1, lines(0, 60))
	if err != nil {
		return err
	}
	if err := p.Take(m.Files[len(m.Files)-1]); err != nil {
		return fmt.Errorf("take a name: %w", err)
	}
	for range 2 {
		if err := o.Publish(ctx, m); !errors.Is(err, sinks.ErrConflict) {
			return fmt.Errorf("publish to a name that is taken gave %w, want sinks.ErrConflict", orNothing(err))
		}
	}
	return o.end(ctx)
}

func closes(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, lines(0, 10)); err != nil {
		return err
	}
	return errors.Join(o.end(ctx), p.wants(nil))
}

// outlives closes a writer between stage and publish, as a stop does that runs out of time.
func outlives(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	m, err := o.prepare(ctx, 1, lines(0, 60))
	if err != nil {
		return err
	}
	if err := o.end(ctx); err != nil {
		return err
	}
	next, err := own(ctx, p, "a", 2)
	if err != nil {
		return err
	}
	return errors.Join(next.publish(ctx, m), p.wants(lines(0, 60)), next.end(ctx))
}
