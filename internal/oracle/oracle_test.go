//go:build cgo

package oracle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/routers"
)

const projectFile = "acequia.yaml"

const project = `version: 1
sources:
  shop: { %s }
sinks:
  lake: { type: lake, url: lake }
  items: { type: items }
  warehouse: { type: postgres, dsn: %q, schema: analytics }
pipelines:
  shop: { from: shop, to: [lake, items, warehouse] }
`

// Of CI: some seconds of writing. ACEQUIA_TORTURE=N runs N seeds a strategy that write for longer.
const (
	ciTransactions   = 120
	ciWrites         = 10 * time.Second
	ciHold           = 1500 * time.Millisecond
	longTransactions = 600
	longWrites       = 60 * time.Second
	longHold         = 4500 * time.Millisecond
)

// trial is one run of the writers against one strategy.
type trial struct {
	engine
	strategy
	seed     uint64
	database database
	base     string // of the warehouse
	dir      string
	load     *load
	rand     *rand.Rand

	kills, atPoints int
}

// tally sums up all trials.
type tally struct {
	mu                                             sync.Mutex
	trials, kills, atPoints, differences, naiveOff int
	transactions, aborted, prepared                int64
	began                                          time.Time
}

// TestDatabaseAndSinksAreEqual is the oracle: whatever the writers do and whenever the program dies, in the end the database, the
// items, the latest view and the warehouse hold the same.
func TestDatabaseAndSinksAreEqual(t *testing.T) {
	t.Parallel()
	seeds, first := 0, uint64(1)
	if text := os.Getenv("ACEQUIA_TORTURE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("ACEQUIA_TORTURE: %v", err)
		}
		seeds = n
	}
	if text := os.Getenv("ACEQUIA_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("ACEQUIA_SEED: %v", err)
		}
		seeds, first = 1, n
	}
	sum := &tally{began: time.Now()}
	t.Cleanup(func() {
		t.Logf("%.2f hours, %d runs, %d transactions (%d in two phases, %d rolled back), %d kills (%d at named points), %d differences; the naive poller lost %d rows",
			time.Since(sum.began).Hours(), sum.trials, sum.transactions, sum.prepared, sum.aborted, sum.kills, sum.atPoints, sum.differences, sum.naiveOff)
	})
	all := engines(t)
	for _, e := range all {
		for i := range cmp.Or(seeds, e.seeds) {
			seed := first + uint64(i)
			for _, s := range e.strategies {
				t.Run(fmt.Sprintf("%s/%s/%d", e.name, s.name, seed), func(t *testing.T) {
					t.Parallel()
					newTrial(t, e, s, seed).run(t, sum)
				})
			}
		}
	}
}

func newTrial(t *testing.T, e engine, s strategy, seed uint64) *trial {
	t.Helper()
	hold := ciHold
	if os.Getenv("ACEQUIA_TORTURE") != "" {
		hold = longHold
	}
	d, source := e.create(t, s, seed)
	r := &trial{engine: e, strategy: s, seed: seed, database: d, base: server.Database(t), dir: t.TempDir(), load: newLoad(d, seed, hold), rand: rand.New(rand.NewPCG(seed, 1<<32))}
	if err := os.WriteFile(filepath.Join(r.dir, projectFile), fmt.Appendf(nil, project, source, r.base), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *trial) run(t *testing.T, sum *tally) {
	t.Helper()
	ctx := t.Context()
	if err := r.database.lay(ctx); err != nil {
		t.Fatal(err)
	}
	if r.installed {
		r.command(t, "capture", "install", projectFile, "--strategy", r.strategy.name, "--apply")
	}
	control := &naive{}
	r.underFire(t, control)
	for range 2 {
		r.die(t, order{File: projectFile, Drain: true}, time.Duration(100+r.rand.IntN(1900))*time.Millisecond)
	}
	began := time.Now()
	r.ends(t, order{File: projectFile, Drain: true})
	drained := time.Since(began)
	if r.keyless != "" {
		r.command(t, "backfill", projectFile, "--tables", r.keyless)
	}
	differences := r.check(t)
	if r.installed {
		r.command(t, "capture", "uninstall", projectFile, "--strategy", r.strategy.name, "--apply") // a slot would keep what all others write
	}
	missing, stale, err := control.lost(ctx, r.database)
	if err != nil {
		t.Fatal(err)
	}
	if missing+stale == 0 && !r.still {
		t.Errorf("the naive poller read %d rows and lost none: the writers prove nothing", control.rows)
	}
	t.Logf("ACEQUIA_SEED=%d: %d transactions, %d in two phases, %d rolled back; %d kills, %d at points; drained in %s; the naive poller lacks %d rows and has %d old ones",
		r.seed, r.load.commits.Load(), r.load.prepared.Load(), r.load.aborts.Load(), r.kills, r.atPoints, drained.Round(time.Millisecond), missing, stale)
	sum.mu.Lock()
	defer sum.mu.Unlock()
	sum.trials, sum.kills, sum.atPoints, sum.differences = sum.trials+1, sum.kills+r.kills, sum.atPoints+r.atPoints, sum.differences+differences
	sum.naiveOff += missing + stale
	sum.transactions, sum.aborted, sum.prepared = sum.transactions+r.load.commits.Load(), sum.aborted+r.load.aborts.Load(), sum.prepared+r.load.prepared.Load()
}

// underFire lets the writers work, and the naive poller follow, while the program runs and is killed again and again.
func (r *trial) underFire(t *testing.T, control *naive) {
	t.Helper()
	transactions, writes := ciTransactions, ciWrites
	if os.Getenv("ACEQUIA_TORTURE") != "" {
		transactions, writes = longTransactions, longWrites
	}
	if r.still {
		if err := r.load.run(t.Context(), transactions, writes); err != nil {
			t.Fatal(err)
		}
		transactions = 0
	}
	following, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	var wrote, followed error
	over := make(chan struct{})
	others.Go(func() { followed = control.follow(following, r.database) })
	others.Go(func() {
		defer close(over)
		defer stop()
		wrote = r.load.run(t.Context(), transactions, writes)
	})
	points := routers.Points()
	r.rand.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	for i, writing := 0, true; writing || r.still && i < stillKills; i++ {
		o := order{File: projectFile}
		life := time.Duration(1000+r.rand.IntN(2500)) * time.Millisecond
		switch {
		case i == 0: // long enough to follow for a while, also on a busy machine
			life = firstLife
		case i%2 == 1:
			o.KillAt = fmt.Sprintf("%s:%d", points[(i/2)%len(points)], 1+r.rand.IntN(3))
			life = pointTime
		}
		r.die(t, o, life)
		select {
		case <-over:
			writing = false
		default:
		}
	}
	others.Wait()
	if err := errors.Join(wrote, followed); err != nil {
		t.Fatal(err)
	}
}

// firstLife is how long the program runs before it is killed first.
const firstLife = 6 * time.Second

// pointTime is how long a program may take to the point where it is to die; then it is killed where it is.
const pointTime = 6 * time.Second

// stillKills is how often a program is killed whose tables do not change.
const stillKills = 8

// die runs the program until it dies at the point of its order or its time is over. One that ends by itself with an error fails.
func (r *trial) die(t *testing.T, o order, life time.Duration) {
	t.Helper()
	p, err := o.start(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	switch killed := p.end(life); {
	case killed:
		r.kills++
		if o.KillAt != "" && time.Since(began) < life {
			r.atPoints++
		}
	case p.err != nil || p.code != 0:
		t.Errorf("%+v ended by itself: exit code %d, %v\n%s", o, p.code, p.err, tail(p.out.String()))
	}
}

// finalTime is how long a run that is not killed may take.
const finalTime = 4 * time.Minute

// command runs a command of the program to its end, which must be a good one.
func (r *trial) command(t *testing.T, args ...string) {
	t.Helper()
	r.ends(t, order{Command: args})
}

// ends runs the program to its end, which must be a good one.
func (r *trial) ends(t *testing.T, o order) {
	t.Helper()
	p, err := o.start(t.Context(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	if killed := p.end(finalTime); killed || p.err != nil || p.code != 0 {
		t.Fatalf("%+v: exit code %d (killed: %t, %v)\n%s", o, p.code, killed, p.err, tail(p.out.String()))
	}
}

// tail is the end of a long text.
func tail(s string) string { return s[max(0, len(s)-6000):] }

// check compares all subjects in the items, the latest view and the files. Where the strategy sees no deletes what was deleted may
// still be there, until a sweep.
func (r *trial) check(t *testing.T) (differences int) {
	t.Helper()
	if !r.deletes {
		differences += r.compareAll(t, "before the sweep", true)
		r.command(t, "sweep", projectFile)
	}
	differences += r.compareAll(t, "in the end", false)
	r.command(t, "verify", projectFile)
	return differences
}

func (r *trial) compareAll(t *testing.T, when string, ghosts bool) (differences int) {
	t.Helper()
	ctx := t.Context()
	l, err := openLake(ctx, filepath.Join(r.dir, "lake"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.db.Close() }()
	base, err := pgx.Connect(ctx, r.base)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = base.Close(context.WithoutCancel(ctx)) }()
	for _, s := range r.subjects {
		want, err := r.database.held(ctx, s)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		view, errView := l.latest(ctx, s, want.columns)
		files, errFiles := l.files(ctx, s, want.columns)
		merged, errMerged := inWarehouse(ctx, base, s, want.columns)
		got := map[string]held{"latest view": view, "files": files, "warehouse": merged}
		var errItems error
		if len(s.key) > 0 {
			got["items"], errItems = inItems(ctx, filepath.Join(r.dir, ".acequia", "items.db"), s, want.columns)
		}
		if err := errors.Join(errView, errFiles, errItems, errMerged); err != nil {
			t.Errorf("%s, %s: %v", s.name, when, err)
			differences++
			continue
		}
		if files.doubled > 0 {
			t.Errorf("%s, %s: %d rows are twice in the files", s.name, when, files.doubled)
			differences += files.doubled
		}
		for where, h := range got {
			d := compare(s, want, h)
			if ghosts {
				d.ghosts = nil
			}
			if n := d.count(); n > 0 {
				differences += n
				t.Errorf("%s, %s, of %d rows:\n%v", s.name, when, len(want.rows)+len(want.bag), d.err(where))
				if key := d.first(); len(s.key) > 0 && where == "files" {
					t.Logf("the files have of %q:\n%s", key, strings.Join(l.history(ctx, s, key), "\n"))
				}
			}
		}
	}
	return differences
}
