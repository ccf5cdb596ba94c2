package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/web"
)

// games is how many games a scenario registers at once.
const games = 12

// scenario is a death that a protection is there for.
type scenario struct {
	without protection
	kill    string // where; "": see play
	play    func(r *register, s *scenario, spare string) error
	damage  string // that compare must report without the protection
}

func scenarios() []scenario {
	return []scenario{
		{savedIntents, lakePipeline + "/after-publish:1", killed, "lake doubled"},
		{rollForward, lakePipeline + "/after-publish:1", killed, "lake doubled"},
		{steadyNames, lakePipeline + "/after-publish:1", killed, "lake doubled"},
		{savedPosition, lakePipeline + "/after-checkpoint:1", killed, "lake doubled"},
		{recoveryPublish, lakePipeline + "/after-intent:1", killed, "lake lost"},
		{checkpointOrder, lakePipeline + "/before-publish:1", killed, "lake lost"},
		{sweeping, lakePipeline + "/before-intent:1", killed, "staged left"},
		{readersBlockTrim, lakePipeline + "/before-intent:1", killed, "lake lost"},
		{storedKeys, itemsPipeline + "/after-stage:1", killed, "items unknown"},
		{durableAnswers, "", killedBeforeDurable, "items lost"},
		{epochFencing, "", takenOver, "lake doubled"},
	}
}

// TestProtectionsAreNeeded plays each death twice: the whole program must survive it, and one that lacks the protection
// must be caught.
func TestProtectionsAreNeeded(t *testing.T) {
	t.Parallel()
	atOnce := make(chan struct{}, 4) // they mostly wait
	var all sync.WaitGroup
	defer all.Wait()
	for _, s := range scenarios() {
		for _, without := range []protection{"", s.without} {
			r, spare := newRegister(t), freePort(t)
			r.without = without
			all.Go(func() {
				atOnce <- struct{}{}
				defer func() { <-atOnce }()
				err := s.play(r, &s, spare)
				damage, finishErr := r.finish()
				switch err = errors.Join(err, finishErr); {
				case without == "" && (err != nil || damage != nil):
					t.Errorf("%q, with it: %v", s.without, errors.Join(err, damage))
				case without != "" && (damage == nil || !strings.Contains(damage.Error(), s.damage)):
					t.Errorf("%q, without it: no %q was seen: the test is blind, or the protection is not needed: %v; %v",
						s.without, s.damage, damage, err)
				case without != "":
					t.Logf("without %q: %s; %v", s.without, strings.ReplaceAll(damage.Error(), "\n", "; "), err)
				}
			})
		}
	}
}

// killed dies at the scenario's place with games on their way.
func killed(r *register, s *scenario, _ string) error {
	c, err := r.start(order{KillAt: s.kill})
	if err != nil {
		return err
	}
	wait := r.burst("game", games)
	select {
	case <-c.died:
		err = c.failure()
	case <-time.After(20 * time.Second):
		err = errors.Join(errors.New(s.kill+" was not passed"), c.end(syscall.SIGKILL))
	}
	if err != nil {
		return err
	}
	// The next child answers the clients. It is finish that starts the last one, on what this one leaves.
	if c, err = r.start(order{}); err != nil {
		return err
	}
	wait()
	return errors.Join(r.catchUp(c), c.end(syscall.SIGTERM))
}

// killedBeforeDurable dies with the first items read and not on disk; whoever was told of them must not be.
func killedBeforeDurable(r *register, _ *scenario, _ string) error {
	o := order{Dir: r.dir, HoldAt: itemsPipeline + "/before-stage:1"}
	c, err := r.start(o)
	if err != nil {
		return err
	}
	wait := r.burst("game", games)
	if err := await(r.ctx, func() bool { _, err := os.Stat(o.held()); return err == nil }); err != nil {
		return errors.Join(err, c.end(syscall.SIGKILL))
	}
	if r.without == "" {
		select {
		case <-time.After(300 * time.Millisecond):
		case <-c.died:
		}
		if n := r.toldCount(); n > 0 {
			err = fmt.Errorf("%d clients were told of items that are not on disk", n)
		}
	} else {
		err = await(r.ctx, func() bool { return r.toldCount() > 0 })
	}
	if err = errors.Join(err, c.end(syscall.SIGKILL)); err != nil {
		return err
	}
	if c, err = r.start(order{}); err != nil {
		return err
	}
	wait()
	return c.end(syscall.SIGTERM)
}

// takenOver has two owners: somebody removes the lock of the directory while the first one stands still, the second does
// all the work, and then the first goes on.
func takenOver(r *register, _ *scenario, spare string) error {
	o := order{Dir: r.dir, HoldAt: lakePipeline + "/after-recovery:1"}
	first, err := r.start(o)
	if err != nil {
		return err
	}
	err = await(r.ctx, func() bool { _, err := os.Stat(o.held()); return err == nil })
	if err = errors.Join(err, os.Remove(filepath.Join(r.dir, "lock"))); err != nil {
		return errors.Join(err, first.end(syscall.SIGKILL))
	}
	r.moveTo(spare)
	second, err := r.start(order{})
	if err != nil {
		return err
	}
	r.burst("game", games)()
	err = errors.Join(r.catchUp(second), second.end(syscall.SIGTERM), first.Process.Signal(syscall.SIGCONT))
	var after web.Pipeline
	err = errors.Join(err, await(r.ctx, func() bool {
		after = first.pipeline(lakePipeline)
		return after.State == web.Failed || after.Rows > 0
	}))
	if r.without == "" && !strings.Contains(after.Reason, "ACQ-STATE-004") {
		err = errors.Join(err, fmt.Errorf("the first owner is not told that it lost the lane: %+v", after))
	}
	return errors.Join(err, first.end(syscall.SIGKILL))
}
