package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/routers"
)

// childEnv makes the test binary the program under test, which runs the same main: its value is an order.
const childEnv = "ACEQUIA_TEST_CHILD"

// order tells a child where to die or to wait, and what it lacks.
type order struct {
	Dir     string        // of the state
	KillAt  string        // pipeline/point:n, where it kills itself
	HoldAt  string        // the same, where it waits for SIGCONT
	Slowly  time.Duration // how long a chunk takes at least, until there is a file
	Until   string        // the file
	Without protection
	Disks   []disk // file systems of its own
}

func (o order) environment() []string {
	text, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	return append(os.Environ(), "GORACE="+noExitSleep, childEnv+"="+string(text))
}

// held is the file that a child makes where it waits.
func (o order) held() string { return filepath.Join(o.Dir, "held") }

func runChild() int {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return exitUsage
	}
	if err := mountAll(o.Disks); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return exitUnmounted
	}
	probe := o.probe()
	code := run(os.Args[1:], terminal{out: os.Stdout, err: os.Stderr, plugins: catalog.Default(), probe: func(point string) { probe(partOf(point) + "/" + point) }, wire: func(p *routers.Pipeline, options *routers.Options) {
		name := p.Name
		if name == lakePipeline { // more groups, so that more deaths hit one
			p.Limits.Age, p.Limits.Idle = 200*time.Millisecond, 100*time.Millisecond
		}
		if name == "lines" { // of runs over files
			p.Limits.Rows = 10_000
		}
		if name == "changes" { // of a stream
			p.Limits.Rows = 300
		}
		if name == "replayed" {
			p.Limits.Rows = 3000
		}
		options.Probe = func(point string) { probe(name + "/" + point) }
		o.weaken(p, options)
	}})
	return max(code, keepAll(o.Disks))
}

// partOf names what a point is of that no pipeline comes to.
func partOf(point string) string {
	if slices.Contains(lakefiles.Points(), point) {
		return "lake"
	}
	return "backup"
}

// dawdle takes as long as a chunk takes.
func (o order) dawdle() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.After(o.Slowly)
	for {
		if _, err := os.Stat(o.Until); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			return
		}
	}
}

// probe dies or waits at the places that the order names.
func (o order) probe() func(at string) {
	reaches := func(wanted string) func(at string) bool {
		place, times, _ := strings.Cut(wanted, ":")
		nth, err := strconv.ParseInt(times, 10, 64)
		var passed atomic.Int64
		return func(at string) bool { return err == nil && at == place && passed.Add(1) == nth }
	}
	dies, waits := reaches(o.KillAt), reaches(o.HoldAt)
	goOn := make(chan os.Signal, 1)
	signal.Notify(goOn, syscall.SIGCONT)
	return func(at string) {
		if dies(at) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		if waits(at) {
			_ = os.WriteFile(o.held(), nil, 0o600)
			<-goOn
		}
		if o.Slowly > 0 && strings.HasSuffix(at, "/accepted") {
			o.dawdle()
		}
	}
}
