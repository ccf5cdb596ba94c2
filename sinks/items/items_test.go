package items_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/items"
)

func schema(t *testing.T, stream string, key []string) *record.Schema {
	t.Helper()
	s, err := record.NewSchema(stream, key, record.Field{Name: "id", Kind: record.String, Nullable: true},
		record.Field{Name: "n", Kind: record.Int64}, record.Field{Name: "text", Kind: record.String, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type row struct {
	op      record.Op
	version uint64
	id      string // "" is null
	n       int64
	text    string
}

func batch(s *record.Schema, rows ...row) *record.Batch {
	b := record.NewBuilder(s, len(rows))
	sys := b.System()
	for _, r := range rows {
		if r.id != "" {
			b.String(0, r.id)
		}
		b.Int(1, r.n)
		b.String(2, r.text)
		b.Next()
		sys.Ops = append(sys.Ops, r.op)
		sys.Versions.Lo = append(sys.Versions.Lo, r.version)
	}
	return b.Batch(nil)
}

func writer(t *testing.T, s *items.Sink) sinks.Writer {
	t.Helper()
	w, err := s.Open(t.Context(), sinks.Lane{Pipeline: "p", ID: "l", Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func commit(t *testing.T, w sinks.Writer, batches ...*record.Batch) {
	t.Helper()
	for _, b := range batches {
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	m, err := w.Cut(sinks.Group{Ordinal: 1}).Stage(t.Context())
	if err == nil {
		err = w.Publish(t.Context(), m)
	}
	if err != nil || len(m.Files) > 0 {
		t.Fatal(m, err)
	}
}

func stored(t *testing.T, store *itemstore.Store, table string) []string {
	t.Helper()
	list, err := store.List(t.Context(), table, 100, "")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range list {
		out = append(out, fmt.Sprintf("%s v%d %s", i.Key, i.Version.Lo, i.Doc))
	}
	return out
}

func TestRecordsBecomeItems(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games, pairs := schema(t, "games", []string{"id"}), schema(t, "pairs", []string{"n", "id"})
	s := items.New(items.Config{Tables: map[string]items.Table{"games": {Name: "catalog"}}}, store)
	if err := s.Declare(t.Context(), []*record.Schema{games, pairs}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, s)
	commit(t, w, batch(games, row{record.Insert, 1, "a", 1, "ñ"}, row{record.Insert, 1, "b", 2, ""}),
		batch(pairs, row{record.Snapshot, 1, `x"`, 7, "y"}))
	commit(t, w, batch(games, row{record.Update, 3, "a", 3, "new"}, row{record.Update, 2, "a", 2, "stale"}, row{record.Delete, 2, "b", 0, ""}))
	want := []string{`a v3 {"id":"a","n":3,"text":"new"}`}
	if d := cmp.Diff(want, stored(t, store, "catalog")); d != "" {
		t.Error(d)
	}
	want = []string{`[7,"x\""] v1 {"id":"x\"","n":7,"text":"y"}`}
	if d := cmp.Diff(want, stored(t, store, "pairs")); d != "" {
		t.Error(d)
	}
	if item, ok, err := store.Get(t.Context(), "catalog", "b"); err != nil || !ok || !item.Deleted || item.Version.Lo != 2 {
		t.Errorf("tombstone: %+v %v %v", item, ok, err)
	}
	if n := s.Superseded(); n != 1 {
		t.Errorf("%d superseded, want 1", n)
	}
}

func TestRowsThatCannotBeItemsAreNamed(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games := schema(t, "games", []string{"id"})
	s := items.New(items.Config{}, store)
	if err := s.Declare(t.Context(), []*record.Schema{games}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, s)
	b := batch(games, row{record.Insert, 1, "a", 1, ""}, row{record.Insert, 1, "", 1, ""}, row{record.Insert, 1, "c", 1, strings.Repeat("x", items.MaxItem)},
		row{record.Insert, 1, strings.Repeat("k", items.MaxKey+1), 1, ""}, row{record.Truncate, 1, "e", 1, ""}, row{record.Insert, 1, "f", 1, ""})
	b.Columns[2].SetAbsent(5)
	refused, ok := errors.AsType[*fault.Rows](w.Write(t.Context(), b))
	if !ok {
		t.Fatal("no rows were refused")
	}
	var bad []int
	for _, r := range refused.Bad {
		bad = append(bad, r.Index)
	}
	if want := []int{1, 2, 3, 4, 5}; !slices.Equal(bad, want) {
		t.Fatalf("rows %v are refused, want %v", bad, want)
	}
	if held := w.(sinks.Holder).Held(); held != 0 { //nolint:errcheck // it is one
		t.Errorf("a refused batch holds %d bytes", held)
	}
	commit(t, w, b.Without(bad))
	if d := cmp.Diff([]string{`a v1 {"id":"a","n":1,"text":""}`}, stored(t, store, "games")); d != "" {
		t.Error(d)
	}
	keyless := schema(t, "keyless", nil)
	for _, err := range []error{s.Declare(t.Context(), []*record.Schema{keyless}), w.Write(t.Context(), batch(keyless))} {
		if fault.Code(err) != "ACQ-ITEMS-010" {
			t.Errorf("a stream without a key: %v", err)
		}
	}
}

// The keys of a form's requests go away after two days, and their readers never hear of them.
func TestFormKeysExpire(t *testing.T) {
	t.Parallel()
	c, ok := items.Plugin().Config().(*items.Config)
	if !ok {
		t.Fatal("the configuration has another type")
	}
	c.Tables = map[string]items.Table{"games": {Name: "other"}} // settings of another stream take nothing away
	store := openStore(t)
	keys := schema(t, "form_keys", []string{"id"})
	s, err := items.Plugin().New(t.Context(), c, sinks.Host{Items: store})
	if err != nil {
		t.Fatal(err)
	}
	sink, ok := s.(*items.Sink)
	if !ok {
		t.Fatal("the sink has another type")
	}
	if err := sink.Declare(t.Context(), []*record.Schema{keys}); err != nil {
		t.Fatal(err)
	}
	commit(t, writer(t, sink), batch(keys, row{record.Insert, 1, "k", 1, ""}))
	if n, _, err := store.Pending(t.Context(), "form_keys", 0); n != 0 || err != nil {
		t.Errorf("%d changes of form keys: %v", n, err)
	}
	if _, err := items.Plugin().New(t.Context(), c, sinks.Host{}); err == nil {
		t.Error("a sink without a store was made")
	}
}

func BenchmarkGroup(b *testing.B) {
	const rows = 1000
	store, err := itemstore.Open(b.Context(), b.TempDir()+"/items.db", itemstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.String, Nullable: true},
		record.Field{Name: "n", Kind: record.Int64}, record.Field{Name: "text", Kind: record.String, Nullable: true})
	if err != nil {
		b.Fatal(err)
	}
	sink := items.New(items.Config{}, store)
	if err := sink.Declare(b.Context(), []*record.Schema{s}); err != nil {
		b.Fatal(err)
	}
	w, err := sink.Open(b.Context(), sinks.Lane{})
	if err != nil {
		b.Fatal(err)
	}
	n := uint64(0)
	for b.Loop() {
		group := make([]row, rows)
		for i := range group {
			n++
			group[i] = row{record.Insert, n, fmt.Sprintf("%016x", n*0x9e3779b97f4a7c15), int64(i), "second hand, box damaged, manual complete"}
		}
		if err := w.Write(b.Context(), batch(s, group...)); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Cut(sinks.Group{}).Stage(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "items/s")
}
