package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/web"
)

const teamParts = `version: 1
state: { folder: .state-%s, type: postgres, dsn: %q }
sources:
  lines: { type: postgres, dsn: %q, parallel: 6, capture: { strategy: xmin, every: 200ms } }
sinks:
  lake: { type: lake, url: lake, roll: { every: 200ms } }
pipelines:
  lines: { from: lines, to: [lake] }
`

// teamRows make a table of five parts: each of 32 MiB, and of eight chunks.
const teamRows = 165_000

// slowly is how long a chunk of such a run takes at least, so that several processes have some of a table, until it is told to go on.
const slowly = 3 * time.Second

// newTableTeam is a project for several processes, over a table that is read in parts.
func newTableTeam(t *testing.T) *fileRun {
	t.Helper()
	dsn := sharedDatabase(t, "create table lines (id bigint primary key, name text)",
		fmt.Sprintf("insert into lines select i, repeat('x', 1000) from generate_series(0, %d) i", teamRows-1), "analyze lines")
	r := &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}, shared: app.SharedState{DSN: config.Secret(dsn)}}
	for _, name := range []string{"a", "b", "c", "d"} {
		r.write(t, name+".yaml", fmt.Appendf(nil, teamParts, name, dsn, dsn))
	}
	for id := range int64(teamRows) {
		r.rows[id] = true
	}
	return r
}

// launchTeam starts a process with a folder of its own for what it tells.
func (r *fileRun) launchTeam(t *testing.T, name string, o order) *running {
	t.Helper()
	if o.Dir = filepath.Join(r.dir, "beside-"+name); o.Slowly == 0 {
		o.Slowly = slowly
	}
	o.Until = r.gate()
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		t.Fatal(err)
	}
	return r.launch(t, o, "run", "--until-idle", name+".yaml")
}

// gate is the file that lets all be read fast.
func (r *fileRun) gate() string { return filepath.Join(r.dir, "gate") }

func (r *fileRun) goOn(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(r.gate(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// parts gives how many parts of the table processes read, by process, and who has the pipeline.
func (r *fileRun) parts(t *testing.T) (parts map[string]int, leader string) {
	t.Helper()
	parts = map[string]int{}
	for owner, keys := range r.leases(t) {
		for _, key := range keys {
			switch lane, ok := checkpoint.LeasedLane(key); {
			case ok && strings.HasPrefix(lane.ID, "lines@"):
				parts[owner]++
			case key == checkpoint.PipelineLease("lines"):
				leader = owner
			}
		}
	}
	return parts, leader
}

// share says whether so many processes read parts, about as many each.
func (r *fileRun) share(t *testing.T, processes int) bool {
	t.Helper()
	parts, leader := r.parts(t)
	var counts []int
	for _, n := range parts {
		counts = append(counts, n)
	}
	return leader != "" && len(counts) == processes && slices.Max(counts)-slices.Min(counts) <= 1
}

// TestTeamSharesTable has processes read the parts of one table: those that assist are killed and frozen, then, in another run, those
// that have the pipeline. In the end every row is in the lake once, also when the frozen has gone on.
func TestTeamSharesTable(t *testing.T) {
	t.Parallel()
	ends := func(t *testing.T, c *running) {
		t.Helper()
		if code := c.until(t, nil); code != exitOK {
			t.Errorf("exit code %d: %s", code, c.said())
		}
	}
	t.Run("assistants", func(t *testing.T) {
		t.Parallel()
		r := newTableTeam(t)
		a := r.launchTeam(t, "a", order{})
		a.until(t, func() bool { return r.share(t, 1) })
		b := r.launchTeam(t, "b", order{KillAt: "lines/after-intent:2"})
		b.until(t, func() bool { return r.share(t, 2) })
		b.until(t, nil)
		c := r.launchTeam(t, "c", order{HoldAt: "lines/before-publish:2"})
		held := order{Dir: filepath.Join(r.dir, "beside-c")}
		c.until(t, held.isHeld)
		c.signal(t, syscall.SIGSTOP)
		r.goOn(t)
		ends(t, a)
		r.check(t)
		c.signal(t, syscall.SIGCONT, syscall.SIGCONT)
		ends(t, c)
		r.check(t)
	})
	t.Run("who has the pipeline", func(t *testing.T) {
		t.Parallel()
		r := newTableTeam(t)
		a := r.launchTeam(t, "a", order{})
		a.until(t, func() bool { return r.share(t, 1) })
		b := r.launchTeam(t, "b", order{HoldAt: "lines/before-publish:4"})
		b.until(t, func() bool { return r.share(t, 2) })
		a.signal(t, syscall.SIGKILL)
		a.until(t, nil)
		held := order{Dir: filepath.Join(r.dir, "beside-b")}
		b.until(t, held.isHeld)
		c := r.launchTeam(t, "c", order{})
		b.signal(t, syscall.SIGSTOP)
		r.goOn(t)
		ends(t, c)
		r.check(t)
		b.signal(t, syscall.SIGCONT, syscall.SIGCONT)
		ends(t, b)
		r.check(t)
		for owner, keys := range r.leases(t) {
			t.Errorf("%s still has %v", owner, keys)
		}
	})
}

// TestTeamMigratesTable has two services share the first read of a table: the one that has the pipeline is killed, and the other goes on
// as the one that has it, before all parts are read. Then it migrates the table with the other's help, and its report counts what that one read.
func TestTeamMigratesTable(t *testing.T) {
	t.Parallel()
	r := newTableTeam(t)
	of := func(name string) *jobRun { return &jobRun{t: t, dir: r.dir, file: filepath.Join(r.dir, name+".yaml")} }
	until := func(c *child, what string, so func() bool) {
		t.Helper()
		began := time.Now()
		if err := await(t.Context(), func() bool { return c.over() || so() }); err != nil || c.over() {
			t.Fatalf("never: %s: %v\n%s", what, err, &c.out)
		}
		t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
	}
	lanes := func(c *child) (follows bool, open int) {
		for _, l := range c.pipeline("lines").Lanes {
			switch {
			case strings.HasSuffix(l.ID, "/follow"):
				follows = l.State == web.Running
			case l.State != web.Ended:
				open++
			}
		}
		return follows, open
	}
	a := of("a").start(order{Slowly: slowly, Until: r.gate()})
	until(a, "one reads", func() bool { return r.share(t, 1) })
	second := of("b")
	b := second.start(order{Slowly: slowly, Until: r.gate()})
	until(b, "two read", func() bool { return r.share(t, 2) })
	if err := a.end(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(b, "it has the pipeline", func() bool { follows, _ := lanes(b); return follows })
	if _, open := lanes(b); open == 0 {
		t.Error("it had read all parts before it took the pipeline")
	}
	r.goOn(t)
	until(b, "all is read", func() bool { follows, open := lanes(b); return follows && open == 0 })
	a = of("a").start(order{Slowly: slowly, Until: r.gate()})
	if err := os.Remove(r.gate()); err != nil {
		t.Fatal(err)
	}
	var job api.Job
	if status, err := second.ask("POST", "/migrate", &job); err != nil || status != http.StatusAccepted {
		t.Fatalf("%d %v", status, err)
	}
	until(b, "two migrate", func() bool { return r.share(t, 2) })
	r.goOn(t)
	until(b, "the job has ended", func() bool {
		status, err := second.ask("GET", "/v1/jobs/"+job.ID, &job)
		return err == nil && status == http.StatusOK && job.Ended != nil
	})
	if job.State != "succeeded" || job.Report.Databases[0].Rows != teamRows || job.Report.Tables[0].Rows != teamRows {
		t.Errorf("the job: %s, %+v", job.State, job.Report)
	}
	if err := errors.Join(a.end(syscall.SIGTERM), b.end(syscall.SIGTERM)); err != nil {
		t.Error(err)
	}
	if code, out, err := once(t.Context(), order{}, "verify", second.file); err != nil || code != exitOK {
		t.Errorf("verify: %d %v\n%s", code, err, out)
	}
}

// TestTeamUnderFireOverTable has three processes read a table while one after the other is killed, or stands still for longer than its
// leases last, at random moments: 8 times, or ACEQUIA_KILLS, over as many tables as it takes. What dies is started again.
func TestTeamUnderFireOverTable(t *testing.T) {
	t.Parallel()
	kills, seed := 8, rand.Uint64()
	if text := os.Getenv("ACEQUIA_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ACEQUIA_KILLS: %v", err)
		}
	}
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a test's choice
	for tables := 1; kills > 0; tables++ {
		r := newTableTeam(t)
		killed, frozen := r.underFire(t, random, kills)
		kills -= killed + frozen
		r.check(t)
		t.Logf("table %d: %d killed, %d frozen", tables, killed, frozen)
		if killed+frozen == 0 {
			t.Fatal("it was read before anything could happen")
		}
	}
}

// underFire kills and freezes the processes, so often at most, until the table is read, and lets them end.
func (r *fileRun) underFire(t *testing.T, random *rand.Rand, most int) (killed, frozen int) {
	t.Helper()
	team := map[string]*running{}
	start := func(name string) { team[name] = r.launchTeam(t, name, order{Slowly: time.Second}) }
	names := []string{"a", "b", "c"}
	var woken []*time.Timer
	for _, name := range names {
		start(name)
	}
	read := func() bool {
		parts, leader := r.parts(t)
		return leader != "" && len(parts) == 0
	}
	team["a"].until(t, func() bool { return r.share(t, 1) || r.share(t, 2) || r.share(t, 3) })
	for killed+frozen < most {
		<-time.After(time.Duration(500+random.IntN(2500)) * time.Millisecond)
		if read() {
			break
		}
		name := names[random.IntN(len(names))]
		victim := team[name]
		if victim.over() { // it found all read
			break
		}
		if random.IntN(4) == 0 {
			frozen++
			_ = victim.Process.Signal(syscall.SIGSTOP) // it may have ended
			woken = append(woken, time.AfterFunc(time.Duration(9+random.IntN(4))*time.Second, func() { _ = victim.Process.Signal(syscall.SIGCONT) }))
			continue
		}
		killed++
		_ = victim.Process.Kill() // as above
		victim.until(t, nil)
		start(name)
	}
	r.goOn(t)
	for _, name := range names {
		if code := team[name].until(t, nil); code != exitOK {
			t.Errorf("exit code %d: %s", code, team[name].said())
		}
	}
	for _, timer := range woken {
		timer.Stop()
	}
	return killed, frozen
}

func (c *running) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
