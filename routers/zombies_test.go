package routers

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// seeded gives a source of random moments and prints its seed; ACEQUIA_SEED repeats a run.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64() //nolint:gosec // a test
	if text := os.Getenv("ACEQUIA_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("ACEQUIA_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
}

func TestKillAtRandom(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	kills, pending := 0, 0
	for wanted := torture(t, 20); kills < wanted; {
		dir := crashDir(t)
		for {
			c := command(t.Context(), dir, order{pace: 2 * time.Millisecond})
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(60+random.IntN(250))*time.Millisecond, func() { _ = c.Process.Kill() })
			killed, message := outcome(c, c.Wait())
			timer.Stop()
			if message != "" {
				t.Error(message)
			}
			if !killed {
				break
			}
			kills++
			pending += intents(t, dir)
		}
		check(t, filepath.Join(dir, "out"), crashWorld())
	}
	t.Logf("%d kills, %d left an intent pending", kills, pending)
}

// An orderly stop leaves no intent, no staged file, and nothing to repeat.
func TestStopAtRandom(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	for stops, wanted := 0, torture(t, 6); stops < wanted; {
		dir := crashDir(t)
		for {
			c := command(t.Context(), dir, order{pace: 2 * time.Millisecond})
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(time.Duration(200+random.IntN(200))*time.Millisecond, func() { _ = c.Process.Signal(syscall.SIGTERM) })
			killed, message := outcome(c, c.Wait())
			timer.Stop()
			found, err := verify(filepath.Join(dir, "out"), crashWorld())
			if message != "" || err != nil || found.doubled > 0 || !killed && found.leftovers > 0 || !killed && intents(t, dir) > 0 {
				t.Errorf("%s %+v %v", message, found, err)
			}
			stops++
			if found.lost == 0 {
				break
			}
		}
		check(t, filepath.Join(dir, "out"), crashWorld())
	}
}

func TestFailingStateWrites(t *testing.T) {
	t.Parallel()
	for _, nth := range []int{3, 5, 7} {
		dir := crashDir(t)
		if _, message := runChild(t, dir, order{flaky: nth}); message != "" {
			t.Error(nth, message)
		}
		check(t, filepath.Join(dir, "out"), crashWorld())
	}
}

// A frozen owner that wakes up when the lane is another's must do no harm.
func TestZombies(t *testing.T) {
	t.Parallel()
	for i, point := range allPoints() {
		if point == inRecovery || point == "after-settle" {
			continue
		}
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			zombie(t, order{at: fmt.Sprintf("%s:%d", point, 1+i%4), stop: true}, 0, i%2 == 0)
		})
	}
	random := seeded(t)
	for i := range torture(t, 4) {
		zombie(t, order{pace: 2 * time.Millisecond}, time.Duration(60+random.IntN(200))*time.Millisecond, i%2 == 0)
	}
}

// zombie freezes an owner, lets a second one take over, and continues the first: while the second works (together), or
// after it has finished. A third takes what was left.
func zombie(t *testing.T, o order, after time.Duration, together bool) findings {
	t.Helper()
	dir := crashDir(t)
	old := command(t.Context(), dir, o)
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	if after > 0 {
		wait(t.Context(), after, nil)
		_ = old.Process.Signal(syscall.SIGUSR1)
	}
	waitUntilStopped(t, old.Process.Pid)
	next := command(t.Context(), dir, order{without: o.without, pace: time.Millisecond})
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	if together {
		wait(t.Context(), 100*time.Millisecond, nil)
		_ = old.Process.Signal(syscall.SIGCONT)
	}
	_, nextMessage := outcome(next, next.Wait())
	_ = old.Process.Signal(syscall.SIGCONT)
	_, oldMessage := outcome(old, old.Wait())
	_, last := runChild(t, dir, order{without: o.without})
	found, err := verify(filepath.Join(dir, "out"), crashWorld())
	if o.without != "" {
		return found
	}
	for _, message := range []string{oldMessage, nextMessage} {
		locked := strings.Contains(message, "ACQ-STATE-005") // by an owner that is frozen in a transaction, or while it mends the log
		if message != "" && !locked && !strings.Contains(message, checkpoint.ErrFenced.Error()) {
			t.Errorf("%+v: %s", o, message)
		}
	}
	if last != "" {
		t.Errorf("%+v: third owner: %s", o, last)
	}
	if err != nil || !found.ok() { // staged files may be left: a zombie can stage after the sweep
		t.Errorf("%+v: %+v %v", o, found, err)
	}
	return found
}

// waitUntilStopped waits until the process is frozen, or has ended before it came to the point.
func waitUntilStopped(t *testing.T, pid int) {
	t.Helper()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(rest, "T") || strings.HasPrefix(rest, "Z") {
			return
		}
		wait(t.Context(), time.Millisecond, nil)
	}
}

// Each protection is needed: without it these tests find damage.
func TestProtectionsAreNeeded(t *testing.T) {
	t.Parallel()
	for without, points := range map[string][]string{
		"intent":                {"after-publish", "in-publish"},
		"intent-before-publish": {"in-publish", "after-publish"},
		"intent-before-settle":  {"after-settle", "before-intent"},
		"roll-forward":          {"in-publish", "after-publish"},
		"sweep":                 {"before-stage", "after-stage"},
	} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			caught := 0
			for _, point := range points {
				dir := crashDir(t)
				_, first := runChild(t, dir, order{at: point + ":3", without: without})
				_, second := runChild(t, dir, order{without: without})
				found, err := verify(filepath.Join(dir, "out"), crashWorld())
				if err != nil || !found.ok() || found.leftovers > 0 {
					caught++
				}
				t.Logf("%s: %+v %v %s %s", point, found, err, first, second)
			}
			if caught == 0 {
				t.Error("no damage was found: the test is blind, or the protection is not needed")
			}
		})
	}
	t.Run("epoch", func(t *testing.T) {
		t.Parallel()
		for _, point := range []string{"before-intent", "before-publish", "after-stage", "before-checkpoint"} {
			if found := zombie(t, order{at: point + ":2", stop: true, without: "epoch"}, 0, false); !found.ok() {
				t.Logf("%s: %+v", point, found)
				return
			}
		}
		t.Error("no damage was found: the test is blind, or the protection is not needed")
	})
}
