package verify_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks"
	itemsink "github.com/acequia-io/acequia/sinks/items"
	lakesink "github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
)

// server speaks DynamoDB's protocol.
var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}

// memory is a source of one stream, whose records are documents.
type memory struct {
	schema *record.Schema
	ranged int // rows of a part; 0: keys have no order

	mu      sync.Mutex
	docs    []string
	scans   int
	lookups int
	before  func(m *memory) // each read, with the lock held
}

func (m *memory) set(docs ...string) { m.docs = docs }

// rows are the records in the order of their keys.
func (m *memory) rows() (*record.Batch, error) {
	b := record.NewBuilder(m.schema, len(m.docs))
	for _, d := range m.docs {
		if err := b.AppendJSON([]byte(d)); err != nil {
			return nil, fmt.Errorf("%s: %w", d, err)
		}
	}
	batch := b.Batch(nil)
	order := make([]int32, batch.Rows)
	for i := range order {
		order[i] = int32(i)
	}
	if m.ranged > 0 {
		slices.SortFunc(order, func(a, b int32) int { return compareValues(keyOf(batch, int(a)), keyOf(batch, int(b))) })
	}
	return batch.Select(order), nil
}

func keyOf(b *record.Batch, row int) []sources.KeyValue {
	out := make([]sources.KeyValue, len(b.Schema.Key))
	for i, k := range b.Schema.Key {
		if b.Schema.Fields[k].Kind == record.String {
			out[i].Text = string(b.Columns[k].Text(row))
		} else {
			out[i].Int = b.Columns[k].Int(row)
		}
	}
	return out
}

func compareValues(a, b []sources.KeyValue) int {
	for i := range a {
		if c := cmp.Or(cmp.Compare(a[i].Int, b[i].Int), bytes.Compare([]byte(a[i].Text), []byte(b[i].Text))); c != 0 {
			return c
		}
	}
	return 0
}

func (m *memory) Streams(context.Context) ([]sources.Stream, error) {
	return []sources.Stream{{Schema: m.schema, Rows: int64(len(m.docs))}}, nil
}

func (m *memory) Split(context.Context, string, int) ([]sources.KeyRange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []sources.KeyRange
	rows, err := m.rows()
	if err != nil {
		return nil, err
	}
	var after []sources.KeyValue
	for at := m.ranged; m.ranged > 0 && at < rows.Rows; at += m.ranged {
		upTo := keyOf(rows, at-1)
		out = append(out, sources.KeyRange{After: after, UpTo: upTo})
		after = upTo
	}
	return append(out, sources.KeyRange{After: after}), nil
}

// give hands rows over, three at a time.
func (m *memory) give(wanted func(key []sources.KeyValue) bool, each func(*record.Batch) error) error {
	m.mu.Lock()
	if m.before != nil {
		m.before(m)
	}
	rows, err := m.rows()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	var chosen []int32
	for row := range rows.Rows {
		if wanted(keyOf(rows, row)) {
			chosen = append(chosen, int32(row))
		}
	}
	for some := range slices.Chunk(chosen, 3) {
		if err := each(rows.Select(some)); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) Scan(_ context.Context, _ string, part sources.KeyRange, each func(*record.Batch) error) error {
	m.mu.Lock()
	m.scans++
	m.mu.Unlock()
	return m.give(func(key []sources.KeyValue) bool {
		return (part.After == nil || compareValues(key, part.After) > 0) && (part.UpTo == nil || compareValues(key, part.UpTo) <= 0)
	}, each)
}

func (m *memory) Lookup(_ context.Context, _ string, keys *record.Batch, each func(*record.Batch) error) error {
	m.mu.Lock()
	m.lookups++
	m.mu.Unlock()
	wanted := map[string]bool{}
	for row := range keys.Rows {
		wanted[fmt.Sprint(keyOf(keys, row))] = true
	}
	return m.give(func(key []sources.KeyValue) bool { return wanted[fmt.Sprint(key)] }, each)
}

// world is a source and two sinks, or items in DynamoDB alone.
type world struct {
	t       *testing.T
	source  *memory
	steps   []routers.Step
	root    string
	lake    *lakesink.Lake
	store   *itemstore.Store
	dynamo  *itemstore.Dynamo // nil: there are the lake and the store
	tables  itemsink.Config   // of dynamo
	group   int64
	version uint64
	epoch   uint16
}

func newWorld(t *testing.T, schema *record.Schema) *world {
	t.Helper()
	w := &world{t: t, source: &memory{schema: schema, ranged: 5}, root: t.TempDir()}
	var err error
	if w.lake, err = lakesink.New(t.Context(), lakesink.Config{URL: w.root}, 0, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if w.store, err = itemstore.Open(t.Context(), filepath.Join(t.TempDir(), "items.db"), itemstore.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// batch makes records of documents, each with a version of its own.
func (w *world) batch(schema *record.Schema, op record.Op, docs ...string) *record.Batch {
	w.t.Helper()
	b := record.NewBuilder(schema, len(docs))
	for _, d := range docs {
		if err := b.AppendJSON([]byte(d)); err != nil {
			w.t.Fatal(d, err)
		}
		w.version++
		sys := b.System()
		sys.Ops = append(sys.Ops, op)
		sys.Versions.Lo = append(sys.Versions.Lo, w.version)
		sys.Versions.Epoch = w.epoch
		sys.EventTimes = append(sys.EventTimes, int64(20_000+w.version%3)*86_400_000_000)
	}
	b.System().Source = "memory"
	return b.Batch(nil)
}

// write gives records to the sinks, behind the steps.
func (w *world) write(op record.Op, docs ...string) {
	w.t.Helper()
	w.give(w.batch(w.source.schema, op, docs...), true, true)
}

func (w *world) give(b *record.Batch, lake, items bool) {
	w.t.Helper()
	_, err := routers.Through(w.t.Context(), w.steps, b, func(out *record.Batch) error {
		if w.dynamo != nil {
			w.commit(itemsink.New(w.tables, w.dynamo, slog.New(slog.DiscardHandler)), out)
			return nil
		}
		if items && len(out.Schema.Key) > 0 {
			w.commit(itemsink.New(itemsink.Config{}, w.store, slog.New(slog.DiscardHandler)), out)
		}
		if lake {
			w.commit(w.lake, out)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) commit(s sinks.Sink, b *record.Batch) {
	w.t.Helper()
	ctx := w.t.Context()
	w.group++
	writer, err := s.Open(ctx, sinks.Lane{Pipeline: "p", ID: "lane", Epoch: 1})
	if err == nil {
		err = writer.Write(ctx, b)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := writer.Cut(sinks.Group{Ordinal: w.group, To: "1"}).Stage(ctx)
	if err == nil {
		err = writer.Publish(ctx, m)
	}
	if err == nil {
		err = writer.Close(ctx)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// stream is what is compared.
func (w *world) stream() verify.Stream {
	streams, _ := w.source.Streams(w.t.Context())
	if w.dynamo != nil {
		refuses := func(b *record.Batch) error { return w.tables.Refuses(w.dynamo, b) }
		name, _ := w.tables.TableOf("t")
		return verify.Stream{Pipeline: "p", Tables: w.source, Stream: streams[0], Steps: w.steps, Sinks: []verify.Sink{{Name: "items", Table: name, Items: w.dynamo, Refuses: refuses}}}
	}
	to := []verify.Sink{{Name: "lake", Table: "t", Lake: blob.Within(w.root)}}
	if len(w.source.schema.Key) > 0 {
		to = append(to, verify.Sink{Name: "items", Table: "t", Items: w.store})
	}
	return verify.Stream{Pipeline: "p", Tables: w.source, Stream: streams[0], Steps: w.steps, Sinks: to}
}

func (w *world) compare(o verify.Options) []verify.Table {
	w.t.Helper()
	o.Show = 10
	tables, err := verify.Compare(w.t.Context(), w.stream(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return tables
}

// want compares, by ranges and by the hash of the key, and wants the same of every sink.
func (w *world) want(rows, missing, extra, different int64) []verify.Table {
	w.t.Helper()
	var tables []verify.Table
	ranged := w.source.ranged
	for _, o := range []verify.Options{{}, verify.Options{}.Copies(1)} {
		for _, w.source.ranged = range []int{0, ranged} {
			tables = w.compare(o)
			for _, t := range tables {
				if t.Settled > 0 || t.Equal() && (t.Differing > 0 || t.SinkRows != rows || t.Digest != t.SinkDigest) {
					w.t.Errorf("%s, parts of %d: they were not equal at the first look: %+v", t.Sink, w.source.ranged, t)
				}
				if t.Rows != rows || t.Missing != missing || t.Extra != extra || t.Different != different || t.Equal() != (missing+extra+different == 0) {
					w.t.Errorf("%s, parts of %d: %+v\nwant %d rows, %d missing, %d extra, %d different", t.Sink, w.source.ranged, t, rows, missing, extra, different)
				}
			}
		}
	}
	return tables
}

func schemaOf(t *testing.T, key string, fields ...record.Field) *record.Schema {
	t.Helper()
	var keys []string
	if key != "" {
		keys = []string{key}
	}
	s, err := record.NewSchema("t", keys, fields...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
