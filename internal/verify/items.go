package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	itemsink "github.com/acequia-io/acequia/sinks/items"
)

// items is a table of items, read back from its documents.
type items struct {
	store  *itemstore.Store
	table  string
	none   bool           // the store has no such table yet
	key    *record.Schema // the key alone
	schema *record.Schema // of the documents: every column may be missing
	shape  shape
	ranges *ranges

	keysOnly bool
}

// newItems finds the table in the store.
func newItems(store *itemstore.Store, table string, out *record.Schema, r *ranges) (*items, error) {
	known := slices.ContainsFunc(store.Tables(), func(t itemstore.Table) bool { return t.Name == table })
	s := &items{store: store, table: table, none: !known, ranges: r}
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
	s.key, err = keySchema(out)
	return s, err
}

// itemsOfPage is how many items are read at a time.
const itemsOfPage = 2000

// each gives do all items in the order of their keys.
func (s *items) each(ctx context.Context, do func(g *given) error) error {
	if s.none {
		return nil
	}
	for after := ""; ; {
		page, err := s.store.List(ctx, s.table, itemsOfPage, after)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := s.decode(page, do); err != nil {
			return err
		}
		after = page[len(page)-1].Key
	}
}

// decode makes rows of documents.
func (s *items) decode(page []itemstore.Item, do func(g *given) error) error {
	b := record.NewBuilder(s.schema, len(page))
	var broken []int
	for i := range page {
		whole, err := s.add(b, page[i].Doc)
		if err != nil {
			return fmt.Errorf("item %q of table %s: %w", page[i].Key, s.table, err)
		}
		if !whole {
			broken = append(broken, b.Rows()-1)
		}
	}
	batch := b.Batch(nil)
	g := given{hashed: &hashed{}, batch: batch, shape: s.shape}
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
	return do(&g)
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

// sum hands over the hashes of all rows, or of the rows of some ranges.
func (s *items) sum(ctx context.Context, _ map[int32]bool, each func(worker int, h *hashed) error) error {
	return s.each(ctx, func(g *given) error { return each(0, g.hashed) })
}

// look sets what the store holds of the suspects that are open.
func (s *items) look(ctx context.Context, of *suspects, first bool) error {
	for _, i := range of.open {
		of.sink[i] = state{}
	}
	met := func(g *given) error {
		for row, h := range g.keys {
			if i, ok := of.index[h]; ok {
				of.sink[i] = state{true, g.rows[row]}
				of.meet(i, g.key(), row)
				if int(i) < len(of.shown) {
					of.shown[i].sink = cells(g.batch, g.shape.names, row)
				}
			}
		}
		return nil
	}
	if first {
		return s.each(ctx, met)
	}
	if s.none {
		return nil
	}
	keys := of.batch(s.key, of.open)
	for row := range keys.Rows {
		key, err := itemsink.Key(keys, row)
		if err != nil {
			return err
		}
		item, found, err := s.store.Get(ctx, s.table, key)
		if err != nil {
			return err
		}
		if !found || item.Deleted {
			continue
		}
		if err := s.decode([]itemstore.Item{item}, met); err != nil {
			return err
		}
	}
	return nil
}
