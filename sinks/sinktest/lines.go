package sinktest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// line is one record to write.
type line struct {
	id      int64
	text    string
	null    bool
	op      record.Op
	version record.Version
}

// lines makes lines lo to hi-1; every fifth text is null.
func lines(lo, hi int64) []line {
	var out []line
	for id := lo; id < hi; id++ {
		l := line{id: id, text: fmt.Sprintf("fila ñ %d", id), op: record.Insert, version: record.Version{Lo: uint64(id) + 1}} //nolint:gosec // small
		if id%5 == 0 {
			l.text, l.null = "", true
		}
		out = append(out, l)
	}
	return out
}

const hour = int64(3_600_000_000)

// batch makes a batch. The events are an hour apart, so that a sink which goes by days has a few.
func batch(all []line, done func()) (*record.Batch, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	b := record.NewBuilder(schema, len(all))
	sys := b.System()
	for _, l := range all {
		b.Int(0, l.id)
		if l.null {
			b.Null(1)
		} else {
			b.String(1, l.text)
		}
		b.Next()
		sys.Ops = append(sys.Ops, l.op)
		v := &sys.Versions
		v.Epoch, v.Hi, v.Lo, v.Index = l.version.Epoch, append(v.Hi, l.version.Hi), append(v.Lo, l.version.Lo), append(v.Index, l.version.Index)
		sys.EventTimes = append(sys.EventTimes, 1_700_000_000_000_000+l.id%1000*hour)
	}
	sys.Source, sys.IngestTime = "suite", 1_700_000_000_000_000
	return b.Batch(done), nil
}

// owner is one incarnation of a lane.
type owner struct {
	sinks.Writer
	sink sinks.Sink
}

// own takes a lane of the pipeline "suite", with a sink of its own as another process has.
func own(ctx context.Context, p Place, lane string, epoch int64) (*owner, error) {
	return take(ctx, p, sinks.Lane{Pipeline: "suite", ID: lane, Epoch: epoch})
}

func take(ctx context.Context, p Place, lane sinks.Lane) (*owner, error) {
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
	w, err := s.Open(ctx, lane)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return &owner{Writer: w, sink: s}, nil
}

func (o *owner) end(ctx context.Context) error { return errors.Join(o.Close(ctx), o.sink.Close(ctx)) }

// write writes the lines as one batch, and gives it back at once.
func (o *owner) write(ctx context.Context, all []line) error {
	b, err := batch(all, nil)
	if err != nil {
		return err
	}
	defer b.Release()
	if err := o.Write(ctx, b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (o *owner) stage(ctx context.Context, ordinal int64) (sinks.Manifest, error) {
	return staged(ctx, o.Cut(sinks.Group{Ordinal: ordinal, From: "a", To: "b"}))
}

func staged(ctx context.Context, s sinks.Staging) (sinks.Manifest, error) {
	m, err := s.Stage(ctx)
	if err != nil {
		err = fmt.Errorf("stage: %w", err)
	}
	return m, err
}

func (o *owner) publish(ctx context.Context, m sinks.Manifest) error {
	if err := o.Publish(ctx, m); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// prepare writes and stages one group.
func (o *owner) prepare(ctx context.Context, ordinal int64, all []line) (sinks.Manifest, error) {
	if err := o.write(ctx, all); err != nil {
		return sinks.Manifest{}, err
	}
	return o.stage(ctx, ordinal)
}

// commit writes, stages and publishes one group.
func (o *owner) commit(ctx context.Context, ordinal int64, all []line) (sinks.Manifest, error) {
	m, err := o.prepare(ctx, ordinal, all)
	if err == nil {
		err = o.publish(ctx, m)
	}
	return m, err
}

// wants compares what is visible with the lines, each once.
func (p Place) wants(all []line) error {
	if p.Rows == nil {
		n, err := p.Count()
		if err == nil && n != len(all) {
			err = fmt.Errorf("%d rows took effect, want %d", n, len(all))
		}
		return err
	}
	found, err := p.Rows()
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	more := map[Row]int{} // times visible, less the times wanted
	for _, r := range found {
		more[r]++
	}
	for _, l := range all {
		more[Row{ID: l.id, Text: l.text, Null: l.null, Op: l.op, Version: l.version.String()}]--
	}
	maps.DeleteFunc(more, func(_ Row, n int) bool { return n == 0 })
	if len(more) == 0 {
		return nil
	}
	first := slices.SortedFunc(maps.Keys(more), func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), more[a]-more[b])
	})[0]
	return fmt.Errorf("%d kinds of rows are wrong; the first, id %d, text %.100q (null %t), %v, version %s, is visible %+d times more than it should be",
		len(more), first.ID, first.Text, first.Null, first.Op, first.Version, more[first])
}

// wantsStaged compares the number of staged parts, where the sink has any.
func (p Place) wantsStaged(want int) error {
	if p.Staged == nil {
		return nil
	}
	n, err := p.Staged()
	if err == nil && n != want {
		err = fmt.Errorf("%d parts are staged, want %d", n, want)
	}
	return err
}
