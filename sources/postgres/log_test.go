package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/postgres"
)

// image is what sinks make of what a source gave: of each key the newest record, and what truncates have taken.
type image struct {
	rows    map[string]map[string]kept // by stream and key
	cleared map[string]record.Version  // by stream: what is older is gone
	events  map[string]int             // how often each event was given
	ops     map[string]int
	refused []record.Refused
	absent  int // values that a record does not have
}

type kept struct {
	version record.Version
	deleted bool
	text    string
}

func newImage() *image {
	return &image{rows: map[string]map[string]kept{}, cleared: map[string]record.Version{}, events: map[string]int{}, ops: map[string]int{}}
}

// take applies a chunk.
func (m *image) take(t *testing.T, c record.Chunk) {
	t.Helper()
	m.refused = append(m.refused, c.Refused...)
	for _, b := range c.Batches {
		stream := b.Schema.Stream
		if m.rows[stream] == nil {
			m.rows[stream] = map[string]kept{}
		}
		for row := range b.Rows {
			op, version := b.System.Op(row), b.System.Versions.At(row)
			m.ops[stream+" "+op.String()]++
			if len(b.System.EventIDs.Offsets) > 0 {
				m.events[stream+" "+string(b.System.EventIDs.Text(row))]++
			}
			if op == record.Truncate {
				if version.Compare(m.cleared[stream]) > 0 {
					m.cleared[stream] = version
				}
				continue
			}
			for i := range b.Columns {
				if b.Columns[i].IsAbsent(row) {
					m.absent++
				}
			}
			var key []string
			for _, k := range b.Schema.Key {
				key = append(key, string(record.AppendText(nil, &b.Schema.Fields[k], &b.Columns[k], row)))
			}
			text := string(b.AppendJSON(nil, row))
			old, ok := m.rows[stream][strings.Join(key, "|")]
			if ok && version == old.version && (text != old.text || (op == record.Delete) != old.deleted) {
				t.Errorf("%s %v: two records of version %s: %s and %s", stream, key, version, old.text, text)
			}
			if !ok || version.Compare(old.version) > 0 {
				m.rows[stream][strings.Join(key, "|")] = kept{version: version, deleted: op == record.Delete, text: text}
			}
		}
	}
	c.Release()
}

// latest gives the newest record of each key, without what is gone.
func (m *image) latest(stream string) map[string]string {
	out := map[string]string{}
	for key, h := range m.rows[stream] {
		if !h.deleted && h.version.Compare(m.cleared[stream]) >= 0 {
			out[key] = h.text
		}
	}
	return out
}

// once checks that no event was given twice.
func (m *image) once(t *testing.T) {
	t.Helper()
	for id, n := range m.events {
		if n > 1 {
			t.Errorf("event %s was given %d times", id, n)
		}
	}
}

// pipeline is what an engine keeps of one: its state and the positions of its lanes.
type pipeline struct {
	config    postgres.Config
	state     *notes
	positions map[string]record.Position
	ended     map[string]bool
	image     *image
	shares    bool       // the server with other tests
	mu        sync.Mutex // of image and positions, where lanes are read side by side
}

func newPipeline(dsn string) *pipeline {
	c := postgres.Config{DSN: config.Secret(dsn)}
	c.Capture.Strategy = "log"
	return &pipeline{config: c, state: newNotes(), positions: map[string]record.Position{}, ended: map[string]bool{}, image: newImage()}
}

// database is the name of the database.
func (p *pipeline) database() string {
	dsn := string(p.config.DSN)
	return dsn[strings.LastIndexByte(dsn, '/')+1 : strings.IndexByte(dsn, '?')]
}

// name gives each test's slot and publication one of its own: slots are the server's, not the database's.
func (p *pipeline) name() *pipeline {
	p.config.Capture.Slot, p.shares = "acequia_"+p.database(), true
	return p
}

// stopAfter is the error of a run that is to die.
var errKilled = errors.New("killed")

// run reads all lanes until nothing is left, as `acequia run --until-idle` does. each may end it early, as a crash does: what it was
// given is applied and not settled.
func (p *pipeline) run(t *testing.T, each func(lane string, c record.Chunk) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := postgres.New(p.config, sources.Host{Pipeline: "test", State: p.state})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	s.Drain()
	done := map[string]bool{}
	var stopped error // lanes that ended for good; the others go on
	for {
		lanes, err := p.lanes(ctx, s)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(lanes, func(l sources.Lane) bool {
			return !done[l.ID] && (l.Endless || !p.ended[l.ID]) && !slices.ContainsFunc(l.After, func(id string) bool { return !p.ended[id] })
		})
		if i < 0 {
			return stopped
		}
		err = p.lane(ctx, t, s, lanes[i], each)
		if err != nil && (fault.Of(err) != fault.Fatal || errors.Is(err, errKilled)) {
			return fmt.Errorf("lane %s: %w", lanes[i].ID, err)
		}
		stopped = errors.Join(stopped, err)
		done[lanes[i].ID], p.ended[lanes[i].ID] = true, err == nil
	}
}

// lanes asks for them, again while a transaction of another test holds the slot up.
func (p *pipeline) lanes(ctx context.Context, s *postgres.Source) ([]sources.Lane, error) {
	for {
		lanes, err := s.Lanes(ctx)
		if !p.shares || fault.Code(err) != "ACQ-PG-062" || ctx.Err() != nil {
			return lanes, err
		}
	}
}

// lane reads one lane to its end.
func (p *pipeline) lane(ctx context.Context, t *testing.T, s *postgres.Source, l sources.Lane, each func(string, record.Chunk) error) (err error) {
	t.Helper()
	p.mu.Lock()
	at := p.positions[l.ID]
	p.mu.Unlock()
	r, err := s.Open(ctx, l, at)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if at != "" {
		if err := r.Settle(ctx, at, nil); err != nil {
			return err
		}
	}
	for {
		c, err := r.Read(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if each != nil {
			if err := each(l.ID, c); err != nil {
				c.Release()
				return err
			}
		}
		p.mu.Lock()
		p.image.take(t, c)
		p.positions[l.ID] = c.To
		p.mu.Unlock()
		if err := r.Settle(ctx, c.To, nil); err != nil {
			return err
		}
	}
}

// equal compares what the sinks have with what the database has, as JSON of the same columns.
func (p *pipeline) equal(t *testing.T, dsn, stream, sql string) {
	t.Helper()
	want := map[string]string{}
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	rows, err := c.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	var key, text string
	if _, err := pgx.ForEachRow(rows, []any{&key, &text}, func() error {
		want[key] = text
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	got := p.image.latest(stream)
	if maps.Equal(got, want) {
		return
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: the database has %.200s, the sinks %.200s", k, v, got[k])
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s: the sinks have %.200s, which is gone", k, v)
		}
	}
}

// publish installs what capture install would.
func (p *pipeline) publish(t *testing.T, dsn string, tables string) {
	t.Helper()
	server.Exec(t, dsn, "CREATE PUBLICATION "+p.config.Capture.Slot+" FOR TABLE "+tables+" WITH (publish_via_partition_root = true)")
}

// orders is SQL that gives the rows of the table orders as the sinks have them.
const orders = `SELECT id::text, format('{"id":%s,"name":%s}', id, coalesce(to_json(name)::text, 'null')) FROM orders`

func TestLogGivesWhatWasAndWhatChanges(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t, `CREATE TABLE orders (id int8 PRIMARY KEY, name text)`, `INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 25000) n`)
	p := newPipeline(dsn).name()
	p.publish(t, dsn, "orders")
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
	server.Exec(t, dsn, `UPDATE orders SET name = 'changed' WHERE id % 3 = 0`, `DELETE FROM orders WHERE id % 5 = 0`,
		`INSERT INTO orders VALUES (-1, NULL), (-2, '')`, `UPDATE orders SET id = 1000000 + id WHERE id < 100`,
		`BEGIN; INSERT INTO orders VALUES (-3, 'back'); ROLLBACK`,
		`BEGIN; INSERT INTO orders VALUES (-4, 'kept'); SAVEPOINT a; UPDATE orders SET name = 'lost' WHERE id = -4; ROLLBACK TO a; INSERT INTO orders VALUES (-5, 'kept'); COMMIT`,
		`BEGIN; INSERT INTO orders VALUES (-6, 'prepared'); PREPARE TRANSACTION '`+p.config.Capture.Slot+`'`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
	server.Exec(t, dsn, `COMMIT PREPARED '`+p.config.Capture.Slot+`'`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
	server.Exec(t, dsn, `TRUNCATE orders`, `INSERT INTO orders VALUES (7, 'after')`)
	if err := p.run(t, nil); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dsn, "orders", orders)
	p.image.once(t)
	t.Log(p.image.ops)
}
