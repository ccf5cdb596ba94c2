// Package sinktest is the suite that every sink passes.
package sinktest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Row is a visible record of the suite's schema.
type Row struct {
	ID      int64
	Text    string
	Null    bool // the text is null
	Op      record.Op
	Version string
}

// Place is where a sink under test writes.
type Place struct {
	// Sink gives a fresh sink over the place, as after a restart.
	Sink func() (sinks.Sink, error)
	// Rows gives what is visible now, in any order.
	Rows func() ([]Row, error)
	// Staged counts what is staged and not visible; nil when the sink stages nothing.
	Staged func() (int, error)
}

// Harness says what the suite needs to know of a sink.
type Harness struct {
	// New makes an empty place.
	New func(t *testing.T) Place
	// StageShows says that a sink whose writes are idempotent by version may write in Stage.
	StageShows bool
	// Refused is a text that no row may hold; "" when the sink takes any.
	Refused string
}

// Schema is what the suite writes: a key and a text that may be null.
func Schema() (*record.Schema, error) {
	return record.NewSchema("suite", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "text", Kind: record.String, Nullable: true})
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Helper()
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.check(t.Context(), h, h.New(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// testCase is one promise of a sink. It gives what breaks the promise.
type testCase struct {
	name  string
	check func(ctx context.Context, h Harness, p Place) error
}

func cases() []testCase {
	return []testCase{
		{"published rows are visible as they were written", showsRows},
		{"nothing is visible before publish", hides},
		{"publishing again changes nothing", publishesOnce},
		{"a new owner rolls an intent forward", rollsForward},
		{"a sweep removes what no intent names", sweeps},
		{"a group is what was written before its cut", cuts},
		{"an empty group leaves nothing", leavesNothing},
		{"exactly the bad rows are named", namesBadRows},
		{"an open group is let go", closes},
		{"lanes do not disturb each other", sharesLanes},
	}
}

// rows makes a batch of rows lo to hi-1; every fifth text is null.
func rows(lo, hi int64, op record.Op) (*record.Batch, error) {
	return texts(lo, hi, op, func(id int64) (string, bool) { return fmt.Sprintf("fila ñ %d", id), id%5 == 0 })
}

func texts(lo, hi int64, op record.Op, text func(id int64) (string, bool)) (*record.Batch, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	b := record.NewBuilder(schema, int(hi-lo))
	sys := b.System()
	for id := lo; id < hi; id++ {
		b.Int(0, id)
		if v, null := text(id); null {
			b.Null(1)
		} else {
			b.String(1, v)
		}
		b.Next()
		sys.Versions.Lo = append(sys.Versions.Lo, uint64(id)+1) //nolint:gosec // small
		sys.EventTimes = append(sys.EventTimes, 1_700_000_000_000_000+id*3_600_000_000)
	}
	sys.Ops, sys.Source, sys.IngestTime = []record.Op{op}, "suite", 1_700_000_000_000_000
	return b.Batch(nil), nil
}

// owner is one incarnation of a lane.
type owner struct {
	sinks.Writer
	sink sinks.Sink
	lane sinks.Lane
}

func own(ctx context.Context, p Place, lane string, epoch int64) (*owner, error) {
	s, err := p.Sink()
	if err != nil {
		return nil, err
	}
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	if d, ok := s.(sinks.Describer); ok {
		if err := d.Declare(ctx, []*record.Schema{schema}); err != nil {
			return nil, fmt.Errorf("declare: %w", err)
		}
	}
	o := &owner{sink: s, lane: sinks.Lane{Pipeline: "suite", ID: lane, Epoch: epoch}}
	if o.Writer, err = s.Open(ctx, o.lane); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return o, nil
}

func (o *owner) end(ctx context.Context) error { return errors.Join(o.Close(ctx), o.sink.Close(ctx)) }

func (o *owner) write(ctx context.Context, lo, hi int64) error {
	b, err := rows(lo, hi, record.Insert)
	if err != nil {
		return err
	}
	if err := o.Write(ctx, b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (o *owner) stage(ctx context.Context, ordinal int64) (sinks.Manifest, error) {
	m, err := o.Cut(sinks.Group{Ordinal: ordinal, From: "a", To: "b"}).Stage(ctx)
	if err != nil {
		err = fmt.Errorf("stage: %w", err)
	}
	return m, err
}

// commit writes and publishes one group.
func (o *owner) commit(ctx context.Context, ordinal, lo, hi int64) (sinks.Manifest, error) {
	if err := o.write(ctx, lo, hi); err != nil {
		return sinks.Manifest{}, err
	}
	m, err := o.stage(ctx, ordinal)
	if err == nil {
		err = o.Publish(ctx, m)
	}
	return m, err
}

// wants compares what is visible with rows lo to hi-1, each once.
func (p Place) wants(lo, hi int64) error {
	found, err := p.Rows()
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	seen := map[int64]int{}
	for _, r := range found {
		seen[r.ID]++
		want := Row{ID: r.ID, Text: fmt.Sprintf("fila ñ %d", r.ID), Op: record.Insert, Version: record.Version{Lo: uint64(r.ID) + 1}.String()} //nolint:gosec // small
		if r.ID%5 == 0 {
			want.Text, want.Null = "", true
		}
		if r != want {
			return fmt.Errorf("row %d came back as %+v, want %+v", r.ID, r, want)
		}
	}
	for id := lo; id < hi; id++ {
		if seen[id] != 1 {
			return fmt.Errorf("row %d is visible %d times, want once", id, seen[id])
		}
		delete(seen, id)
	}
	if len(seen) > 0 {
		return fmt.Errorf("rows %v are visible and should not be", slices.Sorted(maps.Keys(seen)))
	}
	return nil
}

func showsRows(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if _, err := o.commit(ctx, 1, 0, 100); err != nil {
		return err
	}
	if _, err := o.commit(ctx, 2, 100, 150); err != nil {
		return err
	}
	return errors.Join(p.wants(0, 150), o.end(ctx))
}

func hides(ctx context.Context, h Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, 0, 50); err != nil {
		return err
	}
	if err := p.wants(0, 0); err != nil {
		return fmt.Errorf("after write: %w", err)
	}
	if _, err := o.stage(ctx, 1); err != nil {
		return err
	}
	if !h.StageShows {
		if err := p.wants(0, 0); err != nil {
			return fmt.Errorf("after stage: %w", err)
		}
	}
	return o.end(ctx)
}

func publishesOnce(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	m, err := o.commit(ctx, 1, 0, 20)
	if err == nil {
		err = o.Publish(ctx, m)
	}
	if err != nil {
		return err
	}
	return errors.Join(p.wants(0, 20), o.end(ctx))
}

func rollsForward(ctx context.Context, _ Harness, p Place) error {
	dead, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := dead.write(ctx, 0, 20); err != nil {
		return err
	}
	m, err := dead.stage(ctx, 1)
	if err != nil {
		return err
	}
	next, err := own(ctx, p, "a", 2) // dead is never closed, as after a crash
	if err != nil {
		return err
	}
	for range 2 {
		if err := next.Publish(ctx, m); err != nil {
			return fmt.Errorf("roll forward: %w", err)
		}
	}
	if r, ok := next.Writer.(sinks.Recoverer); ok {
		if err := r.Sweep(ctx); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return errors.Join(p.wants(0, 20), next.end(ctx), dead.end(ctx))
}

func sweeps(ctx context.Context, h Harness, p Place) error {
	dead, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	other, err := own(ctx, p, "b", 1)
	if err != nil {
		return err
	}
	if err := errors.Join(dead.write(ctx, 0, 20), other.write(ctx, 100, 120)); err != nil {
		return err
	}
	if _, err := dead.stage(ctx, 1); err != nil {
		return err
	}
	kept, err := other.stage(ctx, 1)
	if err != nil {
		return err
	}
	next, err := own(ctx, p, "a", 2)
	if err != nil {
		return err
	}
	r, ok := next.Writer.(sinks.Recoverer)
	if !ok {
		if p.Staged != nil {
			return errors.New("the sink stages, and its writer is no sinks.Recoverer")
		}
		return errors.Join(next.end(ctx), dead.end(ctx), other.end(ctx))
	}
	if err := r.Sweep(ctx); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if err := other.Publish(ctx, kept); err != nil {
		return fmt.Errorf("the sweep of one lane harmed another: %w", err)
	}
	if !h.StageShows {
		if err := p.wants(100, 120); err != nil {
			return err
		}
	}
	if p.Staged != nil {
		if n, err := p.Staged(); err != nil {
			return fmt.Errorf("look for staged parts: %w", err)
		} else if n > 0 {
			return fmt.Errorf("%d staged parts are left after the sweep", n)
		}
	}
	return errors.Join(next.end(ctx), dead.end(ctx), other.end(ctx))
}

func cuts(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, 0, 10); err != nil {
		return err
	}
	first := o.Cut(sinks.Group{Ordinal: 1})
	if err := o.write(ctx, 10, 30); err != nil {
		return err
	}
	m, err := first.Stage(ctx)
	if err == nil {
		err = o.Publish(ctx, m)
	}
	if err != nil {
		return err
	}
	if err := p.wants(0, 10); err != nil {
		return fmt.Errorf("after the first group: %w", err)
	}
	if m, err = o.stage(ctx, 2); err == nil {
		err = o.Publish(ctx, m)
	}
	if err != nil {
		return err
	}
	return errors.Join(p.wants(0, 30), o.end(ctx))
}

func leavesNothing(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, 0, 0); err != nil {
		return fmt.Errorf("an empty batch: %w", err)
	}
	m, err := o.stage(ctx, 1)
	if err != nil {
		return err
	}
	if len(m.Files) > 0 {
		return fmt.Errorf("an empty group has %d files", len(m.Files))
	}
	return errors.Join(o.Publish(ctx, m), p.wants(0, 0), o.end(ctx))
}

func namesBadRows(ctx context.Context, h Harness, p Place) error {
	if h.Refused == "" {
		return nil
	}
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	bad := []int{1, 4, 9}
	b, err := texts(0, 10, record.Insert, func(id int64) (string, bool) {
		if slices.Contains(bad, int(id)) {
			return h.Refused, false
		}
		return fmt.Sprintf("fila ñ %d", id), id%5 == 0
	})
	if err != nil {
		return err
	}
	refused, ok := errors.AsType[*fault.Rows](o.Write(ctx, b))
	if !ok {
		return errors.New("bad rows were not refused as fault.Rows")
	}
	var named []int
	for _, r := range refused.Bad {
		named = append(named, r.Index)
		if r.Err == nil {
			return fmt.Errorf("row %d is refused without a reason", r.Index)
		}
	}
	if !slices.Equal(named, bad) {
		return fmt.Errorf("rows %v are named, want %v", named, bad)
	}
	if m, err := o.stage(ctx, 1); err != nil {
		return fmt.Errorf("stage after a refused batch: %w", err)
	} else if len(m.Files) > 0 {
		return fmt.Errorf("a refused batch left something: %v", m)
	}
	return errors.Join(p.wants(0, 0), o.end(ctx))
}

func closes(ctx context.Context, _ Harness, p Place) error {
	o, err := own(ctx, p, "a", 1)
	if err != nil {
		return err
	}
	if err := o.write(ctx, 0, 10); err != nil {
		return err
	}
	return errors.Join(o.end(ctx), p.wants(0, 0))
}

func sharesLanes(ctx context.Context, _ Harness, p Place) error {
	first, err := own(ctx, p, "lane-0", 1)
	if err != nil {
		return err
	}
	const lanes, each = 4, 50
	errs := make([]error, lanes)
	var all sync.WaitGroup
	for i := range int64(lanes) {
		all.Go(func() {
			w, err := first.sink.Open(ctx, sinks.Lane{Pipeline: "suite", ID: fmt.Sprintf("lane-%d", i+1), Epoch: 1})
			if err != nil {
				errs[i] = err
				return
			}
			o := &owner{Writer: w, sink: first.sink}
			for g := range int64(3) {
				lo := i*1000 + g*each
				if _, err := o.commit(ctx, g+1, lo, lo+each); err != nil {
					errs[i] = err
					return
				}
			}
			errs[i] = w.Close(ctx)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	found, err := p.Rows()
	if err != nil {
		return err
	}
	if len(found) != lanes*3*each {
		return fmt.Errorf("%d rows are visible, want %d", len(found), lanes*3*each)
	}
	return first.end(ctx)
}
