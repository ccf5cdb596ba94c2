// Package sourcetest is the suite that every source passes.
package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// Setter sets a column of a row that the suite makes, or gives false to leave it to the suite's own values. It may
// append one slot to the column and nothing else.
type Setter func(b *record.Builder, column, row int) bool

// Place is where a source reads: a table, a queue, a form. Each case has one of its own, empty at first.
type Place struct {
	// Source gives a fresh source over the place, as after a restart.
	Source func(ctx context.Context) (sources.Source, error)
	// Put makes the rows of a batch happen there: inserts, updates and deletes, in order, with ascending versions. A
	// source that keeps no versions leaves them aside. Put returns when the source can read the rows. heard, nil unless
	// somebody waits for each record to be safe, blocks until all of them know, and gives what each was told.
	Put func(ctx context.Context, b *record.Batch) (heard func(ctx context.Context) ([]error, error), err error)
	// Close gives the place back, after the case; it may be nil.
	Close func() error
}

// Harness says what the suite needs to know of a source. Plugin, Schema and New are required.
type Harness struct {
	Plugin sources.Plugin
	// Schema is what the records that Put makes look like.
	Schema *record.Schema
	// New makes an empty place.
	New func(ctx context.Context) (*Place, error)
	// Good sets what a column must hold for the place to take its row. Nil: it takes any value.
	Good Setter
	// Own are the columns that the source fills by itself: they are not compared.
	Own []string

	Replayable    bool // what was read and not settled can be read again, from any position given
	Bounded       bool // lanes end with io.EOF when all there is was read; otherwise they wait for more
	Network       bool // it dials: it may take longer to hear that it should stop
	InsertOnly    bool // the place knows no updates and no deletes
	Unordered     bool // records may come in another order than they were put in
	KeepsVersions bool // records carry the versions that they were put with
	Standing      bool // records are what stands at the place, and no events: they have no ids, and each read gives them its own version
	MaxText       int  // the longest text that a record may hold, in bytes; default 256 KiB

	// Unreachable gives a source whose settings hold Secret and which cannot connect, or is refused. Nil: it has no
	// secrets.
	Unreachable func(ctx context.Context) (sources.Source, error)
	Secret      string
}

// patience is how long the suite waits for what must come: a log has what all tests of its server wrote, side by side and under the race detector.
const patience = 90 * time.Second

// Run runs the suite. A random case prints its seed; ACEQUIA_SEED gives it back.
func Run(t *testing.T, h Harness) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("ACEQUIA_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("ACEQUIA_SEED: %v", err)
		}
		seed = n
	}
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := c.run(t.Context(), h, seed, patience)
			switch {
			case errors.Is(err, errNotHere):
				t.Skip(err)
			case err != nil:
				t.Errorf("%v (ACEQUIA_SEED=%d)", err, seed)
			}
		})
	}
}

// Benchmark puts rows into a place once, then reads all of them, again and again, and reports records a second.
func Benchmark(b *testing.B, h Harness, rows int) {
	b.Helper()
	const each = 1000
	place, err := h.New(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	s := &scene{h: h, place: place, rng: rand.New(rand.NewPCG(1, 1)), patience: patience}
	for n := 0; n < rows; n += each {
		if _, _, err := s.put(b.Context(), s.inserts(n, min(each, rows-n), plain)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.skim(b.Context(), rows); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
	if place.Close != nil {
		if err := place.Close(); err != nil {
			b.Error(err)
		}
	}
}

// errNotHere is given by a case that does not concern the source.
var errNotHere = errors.New("does not concern this source")

// testCase is one promise of a source. It gives what breaks the promise.
type testCase struct {
	name  string
	check func(ctx context.Context, s *scene) error
}

func cases() []testCase {
	return []testCase{
		{"the plugin describes itself", describes},
		{"lanes are stable", lanesStable},
		{"the schemas are told before the records", schemasTold},
		{"it can be checked", checked},
		{"every record comes once, in order", everyRecordOnce},
		{"values survive", valuesSurvive},
		{"big values survive", bigValues},
		{"updates and deletes are carried", updatesAndDeletes},
		{"versions grow with each change of a key", versionsGrow},
		{"system data is filled", systemFilled},
		{"what was read stays as it was", batchesStay},
		{"positions move", positionsMove},
		{"reading resumes after a settled position", resumes},
		{"what was not settled comes again", comesAgain},
		{"what was refused comes again", refusedComesAgain},
		{"a foreign position is refused", foreignPosition},
		{"settling before the first read changes nothing", settlesFirst},
		{"settling answers who waits", answers},
		{"a read waits for records", waits},
		{"an ended context ends a read", contextEnds},
		{"an ended read loses nothing", endedReadLosesNothing},
		{"closing ends a read", closeEnds},
		{"a lane that has ended stays ended", staysEnded},
		{"an empty place is no error", emptyPlace},
		{"lanes are read side by side", sideBySide},
		{"the lag is told", lagTold},
		{"nothing is left running", nothingRuns},
		{"no error tells a secret", secretsKept},
	}
}

// run gives the case a place of its own.
func (c testCase) run(ctx context.Context, h Harness, seed uint64, patience time.Duration) (err error) {
	place, err := h.New(ctx)
	if err != nil {
		return fmt.Errorf("make a place: %w", err)
	}
	s := &scene{h: h, place: place, rng: rand.New(rand.NewPCG(seed, seed)), patience: patience}
	err = c.check(ctx, s)
	if place.Close != nil {
		if closed := place.Close(); closed != nil {
			err = errors.Join(err, fmt.Errorf("close the place: %w", closed))
		}
	}
	return err
}

// scene is what a case plays with.
type scene struct {
	h        Harness
	place    *Place
	rng      *rand.Rand
	patience time.Duration // how long what must come may take
}

// soon is how long a source may take to hear that it should stop.
func (s *scene) soon() time.Duration {
	if s.h.Network {
		return 5 * time.Second
	}
	return time.Second
}

var errLate = errors.New("not done")

// within fails when do takes longer than limit. do goes on by itself then.
func within(limit time.Duration, what string, do func() error) error {
	done := make(chan error, 1)
	go func() { done <- do() }()
	late, stop := after(limit)
	defer stop()
	select {
	case err := <-done:
		return err
	case <-late:
		return fmt.Errorf("%s: %w after %v", what, errLate, limit)
	}
}

// step is how finely the suite measures time.
const step = 10 * time.Millisecond

// after closes a channel when limit has passed, as this process lives it: a ticker drops the ticks of the time in which
// a busy machine let others run, so that only the source is late and never the machine.
func after(limit time.Duration) (late <-chan struct{}, stop func()) {
	passed, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		ticks := time.NewTicker(step)
		defer ticks.Stop()
		for range limit / step {
			select {
			case <-ticks.C:
			case <-stopped:
				return
			}
		}
		close(passed)
	}()
	return passed, sync.OnceFunc(func() { close(stopped) })
}

// withLimit ends a context when limit has passed.
func withLimit(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	late, stop := after(limit)
	go func() {
		select {
		case <-late:
			cancel()
		case <-ctx.Done():
		}
		stop()
	}()
	return ctx, cancel
}
