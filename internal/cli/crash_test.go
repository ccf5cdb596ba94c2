package cli

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/routers"
)

// places lists every point of both pipelines, in an order in which each is passed. Recovery rolls a group of the lake
// forward only after a death between its intent and its checkpoint; the items have no files, so no intent.
func places() []string {
	var out []string
	for _, pipeline := range []string{itemsPipeline, lakePipeline} {
		for _, point := range routers.Points() {
			if point != "in-recovery" {
				out = append(out, pipeline+"/"+point)
			}
			if pipeline == lakePipeline && point == "after-publish" {
				out = append(out, pipeline+"/in-recovery")
			}
		}
	}
	return out
}

// TestKilledAtEveryPoint kills the program at each named point of the commit protocol, of the items and of the lake,
// while clients register games.
func TestKilledAtEveryPoint(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait := r.clients(ctx, 4)
	for _, place := range places() {
		c, err := r.start(order{KillAt: place + ":1"})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.died:
		case <-time.After(20 * time.Second):
			t.Errorf("%s was not passed", place)
			_ = c.end(syscall.SIGKILL)
		}
		if err := c.failure(); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
	r.settle(t, cancel, wait)
}

// TestKilledAtRandom kills the program at random moments under load: 40 times, or ACEQUIA_KILLS.
func TestKilledAtRandom(t *testing.T) {
	t.Parallel()
	kills := 40
	if text := os.Getenv("ACEQUIA_KILLS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("ACEQUIA_KILLS: %v", err)
		}
		kills = n
	}
	r := newRegister(t)
	ctx, cancel := context.WithCancel(t.Context())
	wait := r.clients(ctx, 8)
	for range kills {
		c, err := r.start(order{})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.died:
		case <-time.After(time.Duration(rand.IntN(700)) * time.Millisecond):
		}
		if err := c.end(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	r.settle(t, cancel, wait)
}

// settle lets the clients end, with the program up so that each gets its answer, and checks.
func (r *register) settle(t *testing.T, cancel, wait func()) {
	t.Helper()
	c, err := r.start(order{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	wait()
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if damage, err := r.finish(); damage != nil || err != nil {
		t.Error(errors.Join(damage, err))
	}
	t.Logf("%d games", r.toldCount())
	if _, err := latestIDs(t.Context(), r.dir); fault.Code(err) == noSQL {
		t.Log("the latest view was not compared: ", strings.TrimSpace(err.Error()))
	}
}
