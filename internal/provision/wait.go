package provision

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// explain classifies an error of a service. doing names the right of IAM that the call needs.
func explain(err error, doing string, a about) error {
	err = awsconfig.Explain(err, doing, a.id())
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == "ACQ-AWS-005" {
		e.Remedy = "give the right that is named to who runs this: acequia setup iam --component setup prints all that it takes"
	}
	return err
}

// refused is the error of what a service answered to, and did not do.
func refused(a about, doing, why string) error {
	return &fault.Error{Code: "ACQ-SETUP-006", Place: a.id(), Err: errors.New(doing + ": " + why), Remedy: "mend what it says, and run it again: it goes on where it was"}
}

// is says whether a service gave one of these codes.
func is(err error, codes ...string) bool {
	return err != nil && slices.Contains(codes, awsconfig.Code(err))
}

// wait asks again and again until something is done. state is what is told meanwhile.
func (s *Site) wait(ctx context.Context, a about, ask func(ctx context.Context) (state string, done bool, err error)) error {
	began := s.options.Now()
	ticks := time.NewTicker(s.options.Pause)
	defer ticks.Stop()
	for {
		state, done, err := ask(ctx)
		if err != nil || done {
			return err
		}
		after := s.options.Now().Sub(began)
		if after > s.options.Patience {
			return &fault.Error{
				Class: fault.Retryable, Code: "ACQ-SETUP-002", Place: a.id(), Err: fmt.Errorf("after %s it still is: %s", after.Round(time.Second), state),
				Remedy: "wait, and apply again: it goes on where it was",
			}
		}
		s.options.Tell(Progress{a.kind, a.name, state, after})
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// persist repeats what is refused with codes that pass by themselves: what was made a moment ago is not known everywhere at once.
func (s *Site) persist(ctx context.Context, a about, state string, do func(ctx context.Context) error, codes ...string) error {
	var last error
	err := s.wait(ctx, a, func(ctx context.Context) (string, bool, error) {
		last = do(ctx)
		return state, !is(last, codes...), nil
	})
	if err != nil {
		return errors.Join(err, last)
	}
	return last
}

// appeared looks until what was made is seen.
func (s *Site) appeared(ctx context.Context, t thing) (f *found, err error) {
	err = s.wait(ctx, t.about(), func(ctx context.Context) (string, bool, error) {
		f, err = t.look(ctx)
		return "it was made, and is not seen yet", f != nil, err
	})
	return f, err
}
