package sourcetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// image is what one record says, however its batch holds it.
type image struct {
	Op     record.Op
	Key    string // the values of the key's columns
	Values string // those of all columns that are compared

	version   record.Version
	event     string
	eventTime int64
}

// images gives the rows of a batch.
func (s *scene) images(b *record.Batch) []image {
	out := make([]image, b.Rows)
	for row := range out {
		m := &out[row]
		m.Op, m.version, m.eventTime = b.System.Op(row), b.System.Versions.At(row), b.System.EventTime(row)
		if len(b.System.EventIDs.Offsets) > 0 && b.System.EventIDs.IsValid(row) {
			m.event = string(b.System.EventIDs.Text(row))
		}
		var key, values []byte
		for i, f := range b.Schema.Fields {
			if slices.Contains(s.h.Own, f.Name) {
				continue
			}
			start := len(values)
			values = append(append(values, f.Name...), '=')
			if b.Columns[i].IsAbsent(row) {
				values = append(values, "absent"...)
			} else {
				values = b.AppendValueJSON(values, i, row)
			}
			values = append(values, ' ')
			if slices.Contains(b.Schema.Key, i) {
				key = append(key, values[start:]...)
			}
		}
		m.Key = string(key)
		if m.Op != record.Delete { // a delete carries its key, and the old image where there is one
			m.Values = string(values)
		}
	}
	return out
}

// heard tells what who put the records was told of each.
type heard func(ctx context.Context) ([]error, error)

// put makes changes happen at the place and gives what a source should read of them.
func (s *scene) put(ctx context.Context, changes []change) ([]image, heard, error) {
	b := s.batch(changes, 1+changes[0].key)
	want := s.images(b)
	var told heard
	var err error
	unlabelled(ctx, func(ctx context.Context) { told, err = s.place.Put(ctx, b) })
	if err != nil {
		return nil, nil, fmt.Errorf("put %d rows: %w", len(changes), err)
	}
	return want, told, nil
}

// unlabelled runs what belongs to the place and not to the source, so that nothingRuns does not look at it.
func unlabelled(ctx context.Context, do func(ctx context.Context)) {
	pprof.SetGoroutineLabels(context.Background())
	defer pprof.SetGoroutineLabels(ctx)
	do(ctx)
}

// chunk is one read.
type chunk struct {
	lane string
	rows []image
	to   record.Position
}

// haul is what was read, by lane.
type haul struct {
	lanes  []string // in the order they were opened
	chunks map[string][]chunk
}

// all gives the records, lane after lane.
func (h *haul) all() []image {
	var out []image
	for _, lane := range h.lanes {
		for _, c := range h.chunks[lane] {
			out = append(out, c.rows...)
		}
	}
	return out
}

// plan says how to read.
type plan struct {
	from   map[string]record.Position // of each lane; missing: the start
	want   int                        // stop after so many records; lanes that end are read to their end
	keep   bool                       // settle nothing
	refuse error                      // settle with this error
	during func() error               // once the first lanes are open
	seen   func(lane string, c record.Chunk)
}

// grace is how long a reading goes on after its last record came, to see that no other follows.
const grace = 30 * time.Millisecond

// collector reads all lanes of a source.
type collector struct {
	s      *scene
	source sources.Source
	plan   plan

	read   context.Context //nolint:containedctx // of the reads: it ends when all is there
	enough context.CancelFunc
	done   chan ending

	mu   sync.Mutex
	rows int
	out  *haul
}

type ending struct {
	lane  string
	ended bool // with io.EOF
	err   error
}

// collect reads until the wanted records are there, or every lane has ended.
func (s *scene) collect(ctx context.Context, source sources.Source, p plan) (*haul, error) {
	ctx, stop := withLimit(ctx, s.patience)
	defer stop()
	read, enough := context.WithCancel(ctx)
	defer enough()
	c := &collector{
		s: s, source: source, plan: p, read: read, enough: enough, done: make(chan ending), out: &haul{chunks: map[string][]chunk{}},
	}
	if p.want == 0 && !s.h.Bounded {
		time.AfterFunc(grace, enough)
	}
	err := within(s.patience+2*s.soon(), "end all reads", func() error { return c.run(ctx) })
	if errors.Is(err, errLate) {
		return nil, err
	}
	if ctx.Err() != nil {
		err = errors.Join(err, fmt.Errorf("after %v there are %d of %d records", s.patience, c.rows, p.want))
	}
	return c.out, err
}

func (c *collector) run(ctx context.Context) error {
	started, ended := map[string]bool{}, map[string]bool{}
	running := 0
	start := func() error {
		lanes, err := c.source.Lanes(ctx)
		if err != nil {
			return fmt.Errorf("list lanes: %w", err)
		}
		for _, lane := range lanes {
			if started[lane.ID] || slices.ContainsFunc(lane.After, func(id string) bool { return !ended[id] }) {
				continue
			}
			reader, err := c.source.Open(ctx, lane, c.plan.from[lane.ID])
			if err != nil {
				return fmt.Errorf("open lane %s: %w", lane.ID, err)
			}
			started[lane.ID] = true
			running++
			c.out.lanes = append(c.out.lanes, lane.ID)
			go func() { c.done <- c.lane(ctx, lane.ID, reader) }()
		}
		return nil
	}
	err := start()
	if err == nil && c.plan.during != nil {
		err = c.plan.during()
	}
	for running > 0 {
		if err != nil {
			c.enough()
		}
		e := <-c.done
		running--
		err = errors.Join(err, e.err)
		if e.ended && c.read.Err() == nil {
			ended[e.lane] = true
			err = errors.Join(err, start())
		}
	}
	return err
}

// lane reads one lane to its end, or until there is enough.
func (c *collector) lane(ctx context.Context, id string, r sources.Reader) (e ending) {
	e.lane = id
	defer func() {
		if err := r.Close(); err != nil {
			e.err = errors.Join(e.err, fmt.Errorf("close lane %s: %w", id, err))
		}
	}()
	for {
		got, err := r.Read(c.read)
		switch {
		case errors.Is(err, io.EOF):
			e.ended = true
			return e
		case err != nil && c.read.Err() != nil && errors.Is(err, context.Canceled):
			return e
		case err != nil:
			e.err = fmt.Errorf("read lane %s: %w", id, err)
			return e
		}
		c.take(id, got)
		if !c.plan.keep {
			if err := r.Settle(ctx, got.To, c.plan.refuse); err != nil {
				e.err = fmt.Errorf("settle lane %s: %w", id, err)
				return e
			}
		}
	}
}

// take keeps what a chunk says and gives its batches back.
func (c *collector) take(lane string, got record.Chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plan.seen != nil {
		c.plan.seen(lane, got)
	}
	one := chunk{lane: lane, to: got.To}
	for _, b := range got.Batches {
		one.rows = append(one.rows, c.s.images(b)...)
	}
	got.Release()
	c.out.chunks[lane] = append(c.out.chunks[lane], one)
	before := c.rows
	c.rows += len(one.rows)
	if want := c.plan.want; !c.s.h.Bounded && before < want && c.rows >= want {
		time.AfterFunc(grace, c.enough)
	}
}

// fresh opens a source and reads.
func (s *scene) fresh(ctx context.Context, p plan) (*haul, error) {
	source, err := s.place.Source(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the source: %w", err)
	}
	return s.collect(ctx, source, p)
}

// roundTrip puts changes into the place and reads them: first the one and then the other where what is there stays,
// both at once where somebody waits.
func (s *scene) roundTrip(ctx context.Context, changes []change, p plan) (want []image, got *haul, told heard, err error) {
	put := func() (err error) {
		want, told, err = s.put(ctx, changes)
		return err
	}
	if s.h.Replayable {
		if err := put(); err != nil {
			return nil, nil, nil, err
		}
	} else {
		p.during = put
	}
	p.want = len(changes)
	got, err = s.fresh(ctx, p)
	return want, got, told, err
}

// same says how the records that were read differ from those that were put, or nil.
func (s *scene) same(got *haul, want []image) error {
	have := got.all()
	want, have = slices.Clone(want), slices.Clone(have)
	switch {
	case s.h.Unordered:
		whole := func(a, b image) int {
			return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Values, b.Values))
		}
		slices.SortFunc(want, whole)
		slices.SortFunc(have, whole)
	case len(got.lanes) > 1: // a key has its order, lanes have none
		byKey := func(a, b image) int { return cmp.Compare(a.Key, b.Key) }
		slices.SortStableFunc(want, byKey)
		slices.SortStableFunc(have, byKey)
	}
	if len(have) != len(want) {
		return fmt.Errorf("%d records were read, want %d%s", len(have), len(want), firstDifference(have, want))
	}
	for i := range want {
		if d := difference(have[i], want[i]); d != "" {
			return fmt.Errorf("record %d differs (-want +got):\n%s", i, clip(d))
		}
	}
	return nil
}

func difference(got, want image) string {
	if got.Op == record.Snapshot && want.Op == record.Insert {
		got.Op = record.Insert // what is there when a source first looks may be a snapshot
	}
	if got.Op == want.Op && got.Key == want.Key && got.Values == want.Values {
		return ""
	}
	type shown struct{ Op, Key, Values string }
	return gocmp.Diff(shown{want.Op.String(), want.Key, want.Values}, shown{got.Op.String(), got.Key, got.Values})
}

func firstDifference(got, want []image) string {
	for i := range min(len(got), len(want)) {
		if d := difference(got[i], want[i]); d != "" {
			return fmt.Sprintf("; the first that differs is record %d (-want +got):\n%s", i, clip(d))
		}
	}
	return ""
}

// clip keeps big values out of the output.
func clip(s string) string {
	const most = 4000
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// skim reads and settles all records of a fresh source without looking at them.
func (s *scene) skim(ctx context.Context, rows int) error {
	source, err := s.place.Source(ctx)
	if err != nil {
		return err
	}
	lanes, err := source.Lanes(ctx)
	if err != nil {
		return err
	}
	for _, lane := range lanes {
		r, err := source.Open(ctx, lane, "")
		if err != nil {
			return err
		}
		for rows > 0 && err == nil {
			var c record.Chunk
			if c, err = r.Read(ctx); err == nil {
				for _, b := range c.Batches {
					rows -= b.Rows
				}
				c.Release()
				err = r.Settle(ctx, c.To, nil)
			}
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}
