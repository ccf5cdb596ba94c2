package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// source is a stream as the sinks of a pipeline should hold it: its records as they are now, taken through the steps.
type source struct {
	tables sources.Tables
	schema *record.Schema // of the stream
	out    *record.Schema // of what comes out of the steps
	steps  []routers.Step
	sinks  []string
	key    []record.Field // of what comes out, in key order
	names  []string       // of the key
	parts  []sources.KeyRange
	ranges *ranges

	keysOnly bool

	refused atomic.Int64 // by a step, in one scan
	strayed atomic.Bool  // a record came out in another range than that of the part it was read from
	changed atomic.Bool  // a record came out with another key
}

// newSource divides a stream into what is read at a time.
func newSource(ctx context.Context, tables sources.Tables, stream sources.Stream, out *record.Schema, steps []routers.Step, sinks []string) (*source, error) {
	s := &source{tables: tables, schema: stream.Schema, out: out, steps: steps, sinks: sinks}
	for _, k := range out.Key {
		s.key, s.names = append(s.key, out.Fields[k]), append(s.names, out.Fields[k].Name)
	}
	var err error
	if s.parts, err = tables.Split(ctx, stream.Schema.Stream, rowsOfRange); err != nil {
		return nil, fmt.Errorf("divide %s: %w", stream.Schema.Stream, err)
	}
	if len(s.parts) == 0 {
		s.parts = []sources.KeyRange{{}}
	}
	s.ranges = newRanges(s.key, s.parts, stream.Rows)
	s.changed.Store(!s.sameKey())
	return s, nil
}

// sameKey says whether what comes out can have the key that was read.
func (s *source) sameKey() bool {
	if len(s.schema.Key) != len(s.key) {
		return false
	}
	for i, k := range s.schema.Key {
		if f := s.schema.Fields[k]; f.Kind != s.key[i].Kind || f.Wide() != s.key[i].Wide() {
			return false
		}
	}
	return true
}

// workers is how many parts are read at a time.
const workers = 2

// parallel calls do for 0 to n-1, on as many goroutines as there are workers, until one fails.
func parallel(ctx context.Context, n int, do func(ctx context.Context, worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for worker := range min(n, workers) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, worker, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// passing is one worker's way of a batch through the steps to the hashes of its rows.
type passing struct {
	*source
	shapes map[*record.Schema]shape
	read   hashed // of the records as they were read
	out    hashed
	index  []uint32
	part   int32 // the range that is read; -1: any
}

// shape is what is known of the columns of a schema.
type shape struct {
	names []string
	seeds []uint64
	key   []int
}

func (p *passing) shape(s *record.Schema, key []string) (shape, error) {
	if known, ok := p.shapes[s]; ok {
		return known, nil
	}
	var out shape
	for _, f := range s.Fields {
		out.names, out.seeds = append(out.names, f.Name), append(out.seeds, seedOf(f.Name, f.Kind))
	}
	for _, name := range key {
		i := s.Index(name)
		if i < 0 {
			return out, fmt.Errorf("stream %s: records came out without the key column %s", s.Stream, name)
		}
		out.key = append(out.key, i)
	}
	if p.shapes == nil {
		p.shapes = map[*record.Schema]shape{}
	}
	p.shapes[s] = out
	return out, nil
}

// given is what a sink should hold: rows of a batch with their hashes. It is the callee's during the call.
type given struct {
	*hashed
	sink  int
	batch *record.Batch
	shape shape
}

// columns gives the key's columns.
func (g *given) key() []record.Column {
	out := make([]record.Column, len(g.shape.key))
	for i, k := range g.shape.key {
		out[i] = g.batch.Columns[k]
	}
	return out
}

// pass takes a batch through the steps, and hands over what each sink should hold of it.
func (p *passing) pass(ctx context.Context, b *record.Batch, each func(*given) error) error {
	in := b
	if len(p.steps) > 0 {
		in = p.number(b)
		defer in.Release()
		if !p.changed.Load() {
			p.read.size(b.Rows)
			for i, k := range b.Schema.Key {
				addColumn(p.read.keys, &b.Schema.Fields[k], &b.Columns[k], keySeed(i, b.Schema.Fields[k].Kind))
			}
			finish(p.read.keys)
		}
	}
	refused, err := routers.Through(ctx, p.steps, in, func(out *record.Batch) error { return p.hand(out, each) })
	p.refused.Add(int64(refused))
	return err
}

// number gives the records versions that tell which is which: steps keep them.
func (p *passing) number(b *record.Batch) *record.Batch {
	for n := len(p.index); n < b.Rows; n++ {
		p.index = append(p.index, uint32(n)) //nolint:gosec // rows of a batch
	}
	in := b.With(b.Schema, b.Columns)
	in.System.Versions = record.Versions{Index: p.index[:b.Rows]}
	return in
}

// hand hashes what came out, once for all sinks that get the same rows.
func (p *passing) hand(out *record.Batch, each func(*given) error) error {
	out = alive(out)
	defer out.Release()
	shape, err := p.shape(out.Schema, p.names)
	if err != nil {
		return err
	}
	var last *record.Batch
	for i, sink := range p.sinks {
		own := out.For(sink)
		if own == nil {
			continue
		}
		if own != last {
			p.hash(own, &shape)
			last = own
		}
		err := each(&given{&p.out, i, own, shape})
		own.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// alive gives the records that a sink holds afterwards, with a reference for the caller.
func alive(b *record.Batch) *record.Batch {
	gone := func(op record.Op) bool { return op == record.Delete || op == record.Truncate }
	if !slices.ContainsFunc(b.System.Ops, gone) {
		return b.Retain()
	}
	var keep []int32
	for row := range b.Rows {
		if !gone(b.System.Op(row)) {
			keep = append(keep, int32(row))
		}
	}
	return b.Select(keep)
}

func (p *passing) hash(b *record.Batch, s *shape) {
	p.out.size(b.Rows)
	p.out.hashKey(p.ranges, p.key, (&given{batch: b, shape: *s}).key())
	if p.keysOnly {
		copy(p.out.rows, p.out.keys)
	} else {
		for i := range b.Columns {
			addColumn(p.out.rows, &b.Schema.Fields[i], &b.Columns[i], s.seeds[i])
		}
		finish(p.out.rows)
	}
	if p.part >= 0 && slices.ContainsFunc(p.out.ranges, func(r int32) bool { return r != p.part }) {
		p.strayed.Store(true)
	}
	if len(p.steps) == 0 || p.changed.Load() {
		return
	}
	for row, h := range p.out.keys {
		if p.read.keys[b.System.Versions.At(row).Index] != h {
			p.changed.Store(true)
			return
		}
	}
}

// scan reads parts, all or those of some ranges. Each worker has a number.
func (s *source) scan(ctx context.Context, wanted map[int32]bool, each func(worker int, g *given) error) error {
	var parts []int
	for i := range s.parts {
		if wanted == nil || s.ranges.bounds == nil || s.strayed.Load() || wanted[int32(i)] {
			parts = append(parts, i)
		}
	}
	var passings [workers]passing
	for i := range passings {
		passings[i].source = s
	}
	s.refused.Store(0)
	return parallel(ctx, len(parts), func(ctx context.Context, worker, i int) error {
		p := &passings[worker]
		p.part = -1
		if s.ranges.bounds != nil {
			p.part = int32(parts[i]) //nolint:gosec // a part
		}
		return s.tables.Scan(ctx, s.schema.Stream, s.parts[parts[i]], func(b *record.Batch) error {
			return p.pass(ctx, b, func(g *given) error { return each(worker, g) })
		})
	})
}

// look sets what the source holds of the suspects that are open, and which of these the sink refuses.
func (s *source) look(ctx context.Context, sink int, of *suspects, first bool, refuses func(*record.Batch) error) error {
	for _, i := range of.open {
		of.source[i] = state{}
		delete(of.refused, i)
	}
	met := func(g *given) {
		if g.sink == sink {
			of.met(g, refuses)
		}
	}
	if first || s.changed.Load() {
		return s.scan(ctx, of.wanted, func(_ int, g *given) error {
			met(g)
			return nil
		})
	}
	p := passing{source: s, part: -1}
	return s.lookup(ctx, of, of.open, func(b *record.Batch) error {
		return p.pass(ctx, b, func(g *given) error {
			met(g)
			return nil
		})
	})
}

// met keeps what the source holds of suspects, from several workers at once.
func (of *suspects) met(g *given, refuses func(*record.Batch) error) {
	suspect := func(h uint64) bool { _, ok := of.index[h]; return ok }
	if !slices.ContainsFunc(g.keys, suspect) {
		return
	}
	var bad []fault.Row
	if refuses != nil {
		if named, ok := errors.AsType[*fault.Rows](refuses(g.batch)); ok {
			bad = named.Bad
		}
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	for _, r := range bad {
		if i, ok := of.index[g.keys[r.Index]]; ok {
			of.refused[i] = true
		}
	}
	for row, h := range g.keys {
		i, ok := of.index[h]
		if !ok {
			continue
		}
		of.source[i] = state{true, g.rows[row]}
		of.meet(i, g.key(), row)
		if int(i) < len(of.shown) {
			of.shown[i].source = cells(g.batch, g.shape.names, row)
		}
	}
}

// keysOfLookup is how many keys are looked up at a time.
const keysOfLookup = 2000

// lookup reads the records of suspects by their keys.
func (s *source) lookup(ctx context.Context, of *suspects, open []int32, each func(*record.Batch) error) error {
	schema, err := keySchema(s.schema)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(open, keysOfLookup) {
		keys := of.batch(schema, some)
		if keys.Rows == 0 {
			continue
		}
		if err := s.tables.Lookup(ctx, s.schema.Stream, keys, each); err != nil {
			return fmt.Errorf("look up keys of %s: %w", s.schema.Stream, err)
		}
	}
	return nil
}

// keySchema is that of the keys of a stream alone.
func keySchema(s *record.Schema) (*record.Schema, error) {
	fields := make([]record.Field, len(s.Key))
	for i, k := range s.Key {
		fields[i] = s.Fields[k]
	}
	return record.NewSchema(s.Stream, s.KeyNames(), fields...)
}
