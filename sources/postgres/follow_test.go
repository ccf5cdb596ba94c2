package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// newest is what a sink has of a key.
type newest struct {
	version record.Version
	row     string // JSON; "": deleted
}

// world is one pipeline over many runs: what is kept of it, and a sink that keeps the newest of each key.
type world struct {
	*testing.T
	config postgres.Config
	notes  *notes
	state  sources.State // instead of the notes
	ended  map[string]record.Position
	at     map[string]record.Position
	sink   map[string]map[string]newest
	cut    map[string]record.Version // of each stream's last TRUNCATE
	given  int                       // records that changes were given in
	chunk  int                       // rows of a chunk; 0: as outside tests
	page   int                       // and of a page

	refused []record.Refused

	unsettled bool // the process dies before it tells what is durable
	log       bytes.Buffer
	reached   record.Position // of the chunk that was applied last
	crash     func() bool     // whether the process dies now, with a chunk applied and its position not saved
}

func newWorld(t *testing.T, strategy string, sql ...string) *world {
	t.Helper()
	return &world{
		T: t, config: postgres.Config{DSN: config.Secret(server.Database(t, sql...)), Capture: postgres.Capture{Strategy: strategy, Every: 50 * time.Millisecond}},
		notes: newNotes(), ended: map[string]record.Position{}, at: map[string]record.Position{}, sink: map[string]map[string]newest{},
		cut: map[string]record.Version{}, crash: func() bool { return false },
	}
}

// install runs what a strategy needs.
func (w *world) install(r sources.InstallRequest) {
	w.Helper()
	s := open(w.T, w.config, w.notes)
	for range 2 { // the second time there is nothing to do
		statements, err := s.Install(w.Context(), r)
		if err == nil {
			err = s.Apply(w.Context(), statements, nil)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	if statements, err := s.Install(w.Context(), r); err != nil || len(statements) > 0 {
		w.Fatalf("to be installed again: %v, %v", statements, err)
	}
}

var errCrashed = errors.New("the process died")

// run reads all there is, as a process that drains does. A crash ends it early.
func (w *world) run() error {
	w.Helper()
	var state sources.State = w.notes
	if w.state != nil {
		state = w.state
	}
	s, err := postgres.New(w.config, sources.Host{Pipeline: "test", State: state, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	}()
	if w.chunk > 0 {
		postgres.Sizes(s, w.chunk, w.page)
	}
	s.Drain()
	read := map[string]bool{}
	for {
		lanes, err := s.Lanes(w.Context())
		if err != nil {
			return err
		}
		next := slices.IndexFunc(lanes, func(l sources.Lane) bool {
			_, done := w.ended[l.ID]
			return !read[l.ID] && (!done || l.Endless) && !slices.ContainsFunc(l.After, func(id string) bool {
				_, ended := w.ended[id]
				return !ended
			})
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
func (w *world) lane(s *postgres.Source, lane sources.Lane) (err error) {
	ctx, cancel := context.WithTimeout(w.Context(), time.Minute)
	defer cancel()
	r, err := s.Open(ctx, lane, w.at[lane.ID])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		chunk, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			w.ended[lane.ID] = w.at[lane.ID]
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
		w.reached = chunk.To
		if w.crash() {
			return errCrashed
		}
		if w.at[lane.ID] = chunk.To; w.unsettled {
			continue
		}
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
			for key, h := range rows {
				if h.version.Compare(version) < 0 {
					delete(rows, key)
				}
			}
			continue
		}
		var key strings.Builder
		for _, k := range b.Schema.Key {
			key.Write(record.AppendText(nil, &b.Schema.Fields[k], &b.Columns[k], row))
			key.WriteByte(0)
		}
		if have, ok := rows[key.String()]; ok && have.version.Compare(version) >= 0 || version.Compare(w.cut[stream]) < 0 {
			continue
		}
		h := newest{version: version}
		if b.System.Op(row) != record.Delete {
			h.row = string(b.AppendJSON(nil, row))
		}
		rows[key.String()] = h
	}
}

// differences compares the sink with the table, by the columns that the table has.
func (w *world) differences(stream string) (missing, extra []string) {
	w.Helper()
	s := open(w.T, w.config, w.notes)
	want, got, columns := map[string]bool{}, map[string]bool{}, map[string]bool{}
	plain := func(row string) string {
		var fields map[string]any
		if err := json.Unmarshal([]byte(row), &fields); err != nil {
			w.Fatal(err)
		}
		maps.DeleteFunc(fields, func(name string, v any) bool { return v == nil || len(columns) > 0 && !columns[name] })
		text, err := json.Marshal(fields)
		if err != nil {
			w.Fatal(err)
		}
		return string(text)
	}
	rows := rowsOf(w.T, s, stream, sources.KeyRange{})
	for _, row := range rows {
		want[plain(row)] = true
	}
	if len(rows) > 0 {
		table := pgx.Identifier(strings.SplitN(stream, ".", 2)).Sanitize()
		for _, name := range w.texts("SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass('" + table + "') AND attnum > 0 AND NOT attisdropped") {
			columns[name] = true
		}
	}
	for _, h := range w.sink[stream] {
		if h.row != "" {
			got[plain(h.row)] = true
		}
	}
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
	return missing, extra
}

// equal runs once more, and says what the sink and the table differ in. Deletes are compared where the strategy sees them.
func (w *world) equal(stream string, deletes bool) {
	w.Helper()
	if err := w.run(); err != nil {
		w.Fatal(err)
	}
	missing, extra := w.differences(stream)
	if len(missing) > 0 || deletes && len(extra) > 0 {
		w.Errorf("%s: %d rows are missing, such as %q; %d are too many, such as %q", stream, len(missing), missing[:min(len(missing), 3)], len(extra), extra[:min(len(extra), 3)])
	}
}

// epoch is the incarnation of a stream that was read last.
func (w *world) epoch(stream string) int {
	last := 0
	for id := range w.ended {
		var n int
		if _, err := fmt.Sscanf(strings.TrimPrefix(id, stream+"@"), "%d/", &n); err == nil {
			last = max(last, n)
		}
	}
	return last
}

// calm waits until all transactions that have begun before have ended, those of other tests too.
func (w *world) calm() {
	w.Helper()
	mine := w.texts("SELECT pg_current_xact_id()::text")[0]
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if w.texts("SELECT (pg_snapshot_xmin(pg_current_snapshot()) > '" + mine + "'::xid8)::text")[0] == "true" {
			return
		}
	}
}

// meanwhile lets a run go on while something is done: after a while, or when the run has ended before.
func (w *world) meanwhile(do func()) {
	w.Helper()
	done := make(chan error, 1)
	go func() { done <- w.run() }()
	late := time.NewTimer(1500 * time.Millisecond)
	defer late.Stop()
	var err error
	select {
	case err = <-done:
		do()
	case <-late.C:
		do()
		err = <-done
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) dsn() string { return string(w.config.DSN) }

func (w *world) exec(sql ...string) {
	w.Helper()
	server.Exec(w.T, w.dsn(), sql...)
}

const ordersSQL = `CREATE TABLE orders (id int8 PRIMARY KEY, v int8 NOT NULL, note text, updated_at timestamptz NOT NULL DEFAULT now())`

// touched sets updated_at in every write, as strategy time needs.
const touchedSQL = `CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := now(); RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
CREATE INDEX ON orders (updated_at, id)`

// strategies are those that poll, with what the test's table needs for each, and whether it sees deletes.
var strategies = []struct {
	name    string
	install bool
	deletes bool
}{{"xid", true, false}, {"queue", true, true}, {"xmin", false, false}, {"time", false, false}}

func each(t *testing.T, test func(w *world, deletes bool)) {
	t.Helper()
	for _, s := range strategies {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, s.name, ordersSQL, touchedSQL)
			w.config.Capture.Margin = 200 * time.Millisecond
			if s.install {
				w.install(sources.InstallRequest{Strategy: s.name})
			}
			test(w, s.deletes)
		})
	}
}

// A transaction that commits long after others that began later is not missed.
func TestLateCommit(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		w.exec("INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 20) i")
		late, early := w.session(), w.session()
		late.exec("BEGIN", "UPDATE orders SET v = 1 WHERE id = 1", "SAVEPOINT a", "UPDATE orders SET v = 1 WHERE id = 2", "RELEASE a")
		if w.config.Capture.Strategy == "xmin" || w.config.Capture.Strategy == "time" { // they wait for it
			early.exec("UPDATE orders SET v = 2 WHERE id = 3")
			w.meanwhile(func() { late.exec("COMMIT") })
		} else {
			w.equal("orders", deletes)
			early.exec("UPDATE orders SET v = 2 WHERE id = 3")
			w.equal("orders", deletes)
			late.exec("COMMIT")
		}
		w.equal("orders", deletes)
		if n := w.epoch("orders"); n != 1 {
			w.Errorf("the table was read %d times", n)
		}
	})
}

// The older transaction writes a row last, and its number is lower than that of the younger one: the number is no version.
func TestOldTransactionAfterYoungOne(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		w.exec("INSERT INTO orders (id, v) VALUES (1, 0)")
		w.equal("orders", deletes)
		old, young := w.session(), w.session()
		old.exec("BEGIN", "SELECT pg_current_xact_id()")
		young.exec("UPDATE orders SET v = 1 WHERE id = 1")
		if w.config.Capture.Strategy == "xid" || w.config.Capture.Strategy == "queue" {
			w.equal("orders", deletes)
		}
		old.exec("UPDATE orders SET v = 2 WHERE id = 1", "COMMIT")
		w.equal("orders", deletes)
	})
}

// Writers of many kinds, and a process that dies at random with a chunk applied and its position not saved.
func TestPollersLoseNothing(t *testing.T) {
	t.Parallel()
	each(t, func(w *world, deletes bool) {
		t := w.T
		w.exec("INSERT INTO orders (id, v) SELECT i, 0 FROM generate_series(1, 2000) i")
		r := rand.New(rand.NewPCG(1, 2))
		crashes := 0
		w.crash = func() bool {
			if r.IntN(4) == 0 {
				crashes++
				return true
			}
			return false
		}
		writers, over := context.WithTimeout(t.Context(), 4*time.Second)
		defer over()
		done := make(chan error)
		const many = 8
		for i := range many {
			conn := w.session().conn
			go func() { done <- write(writers, conn, rand.New(rand.NewPCG(3, uint64(i)))) }()
		}
		for writers.Err() == nil {
			if err := w.run(); err != nil && !errors.Is(err, errCrashed) {
				t.Fatal(err)
			}
		}
		for range many {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		w.crash = func() bool { return false }
		w.equal("orders", deletes)
		t.Logf("%d records of changes, %d crashes", w.given, crashes)
	})
}
