package verify

import (
	"context"
	"slices"

	"github.com/acequia-io/acequia/record"
	warehousesink "github.com/acequia-io/acequia/sinks/postgres"
	"github.com/acequia-io/acequia/sources"
)

// warehouse is a table of a warehouse, whose rows are read back as they stand.
type warehouse struct {
	reading *warehousesink.Reading
	out     *record.Schema
	key     *record.Schema // the key alone; nil: there is none
	ranges  *ranges

	keysOnly bool
}

// newWarehouse opens the table.
func newWarehouse(ctx context.Context, c *warehousesink.Config, out *record.Schema, r *ranges) (*warehouse, error) {
	reading, err := c.Read(ctx, out)
	if err != nil {
		return nil, err
	}
	w := &warehouse{reading: reading, out: out, ranges: r}
	if len(out.Key) > 0 {
		w.key, err = keySchema(out)
	}
	return w, err
}

// parts are the ranges that are wanted, as the table is asked for them; all of it in one where keys have no order.
func (w *warehouse) parts(wanted map[int32]bool) []sources.KeyRange {
	if wanted == nil || w.ranges.bounds == nil {
		return []sources.KeyRange{{}}
	}
	var out []sources.KeyRange
	for at := range int32(w.ranges.n) { //nolint:gosec // some thousands
		if !wanted[at] {
			continue
		}
		part := sources.KeyRange{}
		if at > 0 {
			part.After = w.ranges.bounds[at-1]
		}
		if int(at) < len(w.ranges.bounds) {
			part.UpTo = w.ranges.bounds[at]
		}
		out = append(out, part)
	}
	return out
}

// given hashes the rows of a batch.
func (w *warehouse) given(b *record.Batch) *given {
	g := &given{hashed: &hashed{}, batch: b}
	g.size(b.Rows)
	for i := range b.Columns {
		f := &b.Schema.Fields[i]
		seed := seedOf(f.Name, f.Kind)
		g.shape.names, g.shape.seeds = append(g.shape.names, f.Name), append(g.shape.seeds, seed)
		addColumn(g.rows, f, &b.Columns[i], seed)
	}
	finish(g.rows)
	key := make([]record.Field, len(w.out.Key))
	for i, name := range w.out.KeyNames() {
		at := b.Schema.Index(name)
		g.shape.key = append(g.shape.key, at)
		key[i] = b.Schema.Fields[at]
	}
	g.hashKey(w.ranges, key, g.key())
	if w.keysOnly {
		copy(g.rows, g.keys)
	}
	return g
}

// sum hands over the hashes of all rows, or of those of some ranges alone.
func (w *warehouse) sum(ctx context.Context, wanted map[int32]bool, each func(worker int, h *hashed) error) error {
	for _, part := range w.parts(wanted) {
		if err := w.reading.Scan(ctx, part, func(b *record.Batch) error { return each(0, w.given(b).hashed) }); err != nil {
			return err
		}
	}
	return nil
}

// look sets what the table holds of the suspects that are open.
func (w *warehouse) look(ctx context.Context, of *suspects, first bool) error {
	for _, i := range of.open {
		of.sink[i] = state{}
	}
	met := func(b *record.Batch) error {
		g := w.given(b)
		for row, h := range g.keys {
			if i, ok := of.index[h]; ok {
				of.sink[i] = state{true, g.rows[row]}
				of.meet(i, g.key(), row)
				if int(i) < len(of.shown) {
					of.shown[i].sink = cells(b, g.shape.names, row)
				}
			}
		}
		return nil
	}
	if !first {
		return w.reading.Lookup(ctx, of.batch(w.key, of.open), met)
	}
	for _, part := range w.parts(of.wanted) {
		if err := w.reading.Scan(ctx, part, met); err != nil {
			return err
		}
	}
	return nil
}

// leftOut are columns of the table that the stream does not have now.
func (w *warehouse) leftOut() []string { return slices.Clone(w.reading.LeftOut) }

// close ends the connection.
func (w *warehouse) close(ctx context.Context) error { return w.reading.Close(ctx) }
