package routers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/dynamolog/dynamologtest"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/sources"
)

// What teams read in tests.
const (
	teamLanes  = 12
	teamChunks = 40
)

var testTeams atomic.Int64

// openTestTeam takes part in a team that is faster than usual.
func openTestTeam(store *checkpoint.Store) *Team {
	return openTeamOn(store.Leases(fmt.Sprintf("process-%d-%d", os.Getpid(), testTeams.Add(1))))
}

func openTeamOn(l Leases) *Team {
	owner := ""
	switch l := l.(type) {
	case *checkpoint.Leases:
		owner = l.Owner()
	case *frozen:
		owner = l.Owner()
	case *late:
		owner = l.Owner()
	}
	return OpenTeam(context.Background(), TeamOptions{
		Leases: l, Owner: owner, Log: slog.New(slog.DiscardHandler), Every: 50 * time.Millisecond, Expire: time.Second,
	})
}

// frozen are leases that are neither renewed nor looked at while it is so.
type frozen struct {
	*checkpoint.Leases
	still atomic.Bool
}

var errFrozen = errors.New("the process stands still")

func (f *frozen) Look(ctx context.Context) ([]checkpoint.Lease, error) {
	if f.still.Load() {
		return nil, errFrozen
	}
	return f.Leases.Look(ctx)
}

// late are leases that a server gives after whoever asked has gone: a commit that is under way when its client leaves is not undone.
type late struct {
	*checkpoint.Leases
	given sync.WaitGroup
	began chan struct{}
}

func (l *late) Take(ctx context.Context, key string, seen *checkpoint.Lease) (mine bool, err error) {
	done := make(chan struct{})
	l.given.Go(func() {
		defer close(done)
		wait(context.Background(), 100*time.Millisecond, nil)
		mine, err = l.Leases.Take(context.WithoutCancel(ctx), key, seen)
	})
	l.began <- struct{}{}
	select {
	case <-done:
		return mine, err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// A lease that is being taken while the team ends is given up, too.
func TestTeamEndsWhileTaking(t *testing.T) {
	t.Parallel()
	store, err := checkpoint.OpenPostgres(t.Context(), server.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	leases := &late{Leases: store.Leases("late"), began: make(chan struct{}, 1)}
	team := openTeamOn(leases)
	team.join(&party{member: memberKey("late", "late"), shares: func() []share { return nil }})
	<-leases.began
	team.Close(t.Context())
	leases.given.Wait()
	left, err := store.Held(t.Context())
	if err := errors.Join(err, store.Close()); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// following are lanes that never end by themselves.
type following struct{ *generator }

func (f following) Lanes(ctx context.Context) ([]sources.Lane, error) {
	lanes, err := f.generator.Lanes(ctx)
	for i := range lanes {
		lanes[i].Endless = true
	}
	return lanes, err
}

// mate is a member of a team, in this process.
type mate struct {
	t      *testing.T
	store  *checkpoint.Store
	leases *frozen
	team   *Team
	run    *Run
	ended  chan error
}

func startMate(t *testing.T, dsn, out string, source sources.Source) *mate {
	t.Helper()
	m := &mate{t: t, ended: make(chan error, 1)}
	var err error
	if m.store, err = checkpoint.OpenPostgres(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	m.leases = &frozen{Leases: m.store.Leases(fmt.Sprintf("mate-%d", testTeams.Add(1)))}
	m.team = openTeamOn(m.leases)
	m.run, err = New(Pipeline{
		Name: "crash", Source: source, Sinks: []NamedSink{{"out", newFolder(out)}}, Refresh: 200 * time.Millisecond, Slots: 3,
		Limits: Limits{Age: 20 * time.Millisecond}, Retry: Retry{Initial: time.Millisecond, Longest: 5 * time.Millisecond},
	}, Options{Store: m.store, Log: slog.New(slog.DiscardHandler), Team: m.team})
	if err != nil {
		t.Fatal(err)
	}
	go func() { m.ended <- m.run.Run(context.Background()) }()
	return m
}

// reads counts the lanes that it reads.
func (m *mate) reads() (n int) {
	for _, l := range m.run.Status().Lanes {
		if l.State == Running {
			n++
		}
	}
	return n
}

// lanesAfter gives the epochs of the leases of lanes when this process has renewed its own so many times.
func (m *mate) lanesAfter(renewals int64) map[string]int64 {
	m.t.Helper()
	first, lanes := int64(-1), map[string]int64{}
	waitFor(m.t, fmt.Sprintf("%d renewals", renewals), func() bool {
		held, err := m.store.Held(m.t.Context())
		if err != nil {
			m.t.Fatal(err)
		}
		clear(lanes)
		now := int64(0)
		for _, l := range held {
			if _, ok := checkpoint.LeasedLane(l.Key); ok {
				lanes[l.Key] = l.Epoch
			} else if l.Owner == m.team.Owner {
				now = l.Counter
			}
		}
		if first < 0 {
			first = now
		}
		return now >= first+renewals
	})
	return lanes
}

func (m *mate) stop() {
	m.t.Helper()
	m.run.Stop()
	err := <-m.ended
	m.team.Close(context.Background())
	if err := errors.Join(err, m.store.Close()); err != nil {
		m.t.Error(err)
	}
}

// waitFor waits until something is so; the deadline is far beyond what it takes.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	began := time.Now()
	for !so() {
		if time.Since(began) > time.Minute {
			t.Fatal("never: " + what)
		}
		wait(t.Context(), 5*time.Millisecond, nil)
	}
	t.Logf("%s after %s", what, time.Since(began).Round(time.Millisecond))
}

func TestTeamIsBalanced(t *testing.T) {
	t.Parallel()
	dsn, out := server.Database(t), t.TempDir()
	source := following{&generator{lanes: teamLanes, chunks: 20_000, rows: 1, pace: 10 * time.Millisecond}}
	shares := func(want []int, of ...*mate) func() bool {
		return func() bool {
			var have []int
			for _, m := range of {
				have = append(have, m.reads())
			}
			slices.Sort(have)
			return slices.Equal(have, want)
		}
	}
	a := startMate(t, dsn, out, source)
	waitFor(t, "one reads all", shares([]int{12}, a))
	b := startMate(t, dsn, out, source)
	waitFor(t, "two read the same", shares([]int{6, 6}, a, b))
	c := startMate(t, dsn, out, source)
	d := startMate(t, dsn, out, source)
	e := startMate(t, dsn, out, source)
	waitFor(t, "five read two or three", shares([]int{2, 2, 2, 3, 3}, a, b, c, d, e))
	before := a.lanesAfter(0)
	waitFor(t, "lanes stay with processes that have the same", func() bool {
		last := before
		before = a.lanesAfter(20)
		return maps.Equal(last, before)
	})
	held, err := a.store.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range a.run.Status().Lanes { // who looks sees who has what
		i := slices.IndexFunc(held, func(h checkpoint.Lease) bool {
			return h.Key == checkpoint.LaneLease(checkpoint.Lane{Pipeline: "crash", ID: l.ID})
		})
		if i < 0 || l.State == Elsewhere && l.Holder != held[i].Owner || l.State == Running && held[i].Owner != a.team.Owner {
			t.Errorf("lane %s is %s by %q: %+v", l.ID, l.State, l.Holder, held)
		}
	}
	c.stop()
	d.stop()
	if left, err := a.store.Held(t.Context()); err != nil || slices.ContainsFunc(left, func(l checkpoint.Lease) bool { return l.Owner == c.team.Owner }) {
		t.Errorf("a process that has stopped has leases: %+v, %v", left, err)
	}
	waitFor(t, "three read four", shares([]int{4, 4, 4}, a, b, e))
	e.leases.still.Store(true)
	waitFor(t, "what stands still is taken over", shares([]int{0, 6, 6}, a, b, e))
	e.leases.still.Store(false)
	waitFor(t, "it is back", shares([]int{4, 4, 4}, a, b, e))
	for _, m := range []*mate{a, b, e} {
		m.stop()
	}
	if found, err := verify(out, source.generator); err != nil || found.doubled > 0 || len(found.wrong) > 0 {
		t.Errorf("%d doubled, %v, %v", found.doubled, found.wrong, err)
	}
}

// queues are lanes of which each process reads one of its own.
type queues struct{ *generator }

func (q queues) Lanes(ctx context.Context) ([]sources.Lane, error) {
	lanes, err := q.generator.Lanes(ctx)
	for i := range lanes {
		lanes[i].Each = true
	}
	return lanes, err
}

func TestTeamSharesQueues(t *testing.T) {
	t.Parallel()
	dsn, out := server.Database(t), t.TempDir()
	source := queues{&generator{lanes: 1, chunks: 1000, rows: 1, pace: 10 * time.Millisecond}}
	a := startMate(t, dsn, out, source)
	b := startMate(t, dsn, out, source)
	waitFor(t, "each reads the queue", func() bool { return a.reads() == 1 && b.reads() == 1 })
	states, err := a.store.Lanes(t.Context(), "crash")
	if err != nil || len(states) != 2 || states[0].ID != "0~0" || states[1].ID != "0~1" {
		t.Errorf("%+v, %v", states, err)
	}
	a.stop()
	b.stop()
}

// A team whose processes are killed and frozen at random loses nothing and gives nothing twice.
func TestTeamUnderFire(t *testing.T) {
	t.Parallel()
	random := seeded(t)
	for i := range torture(t, 2) {
		without := "" // its source forgets what was settled: a lost row is seen
		if i%2 == 1 {
			without = "forgetting" // a doubled one is
		}
		underFire(t, random, order{dsn: server.Database(t), pace: 10 * time.Millisecond, without: without})
	}
}

func teamWorld() *generator {
	g := crashWorld()
	g.lanes, g.chunks = teamLanes, teamChunks
	return g
}

func underFire(t *testing.T, random *rand.Rand, o order) {
	t.Helper()
	dir := crashDir(t)
	const size = 4
	var all sync.WaitGroup
	var kills, freezes atomic.Int64
	var mu sync.Mutex
	alive := map[*exec.Cmd]bool{}
	over := make(chan struct{})
	for range size {
		all.Go(func() {
			for {
				c := command(t.Context(), dir, o)
				if err := c.Start(); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				alive[c] = true
				mu.Unlock()
				killed, message := outcome(c, c.Wait())
				mu.Lock()
				delete(alive, c)
				mu.Unlock()
				if message != "" && !strings.Contains(message, checkpoint.ErrFenced.Error()) {
					t.Error(message)
				}
				if !killed {
					return
				}
			}
		})
	}
	go func() { all.Wait(); close(over) }()
	for wait(t.Context(), time.Duration(100+random.IntN(200))*time.Millisecond, over) {
		mu.Lock()
		var some []*exec.Cmd
		for c := range alive {
			some = append(some, c)
		}
		if len(some) > 0 && kills.Load()+freezes.Load() < 16 {
			c := some[random.IntN(len(some))]
			if random.IntN(2) == 0 {
				kills.Add(1)
				_ = c.Process.Kill()
			} else { // for longer than a lease lasts, or not
				freezes.Add(1)
				_ = c.Process.Signal(syscall.SIGSTOP)
				time.AfterFunc(time.Duration(300+random.IntN(2000))*time.Millisecond, func() { _ = c.Process.Signal(syscall.SIGCONT) })
			}
		}
		mu.Unlock()
	}
	<-over
	found, err := verify(filepath.Join(dir, "out"), teamWorld())
	if err != nil || !found.ok() { // staged files may be left: a zombie can stage after the sweep
		t.Errorf("%+v %v", found, err)
	}
	t.Logf("%d kills, %d freezes, %d rows", kills.Load(), freezes.Load(), found.rows)
}

// A process that was frozen past its lease cannot write any more; without the fence it does harm.
func TestTeamFencesZombies(t *testing.T) {
	t.Parallel()
	points := []string{"before-intent", "before-publish", "after-stage", "before-checkpoint"}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			zombieOfTeam(t, order{at: point + ":2", stop: true, dsn: server.Database(t)})
		})
	}
	t.Run("dynamodb", func(t *testing.T) {
		t.Parallel()
		moto, err := awstest.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := moto.Close(); err != nil {
				t.Error(err)
			}
		})
		at := moto.InOrder(t)
		for _, point := range []string{"before-publish", "before-checkpoint"} {
			t.Run(point, func(t *testing.T) {
				t.Parallel()
				zombieOfTeam(t, order{at: point + ":2", stop: true, dsn: "dynamodb " + at.Endpoint + " " + dynamologtest.Table(t, at)})
			})
		}
	})
	t.Run("without", func(t *testing.T) {
		t.Parallel()
		for _, point := range points {
			if found := zombieOfTeam(t, order{at: point + ":2", stop: true, without: "epoch", dsn: server.Database(t)}); !found.ok() {
				t.Logf("%s: %d lost, %d doubled, %d wrong", point, found.lost, found.doubled, len(found.wrong))
				return
			}
		}
		t.Error("no damage was found: the test is blind, or the protection is not needed")
	})
}

// zombieOfTeam freezes a process, lets another take over and finish, and lets the first go on.
func zombieOfTeam(t *testing.T, o order) findings {
	t.Helper()
	dir := crashDir(t)
	old := command(t.Context(), dir, o)
	if err := old.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntilStopped(t, old.Process.Pid)
	_, next := runChild(t, dir, order{without: o.without, dsn: o.dsn})
	_ = old.Process.Signal(syscall.SIGCONT)
	_, woken := outcome(old, old.Wait())
	found, err := verify(filepath.Join(dir, "out"), teamWorld())
	if o.without == "" && (next != "" || woken != "" || err != nil || !found.ok()) {
		t.Errorf("%+v: %s %s %+v %v", o, next, woken, found, err)
	}
	return found
}

// A state that is away for longer than leases last makes nobody look dead: each goes on with what it had, and nothing is lost.
func TestTeamWithoutItsState(t *testing.T) {
	t.Parallel()
	away, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := away.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn, out := away.Database(t), t.TempDir()
	source := following{&generator{lanes: teamLanes, chunks: 20_000, rows: 1, pace: 10 * time.Millisecond}}
	a := startMate(t, dsn, out, source)
	b := startMate(t, dsn, out, source)
	shared := func() bool { return a.reads() == 6 && b.reads() == 6 }
	waitFor(t, "both read", shared)
	if err := away.Stop(syscall.SIGQUIT); err != nil { // as a crash
		t.Fatal(err)
	}
	wait(t.Context(), 1500*time.Millisecond, nil)
	if err := away.Run(); err != nil {
		t.Fatal(err)
	}
	before := a.run.Status().RowsCommitted
	waitFor(t, "both read again", func() bool { return shared() && a.run.Status().RowsCommitted > before })
	a.stop()
	b.stop()
	if found, err := verify(out, source.generator); err != nil || found.doubled > 0 || len(found.wrong) > 0 {
		t.Errorf("%d doubled, %v, %v", found.doubled, found.wrong, err)
	}
}
