package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/postgres"
	"github.com/acequia-io/acequia/record"
)

// table is a table that is read.
type table struct {
	*postgres.Table
	stream  string
	source  string // as _source tells it
	note    note
	poller  poller        // nil: the log follows it, or nothing does
	drained bool          // its follower has given all there was
	err     error         // why it is stopped; the others go on
	anew    string        // why the next refresh reads it anew; "": nothing has asked for it
	facts   means         // as they were when its strategy was chosen
	nulls   *atomic.Int64 // time: rows that have none
	waits   error         // why the log cannot give it yet
}

// note is what is kept of a table between runs, under the key "table " and its stream.
type note struct {
	OID      uint32      `json:"oid"`
	Epoch    uint16      `json:"epoch"` // incarnation of the stream: one more for each time it is read anew
	Strategy string      `json:"strategy,omitempty"`
	Cursor   string      `json:"cursor,omitempty"` // where following begins: before the first read of the backfill
	Parts    []part      `json:"parts,omitempty"`  // of the backfill; none: the table has no key, and is read as one snapshot
	Began    time.Time   `json:"began"`
	Done     time.Time   `json:"done,omitzero"` // of a snapshot without a key: when it was complete
	Schema   *keptSchema `json:"schema,omitempty"`
	Log      *logJoin    `json:"log,omitempty"`
	Why      string      `json:"why,omitempty"`     // the table was read anew for this reason
	Rewound  string      `json:"rewound,omitempty"` // why the next run reads it anew; "": it does not
}

// part is a range of keys: above After and not above UpTo, as texts that the server reads back; none: no bound.
type part struct {
	After []string `json:"after,omitempty"`
	UpTo  []string `json:"up_to,omitempty"`
}

// keptSchema is the columns that a stream has had.
type keptSchema struct {
	Key    []string       `json:"key,omitempty"`
	Fields []record.Field `json:"fields"`
}

func keep(s *record.Schema) *keptSchema { return &keptSchema{Key: s.KeyNames(), Fields: s.Fields} }

// schema gives the columns back; nil where none were kept.
func (k *keptSchema) schema(stream string) (*record.Schema, error) {
	if k == nil {
		return nil, nil //nolint:nilnil // said above
	}
	return record.NewSchema(stream, k.Key, k.Fields...)
}

func noteKey(stream string) string { return "table " + stream }

// load reads what is kept of a table; false: it is new.
func (s *Source) load(ctx context.Context, t *table) (known bool, err error) {
	text, err := s.state.Load(ctx, noteKey(t.stream))
	if err != nil || text == nil {
		return false, err
	}
	if err := json.Unmarshal(text, &t.note); err != nil {
		return false, &fault.Error{
			Code: "ACQ-PG-030", Place: t.stream, Err: fmt.Errorf("what is kept of the table cannot be read: %w", err),
			Remedy: "restore the state file, or read the table anew with: acequia state rewind",
		}
	}
	return true, nil
}

// save keeps the note.
func (s *Source) save(ctx context.Context, t *table) error {
	text, err := json.Marshal(t.note)
	if err != nil {
		return fmt.Errorf("keep table %s: %w", t.stream, err)
	}
	return s.state.Save(ctx, noteKey(t.stream), text)
}

// layout says how rows become records now: the columns that the table has, on top of those that the stream has had.
func (s *Source) layout(t *table) (*postgres.Layout, error) {
	kept, err := t.note.Schema.schema(t.stream)
	if err != nil {
		return nil, err
	}
	return postgres.NewLayout(t.Table, postgres.LayoutOptions{Stream: t.stream, Kept: kept, FailUnrepresentable: s.config.Unfit == "error"})
}

// again makes the next incarnation of a stream: the table is read anew, and what is gone from it goes from the sinks when all of
// it was read. The old lanes end nowhere: their names carry the epoch.
func (s *Source) again(ctx context.Context, c *postgres.Conn, t *table, why string) error {
	if t.note.Epoch == 1<<16-1 {
		return &fault.Error{Code: "ACQ-PG-031", Place: t.stream, Err: errors.New("the table was read anew 65,535 times"), Remedy: "give it another name"}
	}
	before := t.note
	t.anew, t.drained = "", false
	t.note = note{OID: t.OID, Epoch: before.Epoch + 1, Schema: before.Schema, Began: time.Now().UTC(), Why: why}
	if why != "" {
		s.log.WarnContext(ctx, "the table is read anew", "table", t.Quoted(), "reason", why)
	}
	if err := s.choose(ctx, c, t); err != nil {
		return err
	}
	if t.err != nil { // it may be had later
		t.note = before
		return nil
	}
	if err := s.split(ctx, c, t); err != nil {
		return err
	}
	return s.save(ctx, t)
}
