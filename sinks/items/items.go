// Package items writes records into item tables, embedded ones or DynamoDB's, idempotent by version: a copy of the same or a newer
// version stays.
package items

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Table says how the records of one stream become items.
type Table struct {
	Name      string            `yaml:"name" doc:"Name of the table; default: the stream's."`                       // default: the name of the stream
	Indexes   []itemstore.Index `yaml:"indexes" doc:"Secondary indexes."`                                           // secondary indexes
	TTL       time.Duration     `yaml:"ttl" doc:"Items go away this long after they were written; default: never."` // items go away this long after they were written; 0: never
	NoChanges bool              `yaml:"no_changes" doc:"Writes do not enter the change log."`                       // writes do not enter the change log
}

// Config of the sink.
type Config struct {
	Path   string           `yaml:"path" doc:"File of the items; default items.db in the folder of the state."`
	Tables map[string]Table `yaml:"tables" doc:"Settings by stream; others get a table of their own name."` // by stream; a stream that is not named gets a table of its own name
	Batch  int              `yaml:"batch" doc:"Items that are written in one transaction; default 1000."`
	Only   bool             `yaml:"only" doc:"Only the streams under tables become items; the others are left out."`

	URL         string             `yaml:"url" doc:"dynamodb:// for tables of DynamoDB, which must be there; default: the embedded store."`
	AWS         awsconfig.Settings `yaml:"aws" doc:"Where DynamoDB is."`
	Concurrency int                `yaml:"concurrency" doc:"Items that are written to DynamoDB at the same time; default 32."`
	Tombstones  time.Duration      `yaml:"tombstones" doc:"How long DynamoDB remembers that an item was deleted, so that no older copy comes back; default 168h."`
	Bulk        bool               `yaml:"bulk" doc:"The first load of an empty table of DynamoDB is written 25 items a call; nobody else may write the table meanwhile."`
}

// Locate lets a relative path start at a folder.
func (c *Config) Locate(folder string) {
	if c.Path != "" && !filepath.IsAbs(c.Path) {
		c.Path = filepath.Join(folder, c.Path)
	}
}

// File is the file of the items; "": that of the state.
func (c *Config) File() string { return c.Path }

// dynamoURL is the URL of the tables of DynamoDB.
const dynamoURL = "dynamodb://"

// Dynamo says how tables of DynamoDB are written, and whether they are meant.
func (c *Config) Dynamo() (itemstore.DynamoOptions, bool) {
	return itemstore.DynamoOptions{AWS: c.AWS, Concurrency: c.Concurrency, Tombstones: c.Tombstones, Bulk: c.Bulk}, c.URL == dynamoURL
}

// Sink writes into an item store.
type Sink struct {
	config     Config
	store      itemstore.Items
	log        *slog.Logger
	superseded atomic.Int64
	leftOut    sync.Map // streams without a key that were told
}

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Describer = (*Sink)(nil)
	_ sinks.Holder    = (*writer)(nil)
)

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "items", Server: "dynamodb", Doc: "Item tables in the embedded store or in DynamoDB, written by version.",
		Items:  true,
		Config: func() any { return &Config{} },
		Check:  check,
		Plan:   plan,
		New: func(_ context.Context, config any, host sinks.Host) (sinks.Sink, error) {
			c, ok := config.(*Config)
			if !ok || host.Items == nil {
				return nil, fault.Stop(errors.New("items: a *items.Config and an item store are needed"))
			}
			return New(*c, host.Items, host.Log), nil
		},
	}
}

// formKeys is the stream of the answers that a form has given under keys; they are kept for two days, and interest nobody
// else.
const formKeys = "form_keys"

// New makes the sink over a store, which stays the caller's.
func New(c Config, store itemstore.Items, log *slog.Logger) *Sink {
	return &Sink{config: c, store: store, log: log}
}

// table gives the settings of a stream, with their defaults.
func (c *Config) table(stream string) Table {
	t, set := c.Tables[stream]
	if !set && stream == formKeys {
		t = Table{TTL: 48 * time.Hour, NoChanges: true}
	}
	t.Name = cmp.Or(t.Name, stream)
	return t
}

// Takes says whether the records of a stream become items, if they have a key.
func (c *Config) Takes(stream string) bool {
	_, set := c.Tables[stream]
	return set || !c.Only
}

// TableOf is the table that the records of a stream go to, and whether its changes can be read; "": they go to none.
func (c *Config) TableOf(stream string) (name string, changes bool) {
	if !c.Takes(stream) {
		return "", false
	}
	t := c.table(stream)
	return t.Name, !t.NoChanges
}

// Declare makes the tables. Streams without a key are left out, and refused when there are no others.
func (s *Sink) Declare(ctx context.Context, schemas []*record.Schema) error {
	schemas = s.config.taken(schemas)
	if len(schemas) > 0 && !slices.ContainsFunc(schemas, keyed) {
		return keyless(schemas[0])
	}
	for _, schema := range schemas {
		if !keyed(schema) {
			s.leaveOut(ctx, schema.Stream)
			continue
		}
		if err := s.store.Define(ctx, s.config.declared(schema)); err != nil {
			return fmt.Errorf("declare items: %w", err)
		}
	}
	return nil
}

// declared is the table of a stream as stores know it.
func (c *Config) declared(schema *record.Schema) itemstore.Table {
	t := c.table(schema.Stream)
	return itemstore.Table{Name: t.Name, Schema: schema, Indexes: t.Indexes, NoChanges: t.NoChanges}
}

// Stored are the tables that records of the schemas are kept in, those of streams without a key left out.
func (c *Config) Stored(in []*record.Schema) (out []itemstore.Table) {
	for _, s := range c.taken(in) {
		if keyed(s) {
			out = append(out, c.declared(s))
		}
	}
	return out
}

// taken are the schemas of the streams that become items.
func (c *Config) taken(in []*record.Schema) []*record.Schema {
	return slices.DeleteFunc(slices.Clone(in), func(s *record.Schema) bool { return !c.Takes(s.Stream) })
}

func keyless(schema *record.Schema) error {
	return &fault.Error{
		Class: fault.Fatal, Code: "ACQ-ITEMS-010", Place: schema.Stream, Err: errors.New("records without a key cannot be items"),
		Remedy: "declare the key of the stream, or leave the stream out of this sink",
	}
}

// leaveOut tells once that a stream has no key.
func (s *Sink) leaveOut(ctx context.Context, stream string) {
	if _, told := s.leftOut.LoadOrStore(stream, true); !told {
		s.log.WarnContext(ctx, "stream is left out of items: no key", slog.String("stream", stream))
	}
}

// Superseded counts the writes that found a copy of the same or a newer version.
func (s *Sink) Superseded() int64 { return s.superseded.Load() }

// Open makes the writer of one incarnation of a lane.
func (s *Sink) Open(context.Context, sinks.Lane) (sinks.Writer, error) {
	return &writer{sink: s, declared: map[shape]bool{}}, nil
}

// Close does nothing: the store belongs to the program.
func (s *Sink) Close(context.Context) error { return nil }

// writer buffers the puts of the open group.
type writer struct {
	sink     *Sink
	declared map[shape]bool // of some sources schemas are known when they come, and they change
	puts     puts
	whole    bool              // they are one transaction, however many
	answers  map[string]uint32 // of form keys in the open group, by the event they have in common with their item: see itemstore.Put
	held     int
	block    []byte   // documents are encoded one after the other into blocks
	cut      *staging // the group before, which may not be stored yet
	pending  *pending // what the puts of both groups make of each key; nil: nobody has asked
}

// shape is a schema of a stream.
type shape struct {
	stream string
	id     uint64
}

const (
	blockBytes = 64 << 10 // the largest block of documents; a group's first is small
	usualDoc   = 1 << 10  // what a block should have room for before a document is begun
	putBytes   = 128      // what a put holds beside its document and key
)

// Write turns the rows into puts. A row without a key, or over DynamoDB's limits, is refused; a stream without a key is
// left out, for what is known beforehand is refused by check.
func (w *writer) Write(ctx context.Context, b *record.Batch) error {
	if !w.sink.config.Takes(b.Schema.Stream) {
		return nil
	}
	if !keyed(b.Schema) {
		w.sink.leaveOut(ctx, b.Schema.Stream)
		return nil
	}
	if known := (shape{b.Schema.Stream, b.Schema.ID()}); !w.declared[known] {
		if err := w.sink.Declare(ctx, []*record.Schema{b.Schema}); err != nil {
			return err
		}
		w.declared[known] = true
	}
	w.whole = w.whole || b.Schema.Stream == formKeys // the item of a form and the key of its request stand or fall together
	t := w.sink.config.table(b.Schema.Stream)
	var expires int64
	if t.TTL > 0 {
		expires = time.Now().Add(t.TTL).Unix()
	}
	before, size := w.puts.n, w.sink.batch()
	held := 0
	var bad fault.Rows
	for row := range b.Rows {
		p := itemstore.Put{Table: t.Name, Version: b.System.Versions.At(row), Op: b.System.Op(row), Expires: expires, Schema: b.Schema}
		refused := w.encode(&p, b, row)
		if refused == nil {
			var err error
			if refused, err = w.keep(ctx, &p, b, row); err != nil {
				return err
			}
		}
		if refused != nil {
			bad.Bad = append(bad.Bad, *refused)
			continue
		}
		p.Together = w.together(b, row)
		p.IfAbsent = b.Schema.Stream == formKeys && p.Op == record.Insert // who comes second under a key gets the answer of the first
		held += len(p.Doc) + len(p.Key) + putBytes
		w.puts.add(p, size)
		w.pending.add(&p)
	}
	if err := bad.Or(); err != nil {
		w.puts.cut(before)
		w.pending = nil
		return err
	}
	w.held += held
	return nil
}

// together numbers the answer under a key of a form, and gives the item of the same event, which comes after it, the same number.
func (w *writer) together(b *record.Batch, row int) uint32 {
	ids := &b.System.EventIDs
	if !w.whole || len(ids.Offsets) == 0 || !ids.IsValid(row) {
		return 0
	}
	event := ids.Text(row)
	if n, known := w.answers[string(event)]; known || b.Schema.Stream != formKeys {
		return n
	}
	if w.answers == nil {
		w.answers = map[string]uint32{}
	}
	n := uint32(len(w.answers)) + 1 //nolint:gosec // a group has fewer
	w.answers[string(event)] = n
	return n
}

// encode gives a put its key and its document, or says what is wrong with the row.
func (w *writer) encode(p *itemstore.Put, b *record.Batch, row int) *fault.Row {
	if p.Op == record.Truncate {
		return nil
	}
	key, err := Key(b, row)
	if err != nil {
		return &fault.Row{Index: row, Err: err}
	}
	if p.Key = key; p.Op == record.Delete {
		return w.fit(p, b, row)
	}
	if cap(w.block)-len(w.block) < usualDoc {
		w.block = make([]byte, 0, min(blockBytes, max(2*cap(w.block), 8*usualDoc)))
	}
	start := len(w.block)
	w.block = b.AppendJSON(w.block, row)
	p.Doc = w.block[start:len(w.block):len(w.block)]
	return w.fit(p, b, row)
}

// fit says why the store can never hold the row.
func (w *writer) fit(p *itemstore.Put, b *record.Batch, row int) *fault.Row {
	err := w.sink.store.Fit(p, b, row)
	if err == nil {
		return nil
	}
	if of, ok := errors.AsType[*record.ColumnError](err); ok {
		return &fault.Row{Index: row, Column: of.Column, Err: of.Err}
	}
	return &fault.Row{Index: row, Err: err}
}

// Key gives the key of a row as item tables hold it: a single text column is the key itself, other keys are the JSON
// array of their values.
func Key(b *record.Batch, row int) (string, error) {
	keys := b.Schema.Key
	for _, k := range keys {
		if !b.Columns[k].IsValid(row) {
			return "", fmt.Errorf("the key column %s is null", b.Schema.Fields[k].Name)
		}
	}
	var key string
	if len(keys) == 1 && b.Schema.Fields[keys[0]].Kind == record.String {
		key = string(b.Columns[keys[0]].Text(row))
	} else {
		dst := []byte{'['}
		for i, k := range keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = b.AppendValueJSON(dst, k, row)
		}
		key = string(append(dst, ']'))
	}
	if key == "" || len(key) > itemstore.MaxKey {
		return "", fmt.Errorf("the key has %d bytes, possible are 1 to %d", len(key), itemstore.MaxKey)
	}
	return key, nil
}

// Held is the memory of the open group's puts.
func (w *writer) Held() int { return w.held }

// Cut hands the puts of the group over.
func (w *writer) Cut(sinks.Group) sinks.Staging {
	if w.whole {
		w.puts.whole()
	}
	w.cut = &staging{sink: w.sink, pieces: w.puts.pieces}
	w.puts, w.block, w.held, w.pending, w.whole, w.answers = puts{}, nil, 0, nil, false, nil
	return w.cut
}

// Publish does nothing: the writes of Stage are visible, and idempotent.
func (w *writer) Publish(context.Context, sinks.Manifest) error { return nil }

// Close forgets the open group.
func (w *writer) Close(context.Context) error {
	w.puts, w.block, w.held, w.cut, w.pending, w.answers = puts{}, nil, 0, nil, nil, nil
	return nil
}

type staging struct {
	sink *Sink
	done atomic.Bool // they are stored

	mu     sync.Mutex
	pieces [][]itemstore.Put // each is a transaction; nil: it is stored
}

// usualBatch is how many items one transaction has, so that other callers of the store do not wait long.
const usualBatch = 1000

func (s *Sink) batch() int { return cmp.Or(s.config.Batch, usualBatch) }

// Stage writes the group, a batch at a time: what a crash leaves of it is written again, by version. Only what a truncate
// deletes goes after its batch.
func (s *staging) Stage(ctx context.Context) (sinks.Manifest, error) {
	for i, piece := range s.pieces {
		if err := s.write(ctx, piece); err != nil {
			return sinks.Manifest{}, err
		}
		s.mu.Lock()
		s.pieces[i] = nil
		s.mu.Unlock()
	}
	s.done.Store(true)
	return sinks.Manifest{}, nil
}

// eachLeft does f for each piece that may not be stored yet.
func (s *staging) eachLeft(f func(puts []itemstore.Put)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, piece := range s.pieces {
		f(piece)
	}
}

func (s *staging) write(ctx context.Context, puts []itemstore.Put) error {
	outcomes, err := s.sink.store.Write(ctx, puts)
	for i, o := range outcomes {
		switch o {
		case itemstore.Superseded:
			s.sink.superseded.Add(1)
		case itemstore.Missing: // it was there when the row came: read again, the row is refused
			err = fault.Retry(fmt.Errorf("item %s of %s has gone, and the update lacks columns", puts[i].Key, puts[i].Table))
		case itemstore.Written, itemstore.Exists:
		}
	}
	return err
}
