package app

import (
	"context"
	"io"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// own connects the parts of a pipeline with a source and steps of its own, for a run beside or after others. The sinks are those of
// the service. done closes the source, when the run has ended.
func (s *Service) own(ctx context.Context, d *Declared) (p routers.Pipeline, done func() error, err error) {
	return s.ownAs(ctx, d, s.leads(d))
}

// ownAs is own for a source that has another role.
func (s *Service) ownAs(ctx context.Context, d *Declared, role sources.Role) (p routers.Pipeline, done func() error, err error) {
	key, err := s.key(ctx)
	if err != nil {
		return p, nil, err
	}
	if p, err = s.connect(ctx, d, role, key); err != nil {
		return p, nil, err
	}
	done = func() error { return nil }
	if c, ok := p.Source.(io.Closer); ok {
		done = c.Close
	}
	return p, done, nil
}

// narrowed is a source of which only the lanes are read that carry some streams, and those which these wait for.
type narrowed struct {
	sources.Source
	carries func(stream string) (bool, error)
}

var (
	_ sources.Source   = narrowed{}
	_ sources.Resumer  = narrowed{}
	_ sources.Excluder = narrowed{}
)

// Lanes leaves the others out.
func (n narrowed) Lanes(ctx context.Context) ([]sources.Lane, error) {
	all, err := n.Source.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, l := range all {
		for _, stream := range l.Streams {
			in, err := n.carries(stream)
			if err != nil {
				return nil, err
			}
			if in {
				wanted[l.ID] = true
			}
		}
	}
	for more := true; more; { // what they wait for, and what that waits for
		more = false
		for _, l := range all {
			for _, before := range l.After {
				if wanted[l.ID] && !wanted[before] {
					wanted[before], more = true, true
				}
			}
		}
	}
	var out []sources.Lane
	for _, l := range all {
		if wanted[l.ID] {
			out = append(out, l)
		}
	}
	return out, nil
}

// More asks the source, where it can tell.
func (n narrowed) More(ctx context.Context, lane sources.Lane, at record.Position) (bool, error) {
	if r, ok := n.Source.(sources.Resumer); ok {
		return r.More(ctx, lane, at)
	}
	return false, nil
}

// Exclude tells the source, where it can.
func (n narrowed) Exclude(ctx context.Context, lane sources.Lane, stream string, why error) (bool, error) {
	if e, ok := n.Source.(sources.Excluder); ok {
		return e.Exclude(ctx, lane, stream, why)
	}
	return false, nil
}
