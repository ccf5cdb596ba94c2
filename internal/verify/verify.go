// Package verify proves that a sink holds what its source does: it reads both sides, hashes a canonical encoding of every row,
// and compares count, xor and sum of the hashes of each range of keys. Rows of ranges that differ are compared one by one, and
// looked at again until they are equal or the time for that is over, so that changes under way are no differences.
//
// The source's rows pass the steps of the pipeline first. The sink's are decoded back from what it has stored.
package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	warehousesink "github.com/acequia-io/acequia/sinks/postgres"
	"github.com/acequia-io/acequia/sources"
)

// The codes of what keeps a comparison from being made.
const (
	codeSteps = "ACQ-VERIFY-001"
	codeLake  = "ACQ-VERIFY-002"
	codeGone  = "ACQ-VERIFY-003"
)

// Stream is a stream of a pipeline, with the sinks in which it is looked for.
type Stream struct {
	Pipeline string
	Tables   sources.Tables
	Stream   sources.Stream
	Steps    []routers.Step
	Sinks    []Sink
}

// Sink is where a stream should be: a table of a lake, of a store of items, or of a warehouse.
type Sink struct {
	Name      string
	Table     string
	Lake      blob.Files            // nil: the sink is none
	Items     Items                 // nil: it is no store of items
	Warehouse *warehousesink.Config // nil: it is no warehouse
	// Refuses names the rows that the sink would refuse; nil: none.
	Refuses func(b *record.Batch) error
}

// Options of a comparison.
type Options struct {
	Settle   time.Duration // how long rows that differ are looked at again, from when the table was first read; 0: once
	Show     int           // differences that are told in full, a table
	KeysOnly bool          // only which keys there are
	// Differ is given the keys of a sink that differ in the end, some at a time: records of the stream's key alone. May be nil.
	Differ func(ctx context.Context, sink string, keys *record.Batch) error
	// Read is told of rows that were read on either side, as they come, from several goroutines. May be nil.
	Read func(rows int)
	// Wait is told what differs in a sink as yet, and how long it will be looked at again. May be nil.
	Wait func(stream, sink string, rows int, until time.Time)

	copies int   // keys of a lake with several copies that are held at a time; default mostRepeated
	group  int64 // rows that are compared one by one at a time; default rowsOfGroup
	gather int   // bytes of rows of items that are gathered before the disk is needed; default gatherMemory
}

// side is what a sink holds of a stream.
type side interface {
	// sum hands over the hashes of all rows, from several workers at a time; or, if it can, of those of some ranges alone.
	sum(ctx context.Context, wanted map[int32]bool, each func(worker int, h *hashed) error) error
	// look sets what the sink holds of the open suspects; first says that it was not asked about them before.
	look(ctx context.Context, of *suspects, first bool) error
}

// comparison is of one stream.
type comparison struct {
	Options
	source *source
	sinks  []Sink
	sides  []side
	tables []Table
	until  time.Time // see Options.Settle
}

// Compare compares a stream with what its sinks hold.
func Compare(ctx context.Context, s Stream, o Options) (_ []Table, err error) {
	if o.Read == nil {
		o.Read = func(int) {}
	}
	if o.Wait == nil {
		o.Wait = func(string, string, int, time.Time) {}
	}
	out, err := Outcome(s.Steps, s.Stream.Schema)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	c := &comparison{Options: o, sinks: s.Sinks}
	names := make([]string, len(s.Sinks))
	for i := range s.Sinks {
		names[i] = s.Sinks[i].Name
	}
	if c.source, err = newSource(ctx, s.Tables, s.Stream, out, s.Steps, names); err != nil {
		return nil, err
	}
	c.source.keysOnly = o.KeysOnly
	for _, sink := range s.Sinks {
		side, leftOut, err := c.open(ctx, sink, out)
		if err != nil {
			return nil, err
		}
		switch side := side.(type) {
		case *warehouse:
			defer func() { err = errors.Join(err, side.close(context.WithoutCancel(ctx))) }()
		case *items:
			defer func() { err = errors.Join(err, side.close()) }()
		}
		c.sides = append(c.sides, side)
		c.tables = append(c.tables, Table{
			Pipeline: s.Pipeline, Stream: s.Stream.Schema.Stream, Sink: sink.Name, Table: sink.Table, Ranges: c.source.ranges.n,
			LeftOut: leftOut, Keyless: len(out.Key) == 0,
		})
	}
	source, held, err := c.sums(ctx)
	if err != nil {
		return nil, err
	}
	c.until = time.Now().Add(o.Settle)
	for i := range c.tables {
		if err := c.table(ctx, i, source[i], held[i]); err != nil {
			return nil, err
		}
		c.tables[i].sort()
		c.tables[i].Seconds = time.Since(began).Seconds()
	}
	return c.tables, nil
}

// Outcome gives the schema of what comes out of the steps, or says why a comparison cannot tell that.
func Outcome(steps []routers.Step, in *record.Schema) (*record.Schema, error) {
	for _, step := range steps {
		stop := func(reason string) error {
			return &fault.Error{
				Class: fault.Fatal, Code: codeSteps, Place: "step " + step.Name, Err: errors.New(reason),
				Remedy: "what this pipeline writes can only be counted: compare it with acequia query",
			}
		}
		if _, ok := step.Handler.(handlers.Stateful); ok {
			return nil, stop("it goes by records that came before, so the table alone does not tell what the sinks should hold")
		}
		shaper, ok := step.Handler.(handlers.Shaper)
		if !ok {
			return nil, stop("it does not tell which columns it makes (handlers.Shaper)")
		}
		out, err := shaper.Shape(in)
		switch {
		case err != nil:
			return nil, fmt.Errorf("step %s: %w", step.Name, err)
		case out == nil:
			return nil, stop("it does not tell which columns it makes of " + in.Stream)
		}
		in = out
	}
	return in, nil
}

// open finds what a sink holds.
func (c *comparison) open(ctx context.Context, s Sink, out *record.Schema) (side, []string, error) {
	if s.Warehouse != nil {
		held, err := newWarehouse(ctx, s.Warehouse, out, c.source.ranges)
		if err != nil {
			return nil, nil, err
		}
		held.keysOnly = c.KeysOnly
		return held, held.leftOut(), nil
	}
	if s.Items != nil {
		held, err := newItems(s.Items, s.Table, out, c.source.ranges, c.KeysOnly)
		return held, nil, err
	}
	held, err := newLake(ctx, s.Lake, s.Table, out, c.source.ranges)
	if err != nil {
		return nil, nil, err
	}
	held.keysOnly, held.most = c.KeysOnly, cmp.Or(c.copies, mostRepeated)
	return held, held.leftOut, nil
}

// sums reads both sides, at the same time, and gives the sums of each sink's ranges.
func (c *comparison) sums(ctx context.Context) (source, held [][]sum, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var reading sync.WaitGroup
	reading.Go(func() {
		var err error
		if source, err = c.sourceSums(ctx); err != nil {
			cancel(err)
		}
	})
	held = make([][]sum, len(c.sides))
	for i := range c.sides {
		var failed error
		if held[i], failed = c.sideSums(ctx, i); failed != nil {
			cancel(failed)
			break
		}
	}
	reading.Wait()
	return source, held, context.Cause(ctx)
}

func (c *comparison) sourceSums(ctx context.Context) ([][]sum, error) {
	var of [workers][][]sum
	for w := range of {
		of[w] = make([][]sum, len(c.sinks))
		for i := range of[w] {
			of[w][i] = make([]sum, c.source.ranges.n)
		}
	}
	err := c.source.scan(ctx, nil, func(worker int, g *given) error {
		if g.sink == 0 {
			c.Read(len(g.rows))
		}
		g.addTo(of[worker][g.sink])
		return nil
	})
	for _, other := range of[1:] {
		for i := range other {
			for r, s := range other[i] {
				of[0][i][r].merge(s)
			}
		}
	}
	return of[0], err
}

func (c *comparison) sideSums(ctx context.Context, i int) ([]sum, error) {
	var of [workers][]sum
	for w := range of {
		of[w] = make([]sum, c.source.ranges.n)
	}
	err := c.sides[i].sum(ctx, nil, func(worker int, h *hashed) error {
		c.Read(len(h.rows))
		h.addTo(of[worker])
		return nil
	})
	for _, other := range of[1:] {
		for r, s := range other {
			of[0][r].merge(s)
		}
	}
	return of[0], err
}

func (h *hashed) addTo(sums []sum) {
	for row, v := range h.rows {
		sums[h.ranges[row]].add(v)
	}
}

// rowsOfGroup is how many rows of ranges that differ are compared at a time, on each side.
const rowsOfGroup = 250_000

// table compares the sums of one sink, and then the rows of the ranges that differ.
func (c *comparison) table(ctx context.Context, i int, source, held []sum) error {
	t := &c.tables[i]
	t.Digest, t.SinkDigest, t.Refused = digest(source), digest(held), c.source.refused.Load()
	differing := map[int32]bool{}
	for r := range source {
		t.Rows, t.SinkRows = t.Rows+source[r].Count, t.SinkRows+held[r].Count
		if source[r] != held[r] {
			differing[int32(r)] = true
		}
	}
	if t.Differing = len(differing); t.Differing == 0 {
		return nil
	}
	if t.Keyless {
		return c.multiset(ctx, i, source)
	}
	if s, ok := c.sides[i].(*items); ok {
		if err := s.gather(ctx, differing, cmp.Or(c.gather, gatherMemory)); err != nil {
			return err
		}
	}
	group := map[int32]bool{}
	var rows int64
	for _, r := range slices.Sorted(maps.Keys(differing)) {
		if more := max(source[r].Count, held[r].Count); rows+more > cmp.Or(c.Options.group, rowsOfGroup) && len(group) > 0 {
			if err := c.group(ctx, i, group); err != nil {
				return err
			}
			group, rows = map[int32]bool{}, 0
		}
		group[r] = true
		rows += max(source[r].Count, held[r].Count)
	}
	return c.group(ctx, i, group)
}

// multiset compares rows without a key: all that can be said is how many there are, and that they are not the same.
func (c *comparison) multiset(ctx context.Context, i int, source []sum) error {
	until := c.settleUntil()
	for n := 1; ; n++ {
		c.Wait(c.source.schema.Stream, c.tables[i].Sink, int(source[0].Count), until)
		if err := c.wait(ctx, n, until); err != nil {
			return err
		}
		again, err := c.sourceSums(ctx)
		if err != nil {
			return err
		}
		before := source[0]
		source = again[i]
		held, err := c.sideSums(ctx, i)
		if err != nil {
			return err
		}
		t := &c.tables[i]
		t.Rows, t.SinkRows, t.Digest, t.SinkDigest = source[0].Count, held[0].Count, digest(source), digest(held)
		if held[0] == source[0] || held[0] == before {
			return nil
		}
		if time.Now().Before(until) {
			continue
		}
		switch {
		case t.Rows > t.SinkRows:
			t.Missing = t.Rows - t.SinkRows
		case t.Rows < t.SinkRows:
			t.Extra = t.SinkRows - t.Rows
		default:
			t.Different = 1 // at least
		}
		return nil
	}
}

// pause is how long it is waited between two looks at first, and mostPause after some.
const (
	pause     = 500 * time.Millisecond
	mostPause = 5 * time.Second
)

// leastSettle is what rows have at least that are looked at late, of Settle.
const leastSettle = 5 * time.Second

// settleUntil is until when rows are looked at again. All of a table have been there since it was first read.
func (c *comparison) settleUntil() time.Time {
	if least := time.Now().Add(min(c.Settle, leastSettle)); least.After(c.until) {
		return least
	}
	return c.until
}

// wait waits for the time between two looks, but not beyond the end.
func (c *comparison) wait(ctx context.Context, n int, until time.Time) error {
	timer := time.NewTimer(min(pause*time.Duration(n), mostPause, max(0, time.Until(until))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// group compares the rows of some ranges.
func (c *comparison) group(ctx context.Context, i int, wanted map[int32]bool) error {
	of, err := c.suspects(ctx, i, wanted)
	if err != nil {
		return err
	}
	found := len(of.open)
	if err := c.settle(ctx, i, of); err != nil {
		return err
	}
	t := &c.tables[i]
	open := len(of.open)
	t.Settled += int64(found - open)
	of.open = slices.DeleteFunc(of.open, func(i int32) bool { return of.refused[i] }) // they are dead letters
	t.Refused += int64(open - len(of.open))
	t.count(of, c.source.names, c.Show)
	if c.Differ == nil || len(of.open) == 0 {
		return nil
	}
	if c.source.changed.Load() {
		return &fault.Error{
			Class: fault.Fatal, Code: codeSteps, Place: t.Stream, Err: errors.New("a step changes the key, so which records are to be read again cannot be told"),
			Remedy: "read the whole table again: acequia sync",
		}
	}
	schema, err := keySchema(c.source.schema)
	if err != nil {
		return err
	}
	keys := of.batch(schema, of.open)
	t.Repaired += int64(keys.Rows)
	return c.Differ(ctx, c.sinks[i].Name, keys)
}

// suspects reads the rows of some ranges on both sides, and finds those that are not equal.
func (c *comparison) suspects(ctx context.Context, i int, wanted map[int32]bool) (*suspects, error) {
	var mu sync.Mutex
	source, held := map[uint64]uint64{}, map[uint64]uint64{}
	into := func(h *hashed, out map[uint64]uint64) {
		mu.Lock()
		defer mu.Unlock()
		for row, rng := range h.ranges {
			if wanted[rng] {
				out[h.keys[row]] = h.rows[row]
			}
		}
	}
	if err := c.source.scan(ctx, wanted, func(_ int, g *given) error {
		if g.sink == i {
			into(g.hashed, source)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	if err := c.sides[i].sum(ctx, wanted, func(_ int, h *hashed) error { into(h, held); return nil }); err != nil {
		return nil, err
	}
	return findSuspects(c.source.key, wanted, source, held, mostShown), nil
}

// settle looks at suspects until they are equal or the time is over.
func (c *comparison) settle(ctx context.Context, i int, of *suspects) error {
	until := c.settleUntil()
	for n := 0; len(of.open) > 0; n++ {
		first := n == 0
		if !first {
			c.Wait(c.source.schema.Stream, c.tables[i].Sink, len(of.open), until)
			if err := c.wait(ctx, n, until); err != nil {
				return err
			}
		}
		copy(of.before, of.source)
		if err := c.source.look(ctx, i, of, first, c.sinks[i].Refuses); err != nil {
			return err
		}
		if first {
			copy(of.before, of.source)
		}
		if err := c.sides[i].look(ctx, of, first); err != nil {
			return err
		}
		of.sift()
		if !time.Now().Before(until) {
			return nil
		}
	}
	return nil
}
