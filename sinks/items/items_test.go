package items_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

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
	s := items.New(items.Config{Tables: map[string]items.Table{"games": {Name: "catalog"}}}, store, slog.New(slog.DiscardHandler))
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

// A group is written in batches, except one that answers requests of a form.
func TestGroupsAreWrittenInBatches(t *testing.T) {
	t.Parallel()
	for stream, want := range map[string]int{"games": 4, "form_keys": 1} {
		store := openStore(t)
		s := items.New(items.Config{Batch: 3, Tables: map[string]items.Table{stream: {}}}, store, slog.New(slog.DiscardHandler))
		games := schema(t, stream, []string{"id"})
		w := writer(t, s)
		rows := make([]row, 10)
		for i := range rows {
			rows[i] = row{record.Insert, 1, string(rune('a' + i)), 1, ""}
		}
		commit(t, w, batch(games, rows...))
		transactions := map[time.Time]bool{} // changes tell when their transaction began
		err := store.Changes(t.Context(), stream, 0, 100, func(c *itemstore.Change) error {
			transactions[c.At] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(transactions); got != want {
			t.Errorf("%s: %d transactions, want %d", stream, got, want)
		}
		if n, err := store.Count(t.Context(), stream); n != 10 || err != nil {
			t.Errorf("%s: %d items, %v", stream, n, err)
		}
	}
}

// Only what is under tables becomes items, where that is asked for.
func TestOnlyNamedStreamsBecomeItems(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games, other, keyless := schema(t, "games", []string{"id"}), schema(t, "other", []string{"id"}), schema(t, "keyless", nil)
	var told bytes.Buffer
	s := items.New(items.Config{Only: true, Tables: map[string]items.Table{"games": {}}}, store, slog.New(slog.NewTextHandler(&told, nil)))
	if err := s.Declare(t.Context(), []*record.Schema{keyless, games}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, s)
	commit(t, w, batch(games, row{record.Insert, 1, "a", 1, ""}), batch(other, row{record.Insert, 1, "a", 1, ""}), batch(keyless, row{record.Insert, 1, "a", 1, ""}))
	if tables := store.Tables(); len(tables) != 1 || tables[0].Name != "games" || told.Len() > 0 {
		t.Errorf("tables %v, told %s", tables, &told)
	}
	if d := cmp.Diff([]string{`a v1 {"id":"a","n":1,"text":""}`}, stored(t, store, "games")); d != "" {
		t.Error(d)
	}
}

func TestRowsThatCannotBeItemsAreNamed(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games := schema(t, "games", []string{"id"})
	s := items.New(items.Config{}, store, slog.New(slog.DiscardHandler))
	if err := s.Declare(t.Context(), []*record.Schema{games}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, s)
	b := batch(games, row{record.Insert, 1, "a", 1, ""}, row{record.Insert, 1, "", 1, ""}, row{record.Insert, 1, "c", 1, strings.Repeat("x", itemstore.MaxItem)},
		row{record.Insert, 1, strings.Repeat("k", itemstore.MaxKey+1), 1, ""}, row{record.Update, 1, "f", 1, ""})
	b.Columns[2].SetAbsent(4)
	refused, ok := errors.AsType[*fault.Rows](w.Write(t.Context(), b))
	if !ok {
		t.Fatal("no rows were refused")
	}
	var bad []int
	for _, r := range refused.Bad {
		bad = append(bad, r.Index)
	}
	if want := []int{1, 2, 3, 4}; !slices.Equal(bad, want) {
		t.Fatalf("rows %v are refused, want %v", bad, want)
	}
	if held := w.(sinks.Holder).Held(); held != 0 { //nolint:errcheck // it is one
		t.Errorf("a refused batch holds %d bytes", held)
	}
	commit(t, w, b.Without(bad))
	if d := cmp.Diff([]string{`a v1 {"id":"a","n":1,"text":""}`}, stored(t, store, "games")); d != "" {
		t.Error(d)
	}
}

// A stream without a key is left out where there are others, and told once.
func TestStreamsWithoutAKeyAreLeftOut(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	var log bytes.Buffer
	s := items.New(items.Config{}, store, slog.New(slog.NewTextHandler(&log, nil)))
	games, keyless := schema(t, "games", []string{"id"}), schema(t, "keyless", nil)
	if err := s.Declare(t.Context(), []*record.Schema{keyless}); fault.Code(err) != "ACQ-ITEMS-010" {
		t.Errorf("a pipeline without any key: %v", err)
	}
	if err := s.Declare(t.Context(), []*record.Schema{keyless, games}); err != nil {
		t.Fatal(err)
	}
	w := writer(t, s)
	commit(t, w, batch(keyless, row{record.Insert, 1, "a", 1, "x"}), batch(games, row{record.Insert, 1, "a", 1, "x"}))
	commit(t, w, batch(schema(t, "unknown", nil), row{record.Insert, 1, "a", 1, "x"}), batch(keyless, row{record.Insert, 2, "b", 1, "x"}))
	var tables []string
	for _, declared := range store.Tables() {
		tables = append(tables, declared.Name)
	}
	if !slices.Equal(tables, []string{"games"}) {
		t.Errorf("tables %v", tables)
	}
	for _, stream := range []string{"keyless", "unknown"} {
		if n := strings.Count(log.String(), "stream="+stream); n != 1 {
			t.Errorf("%s is told %d times:\n%s", stream, n, &log)
		}
	}
}

// A truncate in the middle of a group takes what is older, before it in the group and in the store.
func TestTruncatedItems(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games := schema(t, "games", []string{"id"})
	w := writer(t, items.New(items.Config{}, store, slog.New(slog.DiscardHandler)))
	commit(t, w, batch(games, row{record.Insert, 1, "a", 1, ""}, row{record.Insert, 9, "later", 1, ""}))
	commit(t, w, batch(games, row{record.Insert, 2, "b", 1, ""}, row{record.Truncate, 5, "", 0, ""}, row{record.Insert, 6, "c", 1, ""}, row{record.Snapshot, 3, "late", 1, ""}))
	want := []string{`c v6 {"id":"c","n":1,"text":""}`, `later v9 {"id":"later","n":1,"text":""}`}
	if d := cmp.Diff(want, stored(t, store, "games")); d != "" {
		t.Error(d)
	}
}

// absent makes an update whose text the source did not send.
func absent(s *record.Schema, id string, version uint64, n int64) *record.Batch {
	b := batch(s, row{record.Update, version, id, n, ""})
	b.Columns[2].SetAbsent(0)
	return b
}

// An update that lacks a column keeps the item's value, whether the item is stored, waits in the group before, which is
// being stored, or stands in the same group. Where there is none the row is refused.
func TestAbsentColumnsAreKept(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games := schema(t, "games", []string{"id"})
	w := writer(t, items.New(items.Config{}, store, slog.New(slog.DiscardHandler)))
	refused := func(b *record.Batch) {
		t.Helper()
		if rows, ok := errors.AsType[*fault.Rows](w.Write(t.Context(), b)); !ok || len(rows.Bad) != 1 || rows.Bad[0].Column != "text" {
			t.Errorf("%v", rows)
		}
	}
	commit(t, w, batch(games, row{record.Insert, 1, "stored", 1, "s"}, row{record.Insert, 1, "deleted", 1, "d"}, row{record.Delete, 5, "gone", 0, ""}))
	if err := w.Write(t.Context(), batch(games, row{record.Insert, 2, "waits", 1, "w"}, row{record.Delete, 2, "deleted", 0, ""})); err != nil {
		t.Fatal(err)
	}
	waiting := w.Cut(sinks.Group{Ordinal: 2})
	refused(absent(games, "none", 3, 2))
	refused(absent(games, "gone", 6, 2))
	refused(absent(games, "deleted", 3, 2))
	for _, b := range []*record.Batch{
		batch(games, row{record.Insert, 3, "here", 1, "h"}), absent(games, "stored", 3, 2), absent(games, "waits", 3, 2), absent(games, "here", 4, 2),
		absent(games, "gone", 4, 2), // a newer copy is there
	} {
		if err := w.Write(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := waiting.Stage(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(absent(games, "deleted", 3, 2))
	commit(t, w, batch(games, row{record.Truncate, 2, "", 0, ""}))
	refused(absent(games, "never", 9, 2))
	want := []string{
		`here v4 {"id":"here","n":2,"text":"h"}`, `stored v3 {"id":"stored","n":2,"text":"s"}`, `waits v3 {"id":"waits","n":2,"text":"w"}`,
	}
	if d := cmp.Diff(want, stored(t, store, "games")); d != "" {
		t.Error(d)
	}
	if err := w.Write(t.Context(), batch(games, row{record.Truncate, 10, "", 0, ""})); err != nil {
		t.Fatal(err)
	}
	refused(absent(games, "stored", 11, 2))
}

// An item that goes between Write and Stage fails the group, which is read again and then refuses the row.
func TestItemThatGoesMeanwhile(t *testing.T) {
	t.Parallel()
	store := openStore(t)
	games := schema(t, "games", []string{"id"})
	s := items.New(items.Config{}, store, slog.New(slog.DiscardHandler))
	w, other := writer(t, s), writer(t, s)
	commit(t, w, batch(games, row{record.Insert, 1, "a", 1, "x"}))
	if err := w.Write(t.Context(), absent(games, "a", 3, 2)); err != nil {
		t.Fatal(err)
	}
	commit(t, other, batch(games, row{record.Delete, 2, "a", 0, ""}))
	if _, err := w.Cut(sinks.Group{Ordinal: 2}).Stage(t.Context()); fault.Of(err) != fault.Retryable {
		t.Error(err)
	}
	if err := writer(t, s).Write(t.Context(), absent(games, "a", 3, 2)); fault.Of(err) != fault.Poison {
		t.Error(err)
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
	sink := items.New(items.Config{}, store, slog.New(slog.DiscardHandler))
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

// noting notes what is written into a store.
type noting struct {
	*itemstore.Store
	puts []itemstore.Put
}

func (n *noting) Write(ctx context.Context, puts []itemstore.Put) ([]itemstore.Outcome, error) {
	n.puts = append(n.puts, puts...)
	return n.Store.Write(ctx, puts)
}

// The item of a form and the answer under its key belong together, and an item without a key stands alone.
func TestAnswerAndItemTogether(t *testing.T) {
	t.Parallel()
	store := &noting{Store: openStore(t)}
	w := writer(t, items.New(items.Config{}, store, slog.New(slog.DiscardHandler)))
	rows := func(stream string, keys, events []string) *record.Batch {
		var rows []row
		for _, k := range keys {
			rows = append(rows, row{op: record.Insert, version: 1, id: k})
		}
		b := batch(schema(t, stream, []string{"id"}), rows...)
		for _, id := range events {
			b.System.EventIDs.AppendText([]byte(id))
		}
		return b
	}
	answers := rows("form_keys", []string{"k1", "k2"}, []string{"one", "two"})
	games := rows("games", []string{"g1", "g0", "g2"}, []string{"one", "alone", "two"})
	commit(t, w, answers, games)
	commit(t, w, rows("games", []string{"g3"}, []string{"one"})) // another group
	var got []string
	for _, p := range store.puts {
		got = append(got, fmt.Sprint(p.Key, " ", p.Together, " ", p.IfAbsent))
	}
	if want := []string{"k1 1 true", "k2 2 true", "g1 1 false", "g0 0 false", "g2 2 false", "g3 0 false"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
