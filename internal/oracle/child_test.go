//go:build cgo

package oracle

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/cli"
	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/routers"
)

// childEnv makes the test binary the program: its value is an order.
const childEnv = "ACEQUIA_ORACLE_CHILD"

// order says what a child does: a command of acequia, or else the pipelines of a file until it is killed.
type order struct {
	Command []string
	File    string
	KillAt  string // point:n of the pipeline, where it kills itself
	Drain   bool   // it ends when nothing is left
}

// server is shared by the tests; each has databases of its own: a warehouse, and what is read where that is PostgreSQL.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	os.Exit(postgrestest.Main(m, func(s *postgrestest.Server) { server = s }))
}

func child() int {
	var o order
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if len(o.Command) > 0 {
		return cli.Main(o.Command)
	}
	if err := o.follow(context.Background()); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// follow is acequia run with commit groups that are closed sooner, so that more deaths hit one, and a look for new tables that comes
// sooner.
func (o order) follow(ctx context.Context) error {
	dies := o.dies()
	var idle time.Duration
	if o.Drain {
		idle = 3 * time.Second
	}
	live, problems, err := app.LoadLive(ctx, app.LiveOptions{
		Plugins: catalog.Default(), Paths: []string{o.File}, Lookup: os.LookupEnv, UntilIdle: idle,
		Service: app.ServiceOptions{Log: obs.NewLogger(os.Stderr, slog.LevelInfo), Wire: func(p *routers.Pipeline, options *routers.Options) {
			p.Limits.Age, p.Limits.Idle, p.Refresh = 200*time.Millisecond, 100*time.Millisecond, 500*time.Millisecond
			p.Retry.Longest = time.Second
			options.Probe = dies
		}},
	})
	if err != nil || problems.Errors() {
		return errors.Join(err, problems)
	}
	if err := live.Run(ctx); err != nil {
		return err
	}
	if n := live.DeadLetters(); n > 0 {
		return fmt.Errorf("%d dead letters", n)
	}
	return nil
}

// dies gives a probe that kills the process at the point that the order names.
func (o order) dies() func(point string) {
	place, times, _ := strings.Cut(o.KillAt, ":")
	nth, err := strconv.ParseInt(times, 10, 64)
	var passed atomic.Int64
	return func(point string) {
		if err == nil && point == place && passed.Add(1) == nth {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// process is a child that runs.
type process struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	ended  chan struct{}
	code   int
	killed bool
	err    error
}

func (o order) start(ctx context.Context, dir string) (*process, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), "GORACE=atexit_sleep_ms=0", childEnv+"="+string(text))
	p.cmd.Stdout, p.cmd.Stderr = io.Writer(&p.out), io.Writer(&p.out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		err := p.cmd.Wait()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			p.err = err
			return
		}
		status, _ := exit.Sys().(syscall.WaitStatus)
		p.code, p.killed = exit.ExitCode(), status.Signaled()
	}()
	return p, nil
}

// end waits for the process for a while and then kills it; life 0 waits as long as it takes. It says whether it was killed, by
// itself or by us.
func (p *process) end(life time.Duration) (killed bool) {
	var over <-chan time.Time
	if life > 0 {
		t := time.NewTimer(life)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-p.ended:
	case <-over:
		_ = p.cmd.Process.Kill() // it may just have ended
		<-p.ended
	}
	return p.killed
}
