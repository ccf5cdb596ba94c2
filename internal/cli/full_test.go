package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/web"
)

// ballast fills a disk to its last byte.
type ballast struct{ path string }

// fill gives an error when the disk does not become full.
func (b ballast) fill() error {
	f, err := os.Create(b.path)
	if err != nil {
		return err
	}
	for _, block := range []int{1 << 16, 1 << 12, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, block))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return errors.Join(err, f.Close())
		}
		err = nil
	}
	return f.Close()
}

func (b ballast) free() error { return os.Remove(b.path) }

// says waits until the program says of a pipeline that it waits, and why: in /readyz and in `acequia status`.
func (r *register) says(c *child, pipeline, why string) error {
	var ready api.Readiness
	at := func() int {
		return slices.IndexFunc(ready.AtFault, func(l api.AtFaultLine) bool {
			return l.Pipeline == pipeline && l.State == string(web.Retrying) && strings.Contains(l.Reason, why)
		})
	}
	err := await(r.ctx, func() bool {
		ready = api.Readiness{}
		return c.get("/readyz", &ready) == nil && at() >= 0
	})
	if err != nil || ready.Ready {
		return fmt.Errorf("/readyz does not say that %s waits because of %s: %+v, %w", pipeline, why, ready, err)
	}
	// A pipeline that tries again is starting for a moment.
	var out string
	err = await(r.ctx, func() bool {
		_, out, err = once(r.ctx, order{}, "status", "--dir", r.root+r.dir)
		return err == nil && strings.Contains(out, "retrying") && strings.Contains(out, why)
	})
	if err != nil {
		return fmt.Errorf("status does not say that %s waits because of %s: %s, %w", pipeline, why, out, err)
	}
	return nil
}

// without skips a test for what the machine lacks; in CI, which has all of it, that is a failure.
func without(t *testing.T, what ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(what...)
	}
	t.Skip(what...)
}

// TestFullDisks gives the state and the lake small disks of their own, and fills the lake's, then the other.
func TestFullDisks(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	kept := filepath.Join(t.TempDir(), "kept")
	r.disks = []disk{{Path: r.dir, Size: "16m", Keep: kept}, {Path: filepath.Join(r.dir, "lake"), Size: "1m"}}
	c, err := r.start(order{})
	switch {
	case c == nil:
		without(t, "a namespace of mounts cannot be made here: ", err)
	case c.over() && c.ProcessState.ExitCode() == exitUnmounted:
		without(t, "a disk cannot be mounted here: ", &c.out)
	case err != nil:
		t.Fatal(err)
	}
	r.root = fmt.Sprintf("/proc/%d/root", c.Process.Pid)
	if err := errors.Join(r.fullLake(c), r.fullItems(c), r.catchUp(c)); err != nil {
		t.Error(err)
	}
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	r.dir, r.root = kept, ""
	if damage := r.compare(); damage != nil {
		t.Error(damage)
	}
}

// fullLake fills the lake's disk: games are still registered, and their rows come when there is space again.
func (r *register) fullLake(c *child) error {
	b := ballast{r.root + r.dir + "/lake/ballast"}
	r.burst("before", games)()
	if err := errors.Join(r.catchUp(c), b.fill()); err != nil {
		return err
	}
	r.burst("full-lake", games)()
	return errors.Join(r.says(c, lakePipeline, "ACQ-LAKE-001"), b.free(), r.catchUp(c))
}

// fullItems fills the disk of the items: a client is answered 503 and when to come again, and is served when there is
// space again.
func (r *register) fullItems(c *child) error {
	b := ballast{r.root + r.dir + "/ballast"}
	if err := b.fill(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	wait := r.clients(ctx, 2)
	var refused error
	err := await(r.ctx, func() bool {
		_, header, err := r.post("nobody")
		refused = err
		return err != nil && header.Get("Retry-After") == "2"
	})
	if err != nil || !strings.Contains(refused.Error(), "503") || !strings.Contains(refused.Error(), "ACQ-FORM-007") {
		err = errors.Join(err, fmt.Errorf("a client was told %w, want 503 with Retry-After", refused))
	}
	err = errors.Join(err, r.says(c, itemsPipeline, "disk is full"), b.free())
	cancel()
	wait()
	r.insist("nobody")
	return err
}
