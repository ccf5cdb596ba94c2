package checkpoint

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/dynamolog/dynamologtest"
)

// TestWhoGaveUpWaiting ends the context of calls whose write is still to come: they are told so, and are given nothing that the write may
// still change. The race detector sees it otherwise.
func TestWhoGaveUpWaiting(t *testing.T) {
	t.Parallel()
	s := openedLog(t, sharedOptions(t, moto.InOrder(t), dynamologtest.Table(t, moto.Settings)))
	leases := s.Leases("a")
	of, ok := s.engine.(*replica)
	if !ok {
		t.Fatalf("the engine is %T", s.engine)
	}
	for name, call := range map[string]func(ctx context.Context) (given bool, err error){
		"Acquire": func(ctx context.Context) (bool, error) {
			st, err := s.Acquire(ctx, lane)
			return st.Epoch != 0, err
		},
		"Next": func(ctx context.Context) (bool, error) {
			n, err := s.Next(ctx, "s")
			return n != 0, err
		},
		"SwapNote": func(ctx context.Context) (bool, error) { return s.SwapNote(ctx, "p", "k", nil, []byte("v")) },
		"Rewind":   func(ctx context.Context) (bool, error) { return false, s.Rewind(ctx, "p", []string{"none"}, nil) },
		"Take":     func(ctx context.Context) (bool, error) { return leases.Take(ctx, "k", nil) },
		"Look": func(ctx context.Context) (bool, error) {
			all, err := leases.Look(ctx)
			return all != nil, err
		},
		"ClaimRun": func(ctx context.Context) (bool, error) { return s.ClaimRun(ctx, "s", time.Now()) },
		"AddJob": func(ctx context.Context) (bool, error) {
			j, begun, err := s.AddJob(ctx, Job{ID: "1", Kind: "k", Work: "w", State: JobQueued})
			return begun || j.ID != "", err
		},
		"EditDeadLetter": func(ctx context.Context) (bool, error) { return s.EditDeadLetter(ctx, 1, []byte("{}")) },
		"DropDeadLetters": func(ctx context.Context) (bool, error) {
			n, err := s.DropDeadLetters(ctx, LetterFilter{})
			return n != 0, err
		},
	} {
		given, err := givenUp(t, s, of, call)
		if given || !errors.Is(err, context.Canceled) {
			t.Errorf("%s gives something (%t), or no error: %v", name, given, err)
		}
	}
}

// givenUp ends the context of a call while its write waits for another. Nothing orders what the write does after what the call reads.
func givenUp(t *testing.T, s *Store, of *replica, call func(ctx context.Context) (bool, error)) (bool, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	held, goOn, over := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		over <- s.run(t.Context(), "hold", func(context.Context, session) error {
			select {
			case held <- struct{}{}:
			default: // it is done anew
			}
			<-goOn
			return nil
		})
	}()
	<-held
	go func() {
		for len(of.queue) == 0 {
			runtime.Gosched()
		}
		cancel()
		close(goOn)
	}()
	given, err := call(ctx)
	if err := <-over; err != nil {
		t.Error(err)
	}
	if _, err := s.Next(t.Context(), "after"); err != nil { // the write has been done by now
		t.Error(err)
	}
	return given, err
}
