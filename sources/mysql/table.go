package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mysql"
	"github.com/acequia-io/acequia/internal/tabular"
)

// table is a table that is read. One that is in Source.tables is not changed: a changed copy takes its place (Source.publish), so
// that a reader sees one moment. Only what others ask of it, anew and drained, is set there.
type table struct {
	*mysql.Table
	stream  string
	source  string // as _source tells it
	note    note
	poller  poller    // nil: nothing follows it
	drained bool      // its follower has given all there was
	err     error     // why it is stopped; the others go on
	anew    string    // why the next refresh reads it anew; "": nothing has asked for it
	facts   means     // as they were when its strategy was chosen
	found   *findings // by following it; shared by its copies
}

// note is what is kept of a table between runs, under the key "table " and its stream.
type note struct {
	File     string           `json:"file"`  // as fileOf gives it: another table, or another file of it, has another
	Epoch    uint16           `json:"epoch"` // incarnation of the stream: one more for each time it is read anew
	Strategy string           `json:"strategy,omitempty"`
	Cursor   string           `json:"cursor,omitempty"` // where following begins: before the first read of the backfill
	Log      *logJoin         `json:"log,omitempty"`    // strategy log: how it has joined
	Parts    []part           `json:"parts,omitempty"`  // of the backfill; none: the table has no key, and is read as one snapshot
	Began    time.Time        `json:"began"`
	Done     time.Time        `json:"done,omitzero"` // when it was last read whole
	Schema   *tabular.Columns `json:"schema,omitempty"`
	Why      string           `json:"why,omitempty"`    // the table was read anew for this reason
	Anew     string           `json:"anew,omitempty"`   // it must be read anew, for this reason
	Server   string           `json:"server,omitempty"` // that it is at
}

// part is a range of keys, above After and not above UpTo, as texts of mysql.Layout. None: no bound.
type part struct {
	After []string `json:"after,omitempty"`
	UpTo  []string `json:"up_to,omitempty"`
}

func noteKey(stream string) string { return "table " + stream }

// load reads what is kept of a table; false: it is new.
func (s *Source) load(ctx context.Context, t *table) (known bool, err error) {
	text, err := s.state.Load(ctx, noteKey(t.stream))
	if err != nil || text == nil {
		return false, err
	}
	t.note = note{}
	if err := json.Unmarshal(text, &t.note); err != nil {
		return false, &fault.Error{
			Code: "ACQ-MY-030", Place: t.stream, Err: fmt.Errorf("what is kept of the table cannot be read: %w", err),
			Remedy: "restore the state file, or read the table anew with: acequia state rewind",
		}
	}
	return true, nil
}

// save keeps the note, and puts a copy of the table into its place.
func (s *Source) save(ctx context.Context, t *table) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	return s.put(ctx, t)
}

// put is save for who holds noting.
func (s *Source) put(ctx context.Context, t *table) error {
	text, err := json.Marshal(t.note)
	if err != nil {
		return fmt.Errorf("keep table %s: %w", t.stream, err)
	}
	if err := s.state.Save(ctx, noteKey(t.stream), text); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tables[t.stream] = new(*t)
	return nil
}

// change changes the note of an incarnation of a stream, durably. Of another incarnation nothing is changed. What do is given may be
// shared with tables that are read: what it points to is replaced, not changed.
func (s *Source) change(ctx context.Context, stream string, epoch uint16, do func(n *note) bool) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	next, old := s.copyOf(stream)
	if old.Table == nil || old.note.Epoch != epoch || !do(&next.note) {
		return nil
	}
	return s.put(ctx, next)
}

// layout says how rows become records now: the columns that the table has, on top of those that the stream has had.
func (s *Source) layout(t *table) (*mysql.Layout, error) {
	kept, err := t.note.Schema.Schema(t.stream)
	if err != nil {
		return nil, err
	}
	o := s.layoutOptions(t.Table)
	o.Kept = kept
	return mysql.NewLayout(t.Table, o)
}

func (s *Source) layoutOptions(t *mysql.Table) mysql.LayoutOptions {
	return mysql.LayoutOptions{Stream: t.Stream(), FailUnrepresentable: s.config.Unfit == "error"}
}

// again makes the next incarnation of a stream: the table is read anew, and what is gone from it goes from the sinks when all of
// it was read. The old lanes end nowhere: their names carry the epoch.
func (s *Source) again(ctx context.Context, c *mysql.Conn, t *table, why string) (err error) {
	if t.note.Epoch == 1<<16-1 {
		return &fault.Error{Code: "ACQ-MY-031", Place: t.stream, Err: errors.New("the table was read anew 65,535 times"), Remedy: "give it another name"}
	}
	s.feed.gate.Lock()
	defer s.feed.gate.Unlock()
	s.feed.turn++
	before, asked, drained := t.note, t.anew, t.drained
	defer func() {
		if err != nil { // it may be had later; lanes of an incarnation that is not known would end, and be done for good
			t.note, t.anew, t.drained = before, asked, drained
		}
	}()
	t.anew, t.drained = "", false
	t.note = note{Epoch: before.Epoch + 1, Schema: before.Schema, Began: time.Now().UTC(), Why: why, Server: s.server.Identity}
	if why != "" {
		s.log.WarnContext(ctx, "the table is read anew", slog.Any("table", t), slog.String("reason", why))
	}
	if t.note.File, err = s.fileOf(ctx, c, t.Table); err != nil {
		return err
	}
	if err := s.choose(ctx, c, t); err != nil {
		return err
	}
	if t.err != nil {
		err, t.err = t.err, nil
		return err
	}
	layout, err := s.layout(t)
	if err != nil {
		return err
	}
	t.note.Schema, _ = t.note.Schema.With(layout.Schema)
	if err := s.split(ctx, c, t); err != nil {
		return err
	}
	return s.save(ctx, t)
}
