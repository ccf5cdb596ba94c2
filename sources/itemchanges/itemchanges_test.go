package itemchanges_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/itemchanges"
)

type bench struct {
	store  *itemstore.Store
	source sources.Source
}

func setup(t *testing.T, o itemstore.Options) *bench {
	t.Helper()
	store, err := itemstore.Open(t.Context(), filepath.Join(t.TempDir(), "items.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	schema, err := record.NewSchema("shop.games", []string{"id"}, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "n", Kind: record.Int64})
	if err != nil {
		t.Fatal(err)
	}
	plugin := itemchanges.Plugin()
	source, err := plugin.New(t.Context(), &itemchanges.Config{Table: "games", Schema: schema}, sources.Host{Pipeline: "lake", Items: store})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{store, source}
}

func (b *bench) open(t *testing.T, from record.Position) sources.Reader {
	t.Helper()
	lanes, err := b.source.Lanes(t.Context())
	if err != nil || len(lanes) != 1 || !lanes[0].Replayable {
		t.Fatal(lanes, err)
	}
	r, err := b.source.Open(t.Context(), lanes[0], from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (b *bench) put(t *testing.T, version uint64, op record.Op, keys ...string) {
	t.Helper()
	var puts []itemstore.Put
	for _, key := range keys {
		puts = append(puts, itemstore.Put{
			Table: "games", Key: key, Op: op, Version: record.Version{Epoch: 1, Hi: 2, Lo: version, Index: 3}, Doc: fmt.Appendf(nil, `{"id":%q,"n":%d}`, key, version),
		})
	}
	if _, err := b.store.Write(t.Context(), puts); err != nil {
		t.Fatal(err)
	}
}

// read gives a chunk as lines and its end.
func read(t *testing.T, r sources.Reader) ([]string, record.Position) {
	t.Helper()
	chunk, err := r.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, b := range chunk.Batches {
		for row := range b.Rows {
			if at := time.UnixMicro(b.System.EventTime(row)); time.Since(at).Abs() > time.Hour || b.System.Source != "items.games" {
				t.Errorf("event time %s, source %q", at, b.System.Source)
			}
			lines = append(lines, fmt.Sprintf("%s %s %s %s", b.System.EventIDs.Text(row), b.System.Op(row), b.System.Versions.At(row), b.AppendJSON(nil, row)))
		}
	}
	chunk.Release()
	return lines, chunk.To
}

func TestChangesBecomeRecords(t *testing.T) {
	t.Parallel()
	b := setup(t, itemstore.Options{})
	r := b.open(t, "")
	b.put(t, 1, record.Snapshot, "a", "b")
	b.put(t, 5, record.Update, "a")
	b.put(t, 4, record.Update, "a")
	b.put(t, 6, record.Delete, "a", "never")
	version := func(lo uint64) string { return record.Version{Epoch: 1, Hi: 2, Lo: lo, Index: 3}.String() }
	want := []string{
		"games:1 I " + version(1) + ` {"id":"a","n":1}`, "games:2 I " + version(1) + ` {"id":"b","n":1}`,
		"games:3 U " + version(5) + ` {"id":"a","n":5}`, "games:4 D " + version(6) + ` {"id":"a","n":5}`,
	}
	got, to := read(t, r)
	if d := cmp.Diff(want, got); d != "" || to != "4" {
		t.Errorf("to %s: %s", to, d)
	}
	got, to = read(t, b.open(t, "2"))
	if d := cmp.Diff(want[2:], got); d != "" || to != "4" {
		t.Errorf("again from 2, to %s: %s", to, d)
	}
}

func TestReadWaits(t *testing.T) {
	t.Parallel()
	b := setup(t, itemstore.Options{})
	r := b.open(t, "")
	type result struct {
		chunk record.Chunk
		err   error
	}
	got := make(chan result, 1)
	wait := func(ctx context.Context) {
		c, err := r.Read(ctx)
		got <- result{c, err}
	}
	go wait(t.Context())
	b.put(t, 1, record.Insert, "a")
	if g := <-got; g.err != nil || g.chunk.To != "1" {
		t.Errorf("%+v", g)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go wait(ctx)
	cancel()
	if g := <-got; !errors.Is(g.err, context.Canceled) {
		t.Errorf("cancelled: %+v", g)
	}
	go wait(t.Context())
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g.err == nil {
		t.Errorf("closed: %+v", g)
	}
}

func TestSettledChangesCount(t *testing.T) {
	t.Parallel()
	b := setup(t, itemstore.Options{})
	r := b.open(t, "")
	lagger, ok := b.source.(sources.Lagger)
	if !ok {
		t.Fatal("no Lagger")
	}
	lag := func(want int64) {
		t.Helper()
		if l, err := lagger.Lag(t.Context()); err != nil || l.Records != want || want > 0 && (l.Age < 0 || l.Age > time.Hour) {
			t.Errorf("lag %+v %v, want %d records", l, err, want)
		}
	}
	b.put(t, 1, record.Insert, "a", "b", "c")
	lag(3)
	_, to := read(t, r)
	lag(3)
	if err := r.Settle(t.Context(), to, errors.New("refused")); err != nil {
		t.Fatal(err)
	}
	lag(3)
	if err := r.Settle(t.Context(), to, nil); err != nil {
		t.Fatal(err)
	}
	lag(0)
}

func TestPositionsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := setup(t, itemstore.Options{})
	b.open(t, "")
	lanes, err := b.source.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, position := range []record.Position{"x", "-1", "1.5", "999999999999999999999"} {
		if _, err := b.source.Open(t.Context(), lanes[0], position); err == nil || fault.Of(err) != fault.Fatal {
			t.Errorf("position %q: %v", position, err)
		}
	}
	if _, err := b.store.Write(t.Context(), []itemstore.Put{{Table: "games", Key: "a", Op: record.Insert, Doc: []byte(`{"id":"a","n":"many"}`)}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open(t, "").Read(t.Context()); fault.Code(err) != "ACQ-ITEMS-011" {
		t.Errorf("a document that does not fit: %v", err)
	}
}

// A chunk ends at its greatest number of rows, and the next one goes on there.
func TestChunksAreBounded(t *testing.T) {
	t.Parallel()
	b := setup(t, itemstore.Options{})
	keys := make([]string, 25_000)
	for i := range keys {
		keys[i] = fmt.Sprint(i)
	}
	r := b.open(t, "")
	b.put(t, 1, record.Insert, keys...)
	for _, want := range []record.Position{"10000", "20000", "25000"} {
		if _, to := read(t, r); to != want {
			t.Fatalf("chunk to %s, want %s", to, want)
		}
	}
}
