package mongodb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/mongodb"
	"github.com/acequia-io/acequia/internal/tabular"
	"github.com/acequia-io/acequia/record"
)

// collection is a collection that is read, whose stream has its name. One that is in Source.collections is not changed: a changed copy
// takes its place (Source.put), so that a reader sees one moment.
type collection struct {
	mongodb.Collection
	note    note
	drained bool          // its follower has given all there was
	err     error         // why it is stopped; the others go on
	anew    string        // why the next refresh reads it anew; "": nothing has asked for it
	nulls   *atomic.Int64 // documents without a time, see timeless
	indexed bool          // by the field of times
}

// note is what is kept of a collection between runs, under the key "collection " and its name.
type note struct {
	UUID     string             `json:"uuid,omitempty"`
	Epoch    uint16             `json:"epoch"` // incarnation of the stream: one more for each time it is read anew
	Strategy string             `json:"strategy"`
	Cursor   string             `json:"cursor,omitempty"` // where following begins: before the first read of the backfill
	Parts    []mongodb.KeyRange `json:"parts"`            // of the backfill
	Began    time.Time          `json:"began"`
	Declared bool               `json:"declared,omitempty"`
	Columns  []mongodb.Column   `json:"columns"` // declared, or sampled when it was begun
	Schema   *tabular.Columns   `json:"schema,omitempty"`
	Why      string             `json:"why,omitempty"`  // it was read anew for this reason
	Anew     string             `json:"anew,omitempty"` // it must be read anew, for this reason
}

func noteKey(stream string) string { return "collection " + stream }

// load reads what is kept of a collection; false: it is new.
func (s *Source) load(ctx context.Context, c *collection) (known bool, err error) {
	if s.state == nil {
		return false, nil
	}
	text, err := s.state.Load(ctx, noteKey(c.Name))
	if err != nil || text == nil {
		return false, err
	}
	c.note = note{}
	if err := json.Unmarshal(text, &c.note); err != nil {
		return false, &fault.Error{
			Code: "ACQ-MG-030", Place: c.Name, Err: fmt.Errorf("what is kept of the collection cannot be read: %w", err),
			Remedy: "restore the state file, or read the collection anew with: acequia state rewind",
		}
	}
	return true, nil
}

// put keeps the note, and puts a copy of the collection into its place. The caller holds noting.
func (s *Source) put(ctx context.Context, c *collection) error {
	text, err := json.Marshal(c.note)
	if err != nil {
		return fmt.Errorf("keep collection %s: %w", c.Name, err)
	}
	if err := s.state.Save(ctx, noteKey(c.Name), text); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections[c.Name] = new(*c)
	return nil
}

// change changes the note of an incarnation of a stream, durably. Of another incarnation nothing is changed. What do is given may be
// shared with collections that are read: what it points to is replaced, not changed.
func (s *Source) change(ctx context.Context, stream string, epoch uint16, do func(n *note) bool) error {
	s.noting.Lock()
	defer s.noting.Unlock()
	c := s.collection(stream)
	if c == nil || c.note.Epoch != epoch {
		return nil
	}
	next := new(*c)
	if !do(&next.note) {
		return nil
	}
	return s.put(ctx, next)
}

// mark changes what is asked of an incarnation of a stream in this process.
func (s *Source) mark(stream string, epoch uint16, do func(c *collection)) {
	s.noting.Lock() // else a note that is being kept would put back a copy from before
	defer s.noting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.collections[stream]; c != nil && c.note.Epoch == epoch {
		do(c)
	}
}

// mustBegin notes durably that a collection must be read anew, so that its lanes may end though not all of it was read.
func (s *Source) mustBegin(ctx context.Context, c *collection, why string) error {
	return s.change(ctx, c.Name, c.note.Epoch, func(n *note) bool {
		n.Anew = why
		return true
	})
}

// met notes the columns that a stream has, before the first record that has them.
func (s *Source) met(ctx context.Context, stream string, epoch uint16, schema *record.Schema) error {
	if now := s.collection(stream); now == nil || now.note.Schema.Has(schema) {
		return nil
	}
	return s.change(ctx, stream, epoch, func(n *note) (changed bool) {
		n.Schema, changed = n.Schema.With(schema)
		return changed
	})
}

// collection gives one as it was when the server was last asked; nil: it is gone.
func (s *Source) collection(stream string) *collection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.collections[stream]
}

// sorted gives the collections by their names; the caller holds the lock.
func (s *Source) sorted() []*collection {
	out := make([]*collection, 0, len(s.collections))
	for _, c := range s.collections {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *collection) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// layout says how documents become records now, on top of the columns that the stream has had.
func (s *Source) layout(c *collection) (*mongodb.Layout, error) {
	o := mongodb.LayoutOptions{Stream: c.Name, Columns: c.note.Columns, FailUnrepresentable: s.config.Unfit == "error"}
	var err error
	if o.Kept, err = c.note.Schema.Schema(c.Name); err != nil {
		return nil, fault.Stop(err)
	}
	return mongodb.NewLayout(o)
}

// errEmpty says that there is nothing yet to make columns of.
var errEmpty = fault.Retry(errors.New("the collection is empty, and its columns are not declared"))

// choose sets the columns of a collection: those that are declared, or those of a sample on top of those that it had.
func (s *Source) setColumns(ctx context.Context, c *collection) error {
	if declared := s.config.declared(c.Name); declared != nil {
		c.note.Columns, c.note.Declared = declared, true
		return nil
	}
	db, err := s.db()
	if err != nil {
		return err
	}
	docs, err := db.Sample(ctx, c.Name, s.config.Sample)
	if err != nil {
		return err
	}
	if len(docs) == 0 && len(c.note.Columns) == 0 {
		return errEmpty
	}
	guess := mongodb.Guess{Flatten: s.config.Documents == "flatten", Lists: s.config.Arrays == "list", Mixed: s.config.Mixed == "json"}
	sampled, err := guess.Columns(docs)
	if err != nil {
		return fault.Stop(err)
	}
	if c.note.Declared { // they were the owner's; what is sampled takes their place
		c.note.Columns, c.note.Declared = nil, false
	}
	for _, column := range sampled {
		if !slices.ContainsFunc(c.note.Columns, func(had mongodb.Column) bool { return had.Name == column.Name || covers(had.Path, column.Path) }) {
			c.note.Columns = append(c.note.Columns, column)
		}
	}
	return nil
}

// covers says whether one of two paths leads through the other.
func covers(a, b []string) bool {
	n := min(len(a), len(b))
	return slices.Equal(a[:n], b[:n])
}

// sayColumns tells which columns a collection has from now on.
func (s *Source) sayColumns(ctx context.Context, c *collection) {
	how := "sampled, and fixed now"
	if c.note.Declared {
		how = "declared"
	}
	var list []string
	for _, column := range c.note.Columns {
		list = append(list, strings.Join(column.Path, ".")+": "+column.Type)
	}
	s.log.InfoContext(ctx, "the columns of the collection", slog.String("collection", c.Name), slog.String("they_are", how),
		slog.String("columns", cmp.Or(strings.Join(list, ", "), "none but _id")))
}
