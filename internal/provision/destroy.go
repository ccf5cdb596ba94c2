package provision

import (
	"context"
	"slices"
)

// Doomed says what Destroy would delete: what carries the project's tag, and holds no data unless withData. What others are made of comes last. The
// error is ctx's.
func (s *Site) Doomed(ctx context.Context, withData bool) ([]Step, error) {
	var steps []Step
	for _, t := range slices.Backward(s.things) {
		if step := s.doom(ctx, t, withData); step != nil {
			steps = append(steps, *step)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return steps, nil
}

// doom says what becomes of a thing; nil: it is not there.
func (s *Site) doom(ctx context.Context, t thing, withData bool) *Step {
	a := t.about()
	step := &Step{Kind: a.kind, Name: a.name, Region: a.region, Action: Keep, Note: a.refused}
	if a.borrowed {
		step.Note = "no part of this project writes it: it is left to who made it"
	}
	if step.Note != "" {
		return step
	}
	f, err := t.look(ctx)
	switch {
	case err != nil:
		step.fail(err)
		return step
	case f == nil:
		return nil
	case f.owner != s.Project:
		step.Note = s.whose(f.owner) + ": it is left to who made it"
		return step
	}
	step.Action = Delete
	if f.holds == nil {
		return step
	}
	data, err := f.holds(ctx)
	switch {
	case err != nil:
		step.fail(err)
	case data != "" && !withData:
		step.Held = true
		step.Action, step.Note = Keep, "it holds "+data+": --with-data deletes it with all of that"
	case data != "":
		step.Note = "it holds " + data
	}
	return step
}

// Destroy deletes what Doomed names. Each resource is looked at again before, so that what was filled or given away meanwhile stays. each is
// told of every step; the error is ctx's.
func (s *Site) Destroy(ctx context.Context, withData bool, each func(Step)) ([]Step, error) {
	var steps []Step
	for _, t := range slices.Backward(s.things) {
		step := s.doom(ctx, t, withData)
		if step == nil {
			continue
		}
		if step.err == nil && step.Action == Delete {
			if err := t.remove(ctx); err != nil {
				step.fail(err)
			}
		}
		if ctx.Err() != nil {
			return steps, ctx.Err()
		}
		steps = append(steps, *step)
		each(*step)
	}
	return steps, nil
}
