package mongodb_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mongodb"
)

// notes is a state in memory.
type notes struct {
	mu      sync.Mutex
	kept    map[string][]byte
	numbers map[string]uint64
}

func newNotes() *notes { return &notes{kept: map[string][]byte{}, numbers: map[string]uint64{}} }

func (n *notes) Next(_ context.Context, stream string) (uint64, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.numbers[stream]++
	return n.numbers[stream], nil
}

func (n *notes) Load(_ context.Context, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.kept[key]), nil
}

func (n *notes) Save(_ context.Context, key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kept[key] = slices.Clone(value); value == nil {
		delete(n.kept, key)
	}
	return nil
}

// newest is what a sink has of a key.
type newest struct {
	version record.Version
	row     string // JSON; "": deleted
}

// world is one pipeline over many runs: what is kept of it, and a sink that keeps the newest of each key.
type world struct {
	*testing.T
	db     *mongo.Database
	config mongodb.Config
	notes  *notes
	ended  map[string]bool
	at     map[string]record.Position
	sink   map[string]map[string]newest
	cut    map[string]record.Version // of each stream's truncate
	part   int64                     // documents of a part; 0: as outside tests
	chunk  int                       // and of a chunk

	given   int // records that changes were given in
	refused []record.Refused
	log     bytes.Buffer
	crash   func() bool // whether the process dies now, with a chunk applied and its position not saved
}

func newWorld(t *testing.T, strategy string) *world {
	t.Helper()
	w := &world{
		T: t, db: server.Database(t), notes: newNotes(), ended: map[string]bool{}, at: map[string]record.Position{},
		sink: map[string]map[string]newest{}, cut: map[string]record.Version{}, crash: func() bool { return false },
	}
	w.config = mongodb.Config{
		URI: config.Secret(server.URI), Database: w.db.Name(),
		Capture: mongodb.Capture{Strategy: strategy, Every: 50 * time.Millisecond, Margin: 200 * time.Millisecond},
	}
	return w
}

// open makes a source that is closed with the test.
func (w *world) open() *mongodb.Source {
	w.Helper()
	s, err := mongodb.New(w.config, sources.Host{Pipeline: "test", State: w.notes, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	if err != nil {
		w.Fatal(err)
	}
	if w.part > 0 {
		mongodb.Sizes(s, w.part, w.chunk)
	}
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	})
	return s
}

var errCrashed = errors.New("the process died")

// run reads all there is, as a process that drains does. A crash ends it early.
func (w *world) run() error {
	w.Helper()
	s := w.open()
	s.Drain()
	read := map[string]bool{}
	for {
		mongodb.Stale(s)
		lanes, err := s.Lanes(w.Context())
		if err != nil {
			return err
		}
		next := slices.IndexFunc(lanes, func(l sources.Lane) bool {
			return !read[l.ID] && (!w.ended[l.ID] || l.Endless) && !slices.ContainsFunc(l.After, func(id string) bool { return !w.ended[id] })
		})
		if next < 0 {
			return nil
		}
		read[lanes[next].ID] = true
		if err := w.lane(s, lanes[next]); err != nil {
			return err
		}
	}
}

// lane reads a lane to its end.
func (w *world) lane(s *mongodb.Source, lane sources.Lane) (err error) {
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	r, err := s.Open(ctx, lane, w.at[lane.ID])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if at := w.at[lane.ID]; at != "" {
		if err := r.Settle(ctx, at, nil); err != nil {
			return err
		}
	}
	for {
		chunk, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			w.ended[lane.ID] = true
			return nil
		}
		if err != nil {
			return err
		}
		w.refused = append(w.refused, chunk.Refused...)
		for _, b := range chunk.Batches {
			if lane.Endless {
				w.given += b.Rows
			}
			w.apply(b)
		}
		chunk.Release()
		if w.crash() {
			return errCrashed
		}
		w.at[lane.ID] = chunk.To
		if err := r.Settle(ctx, chunk.To, nil); err != nil {
			return err
		}
	}
}

// apply keeps the newest of each key, as a sink does.
func (w *world) apply(b *record.Batch) {
	stream := b.Schema.Stream
	rows := w.sink[stream]
	if rows == nil {
		rows = map[string]newest{}
		w.sink[stream] = rows
	}
	for row := range b.Rows {
		version := b.System.Versions.At(row)
		if b.System.Op(row) == record.Truncate {
			if version.Compare(w.cut[stream]) > 0 {
				w.cut[stream] = version
			}
			maps.DeleteFunc(rows, func(_ string, h newest) bool { return h.version.Compare(version) < 0 })
			continue
		}
		key := string(record.AppendText(nil, &b.Schema.Fields[b.Schema.Key[0]], &b.Columns[b.Schema.Key[0]], row))
		if have, ok := rows[key]; ok && have.version.Compare(version) >= 0 || version.Compare(w.cut[stream]) < 0 {
			continue
		}
		h := newest{version: version}
		if b.System.Op(row) != record.Delete {
			h.row = plain(w.T, b.AppendJSON(nil, row))
		}
		rows[key] = h
	}
}

// plain is a row without its nulls.
func plain(t *testing.T, row []byte) string {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(row, &fields); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(fields, func(_ string, v json.RawMessage) bool { return string(v) == "null" })
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rows gives the records of a stream as the source reads them beside its lanes.
func (w *world) rows(stream string) map[string]bool {
	w.Helper()
	out := map[string]bool{}
	err := w.open().Scan(w.Context(), stream, sources.KeyRange{}, func(b *record.Batch) error {
		for row := range b.Rows {
			out[plain(w.T, b.AppendJSON(nil, row))] = true
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return out
}

// equal runs once more, and says what the sink and the collection differ in. Deletes are compared where the strategy sees them.
func (w *world) equal(stream string, deletes bool) {
	w.Helper()
	if err := w.run(); err != nil {
		w.Fatal(err)
	}
	want, got := w.rows(stream), map[string]bool{}
	for _, h := range w.sink[stream] {
		if h.row != "" {
			got[h.row] = true
		}
	}
	var missing, extra []string
	for row := range want {
		if !got[row] {
			missing = append(missing, row)
		}
	}
	for row := range got {
		if !want[row] {
			extra = append(extra, row)
		}
	}
	slices.Sort(missing)
	slices.Sort(extra)
	if len(missing) > 0 || deletes && len(extra) > 0 {
		w.Errorf("%s: %d of %d rows are missing, such as %s; %d are too many, such as %s", stream, len(missing), len(want),
			strings.Join(missing[:min(len(missing), 3)], "\n"), len(extra), strings.Join(extra[:min(len(extra), 3)], "\n"))
	}
}
