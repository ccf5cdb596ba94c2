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

// unless gives an error, but for those codes that say the call was done already: an answer that was lost is asked for again.
func unless(err error, codes ...string) error {
	if is(err, codes...) {
		return nil
	}
	return err
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

// appeared looks until what was made is seen, with its tag. One that has none is somebody else's, who was faster.
func (s *Site) appeared(ctx context.Context, t thing) (f *found, err error) {
	began := s.options.Now()
	err = s.wait(ctx, t.about(), func(ctx context.Context) (string, bool, error) {
		f, err = t.look(ctx)
		return "it was made, and is not seen yet", f != nil && (f.owner == s.Project || s.options.Now().Sub(began) > s.options.Spread), err
	})
	if err == nil && f.owner != s.Project {
		err = &fault.Error{
			Code: "ACQ-SETUP-009", Place: t.about().id(), Err: errors.New("somebody else has made it meanwhile: " + s.whose(f.owner)), Remedy: "look whose it is, and plan again",
		}
	}
	return f, err
}
