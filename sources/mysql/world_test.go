package mysql_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
	"github.com/acequia-io/acequia/sources/mysql"
)

// newest is what a sink has of a key.
type newest struct {
	version record.Version
	row     string // JSON; "": deleted
}

// world is one pipeline over many runs: what is kept of it, and a sink that keeps the newest of each key.
type world struct {
	*testing.T
	database string
	config   mysql.Config
	notes    *notes
	state    sources.State // instead of the notes
	ended    map[string]record.Position
	at       map[string]record.Position
	sink     map[string]map[string]newest
	cut      map[string]record.Version // of each stream's last TRUNCATE
	given    int                       // records that changes were given in
	chunk    int                       // rows of a chunk; 0: as outside tests
	page     int                       // and of a page

	refused []record.Refused

	unsettled bool // the process dies before it tells what is durable
	log       bytes.Buffer
	crash     func() bool // whether the process dies now, with a chunk applied and its position not saved
}

func newWorld(t *testing.T, strategy string, sql ...string) *world {
	t.Helper()
	w := &world{
		T: t, database: server.Database(t, sql...), config: mysql.Config{Capture: mysql.Capture{Strategy: strategy, Every: 50 * time.Millisecond}},
		notes: newNotes(), ended: map[string]record.Position{}, at: map[string]record.Position{}, sink: map[string]map[string]newest{},
		cut: map[string]record.Version{}, crash: func() bool { return false },
	}
	w.config.DSN = config.Secret(server.DSN(w.database))
	return w
}

func (w *world) exec(sql ...string) {
	w.Helper()
	server.Exec(w.T, w.database, sql...)
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
	s, err := mysql.New(w.config, sources.Host{Pipeline: "test", State: state, Log: slog.New(slog.NewTextHandler(&w.log, nil))})
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	}()
	if w.chunk > 0 {
		mysql.Sizes(s, w.chunk, w.page)
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
func (w *world) lane(s *mysql.Source, lane sources.Lane) (err error) {
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
	rows := rowsOf(w.T, s, stream)
	for _, row := range rows {
		want[plain(row)] = true
	}
	for _, row := range rows { // a column that the table has no more is not compared
		var fields map[string]any
		if err := json.Unmarshal([]byte(row), &fields); err != nil {
			w.Fatal(err)
		}
		for name := range fields {
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

// rowsOf reads a stream as it stands.
func rowsOf(t *testing.T, s *mysql.Source, stream string) (rows []string) {
	t.Helper()
	err := s.Scan(t.Context(), stream, sources.KeyRange{}, func(b *record.Batch) error {
		for row := range b.Rows {
			rows = append(rows, string(b.AppendJSON(nil, row)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}
