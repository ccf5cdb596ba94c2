package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	itemsink "github.com/acequia-io/acequia/sinks/items"
)

// Items is a store of items as it is compared: an *itemstore.Store or an *itemstore.Dynamo.
type Items interface {
	// Tables lists the tables that are there.
	Tables() []itemstore.Table
	// Scan hands over all items, a page at a time, in any order and from several goroutines. Documents have the named columns, at least; no names: all.
	Scan(ctx context.Context, table string, columns []string, do func(page []itemstore.Item) error) error
	// GetEach hands over the items of keys that are there, one at a time.
	GetEach(ctx context.Context, table string, keys []string, do func(item itemstore.Item) error) error
}

// items is a table of items, read back from its documents.
type items struct {
	store   Items
	table   string
	none    bool           // the store has no such table yet
	key     *record.Schema // the key alone
	schema  *record.Schema // of the documents: every column may be missing
	shape   shape
	ranges  *ranges
	columns []string // that are read

	keysOnly bool

	gathered *gathered // what is in the ranges that differ
}

// newItems finds the table in the store.
func newItems(store Items, table string, out *record.Schema, r *ranges, keysOnly bool) (*items, error) {
	known := slices.ContainsFunc(store.Tables(), func(t itemstore.Table) bool { return t.Name == table })
	s := &items{store: store, table: table, none: !known, ranges: r, keysOnly: keysOnly}
	fields := slices.Clone(out.Fields)
	for i := range fields {
		f := &fields[i]
		f.Nullable = true
		s.shape.names, s.shape.seeds = append(s.shape.names, f.Name), append(s.shape.seeds, seedOf(f.Name, f.Kind))
	}
	for _, f := range out.Fields { // texts that stand for what a column cannot hold
		if out.Index(f.Name+rawSuffix) < 0 {
			name := f.Name + rawSuffix
			fields = append(fields, record.Field{Name: name, Kind: record.String, Nullable: true})
			s.shape.names, s.shape.seeds = append(s.shape.names, name), append(s.shape.seeds, seedOf(name, record.String))
		}
	}
	s.shape.key = out.Key
	var err error
	if s.schema, err = record.NewSchema(out.Stream, out.KeyNames(), fields...); err != nil {
		return nil, err
	}
	if s.columns = out.KeyNames(); !keysOnly {
		s.columns = s.shape.names
	}
	s.key, err = keySchema(out)
	return s, err
}

// each gives do all items, one page after the other.
func (s *items) each(ctx context.Context, do func(g *given) error) error {
	if s.none {
		return nil
	}
	var doing sync.Mutex
	return s.store.Scan(ctx, s.table, s.columns, func(page []itemstore.Item) error {
		g, err := s.decode(page)
		if err != nil {
			return err
		}
		doing.Lock()
		defer doing.Unlock()
		return do(g)
	})
}

// decode makes rows of documents.
func (s *items) decode(page []itemstore.Item) (*given, error) {
	b := record.NewBuilder(s.schema, len(page))
	var broken []int
	for i := range page {
		whole, err := s.add(b, page[i].Doc)
		if err != nil {
			return nil, fmt.Errorf("item %q of table %s: %w", page[i].Key, s.table, err)
		}
		if !whole {
			broken = append(broken, b.Rows()-1)
		}
	}
	batch := b.Batch(nil)
	g := &given{hashed: &hashed{}, batch: batch, shape: s.shape}
	g.size(batch.Rows)
	for i := range batch.Columns {
		addColumn(g.rows, &s.schema.Fields[i], &batch.Columns[i], s.shape.seeds[i])
	}
	for _, row := range broken { // a value that cannot be one of its column equals none
		g.rows[row] ^= salt2
	}
	finish(g.rows)
	key := make([]record.Field, len(s.schema.Key))
	for i, k := range s.schema.Key {
		key[i] = s.schema.Fields[k]
	}
	g.hashKey(s.ranges, key, g.key())
	if s.keysOnly {
		copy(g.rows, g.keys)
	}
	return g, nil
}

// add adds the row of a document. What the stream has no column for any more is left out; whole is false when a value does
// not fit its column.
func (s *items) add(b *record.Builder, doc []byte) (whole bool, err error) {
	whole = true
	for {
		err := b.AppendJSON(doc)
		if err == nil {
			return whole, nil
		}
		bad := map[string]bool{}
		for _, e := range joined(err) {
			c, ok := errors.AsType[*record.ColumnError](e)
			if !ok {
				return false, err
			}
			i := s.schema.Index(c.Column)
			if slices.Contains(s.schema.Key, i) {
				return false, err
			}
			bad[c.Column], whole = true, whole && i < 0
		}
		if doc, err = without(doc, bad); err != nil {
			return false, err
		}
	}
}

// joined takes errors.Join apart.
func joined(err error) []error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		return several.Unwrap()
	}
	return []error{err}
}

// without gives a document without some members.
func without(doc []byte, names map[string]bool) ([]byte, error) {
	out := []byte{'{'}
	err := record.EachMember(doc, func(name []byte, kind record.JSONKind, text []byte) error {
		if names[string(name)] {
			return nil
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(record.AppendJSONString(out, string(name)), ':')
		if kind == record.JSONString {
			out = record.AppendJSONString(out, string(text))
		} else {
			out = append(out, text...)
		}
		return nil
	})
	return append(out, '}'), err
}

// sum hands over the hashes of all rows, or of the rows of some ranges of those that were gathered.
func (s *items) sum(ctx context.Context, wanted map[int32]bool, each func(worker int, h *hashed) error) error {
	if wanted != nil {
		return s.gathered.take(wanted, func(h *hashed) error { return each(0, h) })
	}
	return s.each(ctx, func(g *given) error { return each(0, g.hashed) })
}

// gather reads the table once more, and keeps what is in the ranges that differ: to read it for a few ranges at a time would be to read it as
// often as there are such groups.
func (s *items) gather(ctx context.Context, differing map[int32]bool, memory int) error {
	s.gathered = newGathered(s.key, memory)
	return s.each(ctx, func(g *given) error { return s.gathered.add(g, differing) })
}

// close gives back what was gathered.
func (s *items) close() error {
	if s.gathered == nil {
		return nil
	}
	return s.gathered.close()
}

// look sets what the store holds of the suspects that are open.
func (s *items) look(ctx context.Context, of *suspects, first bool) error {
	for _, i := range of.open {
		of.sink[i] = state{}
	}
	met := func(g *given) {
		for row, h := range g.keys {
			if i, ok := of.index[h]; ok {
				of.sink[i] = state{true, g.rows[row]}
				of.meet(i, g.key(), row)
				if int(i) < len(of.shown) {
					of.shown[i].sink = cells(g.batch, g.shape.names, row)
				}
			}
		}
	}
	if s.none {
		return nil
	}
	if first {
		s.gathered.meet(of)
		unmet := func(i int32) bool { return of.slots[i] < 0 }
		if slices.ContainsFunc(of.open, unmet) { // the source had them for a moment, so what they are called is not known
			return s.each(ctx, func(g *given) error {
				met(g)
				return nil
			})
		}
	}
	keys := of.batch(s.key, of.open)
	names := make([]string, keys.Rows)
	for row := range names {
		var err error
		if names[row], err = itemsink.Key(keys, row); err != nil {
			return err
		}
	}
	return s.store.GetEach(ctx, s.table, names, func(item itemstore.Item) error {
		g, err := s.decode([]itemstore.Item{item})
		if err == nil {
			met(g)
		}
		return err
	})
}
