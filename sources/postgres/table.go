package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/internal/tabular"
)

// table is a table that is read. One that is in Source.tables is not changed: a changed copy takes its place (Source.publish), so
// that a reader sees one moment. Only what others ask of it, anew and drained, is set there.
type table struct {
	*postgres.Table
	stream  string
	source  string // as _source tells it
	note    note
	poller  poller    // nil: the log follows it, or nothing does
	drained bool      // its follower has given all there was
	err     error     // why it is stopped; the others go on
	anew    string    // why the next refresh reads it anew; "": nothing has asked for it
	server  identity  // where it is now
	facts   means     // as they were when its strategy was chosen
	found   *findings // by following it; shared by its copies
	waits   error     // why the log cannot give it yet
}

// note is what is kept of a table between runs, under the key "table " and its stream.
type note struct {
	OID      uint32           `json:"oid"`
	Epoch    uint16           `json:"epoch"` // incarnation of the stream: one more for each time it is read anew
	Strategy string           `json:"strategy,omitempty"`
	Cursor   string           `json:"cursor,omitempty"` // where following begins: before the first read of the backfill
	Parts    []part           `json:"parts,omitempty"`  // of the backfill; none: the table has no key, and is read as one snapshot
	Began    time.Time        `json:"began"`
	Done     time.Time        `json:"done,omitzero"`   // of a snapshot without a key: when it was complete, or was seen to be still right
	Rows     int64            `json:"rows,omitempty"`  // of it
	Since    uint64           `json:"since,omitempty"` // what transactions below it wrote is in it: the xmin of the server before it
	Shape    string           `json:"shape,omitempty"` // the catalog's then, of what changes rows without writing them
	Schema   *tabular.Columns `json:"schema,omitempty"`
	Log      *logJoin         `json:"log,omitempty"`
	Why      string           `json:"why,omitempty"`  // the table was read anew for this reason
	Anew     string           `json:"anew,omitempty"` // it must be read anew, for this reason
	Server   identity         `json:"server,omitzero"`
	Filenode uint32           `json:"filenode,omitempty"` // that parts of blocks are of
}

// part is a range of keys, above After and not above UpTo, as texts that the server reads back; or of the table's blocks. None: no
// bound.
type part struct {
	After []string `json:"after,omitempty"`
	UpTo  []string `json:"up_to,omitempty"`

	Blocks *blocks `json:"blocks,omitempty"`
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
			Code: "ACQ-PG-030", Place: t.stream, Err: fmt.Errorf("what is kept of the table cannot be read: %w", err),
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
func (s *Source) layout(t *table) (*postgres.Layout, error) {
	kept, err := t.note.Schema.Schema(t.stream)
	if err != nil {
		return nil, err
	}
	return postgres.NewLayout(t.Table, postgres.LayoutOptions{Stream: t.stream, Kept: kept, FailUnrepresentable: s.config.Unfit == "error"})
}

// again makes the next incarnation of a stream: the table is read anew, and what is gone from it goes from the sinks when all of
// it was read. The old lanes end nowhere: their names carry the epoch.
func (s *Source) again(ctx context.Context, c *postgres.Conn, t *table, why string) (err error) {
	if t.note.Epoch == 1<<16-1 {
		return &fault.Error{Code: "ACQ-PG-031", Place: t.stream, Err: errors.New("the table was read anew 65,535 times"), Remedy: "give it another name"}
	}
	before, asked, drained := t.note, t.anew, t.drained
	defer func() {
		if err != nil { // it may be had later; lanes of an incarnation that is not known would end, and be done for good
			t.note, t.anew, t.drained = before, asked, drained
		}
	}()
	t.anew, t.drained = "", false
	t.note = note{OID: t.OID, Epoch: before.Epoch + 1, Schema: before.Schema, Began: time.Now().UTC(), Why: why, Server: t.server}
	if why != "" {
		s.log.WarnContext(ctx, "the table is read anew", slog.Any("table", t), slog.String("reason", why))
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
	if t.note.Strategy == "" {
		if t.note.Since, err = since(ctx, c, t); err != nil {
			return err
		}
		if t.note.Shape, err = shape(ctx, c, t); err != nil {
			return err
		}
	}
	return s.save(ctx, t)
}
