package sourcetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// ItemSchema is that of the items whose changes are read in the suites: each kind of value that items have, and a key of text.
func ItemSchema() (*record.Schema, error) {
	return record.NewSchema("games", []string{"id"},
		record.Field{Name: "id", Kind: record.String}, record.Field{Name: "stock", Kind: record.Int64, Nullable: true},
		record.Field{Name: "rating", Kind: record.Float64, Nullable: true}, record.Field{Name: "price", Kind: record.Decimal, Precision: 25, Scale: 2, Nullable: true},
		record.Field{Name: "released", Kind: record.Date, Nullable: true}, record.Field{Name: "seen", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "box", Kind: record.Bool, Nullable: true}, record.Field{Name: "scan", Kind: record.Bytes, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "tag", Kind: record.String, Nullable: true}}})
}

// ItemPuts are what the rows of a batch make of a table of items.
func ItemPuts(table string, b *record.Batch) []itemstore.Put {
	out := make([]itemstore.Put, b.Rows)
	for row := range out {
		out[row] = itemstore.Put{
			Table: table, Key: string(b.Columns[0].Text(row)), Version: b.System.Versions.At(row), Op: b.System.Op(row), Doc: b.AppendJSON(nil, row), Schema: b.Schema,
		}
	}
	return out
}

// ItemPlace is a table of items, of ItemSchema, and a source of its changes.
type ItemPlace struct {
	Items  itemstore.Items
	Table  string
	Source sources.Source
}

// RunItemChanges holds a source of item changes to what all of them give: what a reader of the items could see, and nothing else.
func RunItemChanges(t *testing.T, place func(t *testing.T) ItemPlace) {
	t.Helper()
	p := place(t)
	name := p.Table
	schema, err := ItemSchema()
	if err == nil {
		err = p.Items.Define(t.Context(), itemstore.Table{Name: name, Schema: schema})
	}
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, v uint64, op record.Op, stock int) itemstore.Put {
		return itemstore.Put{Table: name, Key: key, Version: record.Version{Lo: v}, Op: op, Doc: fmt.Appendf(nil, `{"id":%q,"stock":%d,"price":"1.50"}`, key, stock)}
	}
	part := itemstore.Put{Table: name, Key: "a", Version: record.Version{Lo: 5}, Op: record.Update, Doc: []byte(`{"id":"a","rating":0.5}`)}
	part.Kept = []string{"stock", "price", "released", "seen", "box", "scan", "tags"}
	for _, one := range []itemstore.Put{
		put("a", 2, record.Insert, 1), put("a", 1, record.Insert, 9), // late: nothing
		put("a", 3, record.Update, 2), part, put("a", 6, record.Delete, 0), put("a", 4, record.Insert, 9), // late: nothing
		put("none", 1, record.Delete, 0), put("a", 7, record.Insert, 3), put("none", 2, record.Snapshot, 4), put("none", 3, record.Delete, 0), put("none", 4, record.Delete, 0),
		{Table: name, Version: record.Version{Lo: 20}, Op: record.Truncate},
		put("a", 19, record.Insert, 9), put("b", 21, record.Insert, 5),
	} {
		if _, err := p.Items.Write(t.Context(), []itemstore.Put{one}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"I a stock=1 rating=null price=1.50", "U a stock=2 rating=null price=1.50", "U a stock=2 rating=0.5 price=1.50", "D a stock=2 rating=0.5 price=1.50",
		"I a stock=3 rating=null price=1.50", "I none stock=4 rating=null price=1.50", "D none stock=4 rating=null price=1.50", "D a stock=3 rating=null price=1.50",
		"I b stock=5 rating=null price=1.50",
	}
	got, err := itemChanges(t.Context(), p.Source, len(want))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q\n%v", got, want, err)
	}
}

// itemChanges reads the first lane until so many changes have come, and a moment longer. Versions must grow.
func itemChanges(ctx context.Context, source sources.Source, want int) (out []string, err error) {
	ctx, stop := withLimit(ctx, patience)
	defer stop()
	lanes, err := source.Lanes(ctx)
	if err != nil || len(lanes) == 0 {
		return nil, fmt.Errorf("%d lanes: %w", len(lanes), err)
	}
	r, err := source.Open(ctx, lanes[0], "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		reading, end := context.WithCancel(ctx)
		if len(out) >= want {
			end()
			reading, end = context.WithTimeout(ctx, grace)
		}
		chunk, err := r.Read(reading)
		end()
		if errors.Is(err, context.DeadlineExceeded) && len(out) >= want {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for _, b := range chunk.Batches {
			for row := range b.Rows {
				text := fmt.Appendf(nil, "%s %s", b.System.Op(row), b.Columns[0].Text(row))
				for i, f := range b.Schema.Fields[1:4] {
					text = fmt.Appendf(text, " %s=", f.Name)
					if b.Columns[i+1].IsValid(row) {
						text = record.AppendText(text, &f, &b.Columns[i+1], row)
					} else {
						text = append(text, "null"...)
					}
				}
				out = append(out, string(text))
			}
		}
		for _, bad := range chunk.Refused {
			return out, fmt.Errorf("refused: %w", bad.Err)
		}
		chunk.Release()
	}
}
