package items

import (
	"context"
	"errors"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
)

// keep names the columns that the source did not send, whose values the item keeps, or refuses the row when there is no item
// that has them.
func (w *writer) keep(ctx context.Context, p *itemstore.Put, b *record.Batch, row int) (*fault.Row, error) {
	if p.Op == record.Delete || p.Op == record.Truncate {
		return nil, nil
	}
	for i := range b.Columns {
		if b.Columns[i].IsAbsent(row) {
			p.Kept = append(p.Kept, b.Schema.Fields[i].Name)
		}
	}
	if len(p.Kept) == 0 {
		return nil, nil
	}
	there, err := w.has(ctx, p)
	if err != nil || there {
		return nil, err
	}
	return &fault.Row{Index: row, Column: p.Kept[0], Err: errors.New("the source did not send the value, and there is no item that has it")}, nil
}

// has says whether there is an older item of the key, in the store or on its way into it, or a newer copy that the row
// cannot change.
func (w *writer) has(ctx context.Context, p *itemstore.Put) (bool, error) {
	if w.cut != nil && w.cut.done.Load() {
		w.cut, w.pending = nil, nil
	}
	if w.pending == nil {
		w.pending = &pending{docs: map[place]bool{}, floors: map[string]record.Version{}}
		if w.cut != nil {
			w.cut.eachLeft(w.pending.addAll)
		}
		for _, piece := range w.puts.pieces {
			w.pending.addAll(piece)
		}
	}
	if doc, known := w.pending.docs[place{p.Table, p.Key}]; known {
		return doc, nil
	}
	item, ok, err := w.sink.store.Get(ctx, p.Table, p.Key)
	if err != nil || !ok {
		return false, err
	}
	floor, truncated := w.pending.floors[p.Table]
	gone := item.Deleted || truncated && item.Version.Compare(floor) < 0
	return !gone || item.Version.Compare(p.Version) >= 0, nil
}

// place is an item's.
type place struct{ table, key string }

// pending is what puts that are not stored yet make of their keys.
type pending struct {
	docs   map[place]bool // false: deleted
	floors map[string]record.Version
}

func (o *pending) addAll(puts []itemstore.Put) {
	for i := range puts {
		o.add(&puts[i])
	}
}

func (o *pending) add(p *itemstore.Put) {
	switch {
	case o == nil:
	case p.Op == record.Truncate:
		o.floors[p.Table] = p.Version
		for at := range o.docs {
			if at.table == p.Table {
				o.docs[at] = false
			}
		}
	default:
		o.docs[place{p.Table, p.Key}] = p.Op != record.Delete
	}
}
