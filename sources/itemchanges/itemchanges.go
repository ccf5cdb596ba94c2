// Package itemchanges reads the change log of an embedded items table, as DynamoDB Streams are read.
package itemchanges

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

// A chunk ends at so many changes, or so many bytes of documents.
const (
	maxRows  = 10_000
	maxBytes = 4 << 20
)

// together is how long changes that come one by one are left to gather: each read has a price, however little it finds.
const together = 50 * time.Millisecond

// errEnough ends the gathering of a chunk.
var errEnough = errors.New("the chunk is full")

var errClosed = errors.New("the reader of item changes is closed")

// Source reads one table: one lane, whose positions are sequences of the log in decimal.
type Source struct {
	config Config
	store  *itemstore.Store

	mu       sync.Mutex
	position int64 // settled by this process, for Lag
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ sources.Lagger    = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "itemchanges", Doc: "The ordered changes of an embedded items table.",
		Items:  true,
		Config: func() any { return &Config{} },
		Schemas: func(_ context.Context, settings any) ([]*record.Schema, error) {
			c, ok := settings.(*Config)
			if !ok {
				return nil, errOtherSettings
			}
			schema, err := c.schema()
			if schema == nil || err != nil {
				return nil, err
			}
			return []*record.Schema{schema}, nil
		},
		Plan: func(_ context.Context, settings any) []string {
			c, ok := settings.(*Config)
			if !ok {
				return nil
			}
			return []string{"reads the changes of the items table " + c.Table + " in the order of their commits"}
		},
		New: func(_ context.Context, settings any, host sources.Host) (sources.Source, error) {
			c, ok := settings.(*Config)
			store, embedded := host.Items.(*itemstore.Store)
			if host.Items != nil && !embedded {
				return nil, errNotEmbedded
			}
			if !ok || !embedded || c.Table == "" {
				return nil, errOtherSettings
			}
			own := *c // two pipelines may read the table, each by its own name
			var err error
			if own.Schema, err = c.schema(); err != nil {
				return nil, fault.Stop(err)
			}
			if own.Schema == nil {
				return nil, errNoSchema
			}
			own.Reader = cmp.Or(own.Reader, host.Pipeline)
			return New(own, store), nil
		},
	}
}

// New makes the source over a store, which stays the caller's.
func New(c Config, store *itemstore.Store) *Source { return &Source{config: c, store: store} }

// Lanes gives the one lane of the table.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: s.config.Table, Streams: []string{s.config.Schema.Stream}, Replayable: true}}, nil
}

// Describe gives the schema of the documents.
func (s *Source) Describe(context.Context) ([]*record.Schema, error) {
	return []*record.Schema{s.config.Schema}, nil
}

// Lag counts the changes that are not settled.
func (s *Source) Lag(ctx context.Context) (sources.Lag, error) {
	s.mu.Lock()
	at := s.position
	s.mu.Unlock()
	n, oldest, err := s.store.Pending(ctx, s.config.Table, at)
	lag := sources.Lag{Records: n}
	if n > 0 {
		lag.Age = max(0, time.Since(oldest))
	}
	return lag, err
}

// Open starts after a sequence. Changes that were trimmed before it are gone: that is a fatal error, not a gap.
func (s *Source) Open(ctx context.Context, _ sources.Lane, from record.Position) (sources.Reader, error) {
	after, err := parse(from)
	if err != nil {
		return nil, err
	}
	// The sink that writes the table may start later.
	if err := s.store.Define(ctx, itemstore.Table{Name: s.config.Table, Schema: s.config.Schema}); err != nil {
		return nil, fmt.Errorf("open changes of %s: %w", s.config.Table, err)
	}
	if err := s.store.Register(ctx, s.config.Reader, s.config.Table, after); err != nil {
		return nil, fmt.Errorf("open changes of %s: %w", s.config.Table, err)
	}
	s.settled(after)
	return &reader{source: s, after: after, closed: make(chan struct{})}, nil
}

func parse(p record.Position) (int64, error) {
	if p == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(string(p), 10, 64)
	if err != nil || n < 0 {
		return 0, fault.Stop(fmt.Errorf("position %q is no sequence of a change log", p))
	}
	return n, nil
}

func (s *Source) settled(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.position = max(s.position, at)
}

type reader struct {
	source *Source
	after  int64     // last change given
	next   time.Time // when the log is worth another look
	once   sync.Once
	closed chan struct{}
}

// Read waits for changes and gives them as one batch.
func (r *reader) Read(ctx context.Context) (record.Chunk, error) {
	for {
		if err := r.gather(ctx); err != nil {
			return record.Chunk{}, err
		}
		changed := r.source.store.Changed(r.source.config.Table) // before the look, so that nothing is missed
		b, err := r.batch(ctx)
		if err != nil {
			return record.Chunk{}, err
		}
		if b != nil {
			if b.Rows < maxRows {
				r.next = time.Now().Add(together)
			}
			return record.Chunk{Batches: []*record.Batch{b}, To: record.Position(strconv.FormatInt(r.after, 10)), ReadAt: time.Now()}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
		case <-r.closed:
		}
	}
}

// gather waits until the log is worth a look.
func (r *reader) gather(ctx context.Context) error {
	timer := time.NewTimer(time.Until(r.next))
	defer timer.Stop()
	select {
	case <-r.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	default:
	}
	select {
	case <-timer.C:
		return nil
	case <-r.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// batch reads what is there now; nil when there is nothing.
func (r *reader) batch(ctx context.Context) (*record.Batch, error) {
	table := r.source.config.Table
	b := record.NewBuilder(r.source.config.Schema, 0)
	sys := b.System()
	*sys = record.System{Source: "items." + table, IngestTime: time.Now().UnixMicro()}
	last, held := r.after, 0
	var id []byte
	err := r.source.store.Changes(ctx, table, r.after, maxRows, func(c *itemstore.Change) error {
		doc := c.New
		if c.Op == record.Delete {
			doc = c.Old
		}
		if err := b.AppendJSON(doc); err != nil {
			return &fault.Error{
				Code: "ACQ-ITEMS-011", Place: fmt.Sprintf("%s, key %s, change %d", table, c.Key, c.Seq), Err: err,
				Remedy: "the document does not fit the declared schema: declare the columns that it has, as nullable",
			}
		}
		id = strconv.AppendInt(append(append(id[:0], table...), ':'), c.Seq, 10)
		sys.Ops = append(sys.Ops, c.Op)
		sys.EventIDs.AppendText(id)
		sys.EventTimes = append(sys.EventTimes, c.At.UnixMicro())
		v := &sys.Versions
		v.Epoch = c.Version.Epoch
		v.Hi, v.Lo, v.Index = append(v.Hi, c.Version.Hi), append(v.Lo, c.Version.Lo), append(v.Index, c.Version.Index)
		last = c.Seq
		if held += len(doc); held >= maxBytes {
			return errEnough
		}
		return nil
	})
	cut := errors.Is(err, errEnough) || ctx.Err() != nil // then what is there already is given
	if err != nil && !cut || b.Rows() == 0 {
		return nil, err
	}
	r.after = last
	return b.Batch(nil), nil
}

// Settle lets the log be trimmed up to a position.
func (r *reader) Settle(ctx context.Context, upTo record.Position, refused error) error {
	if refused != nil {
		return nil //nolint:nilerr // a refused chunk is read again: the log keeps it
	}
	seq, err := parse(upTo)
	if err != nil {
		return err
	}
	r.source.settled(seq)
	return r.source.store.Advance(ctx, r.source.config.Reader, r.source.config.Table, seq)
}

// Close ends a Read under way.
func (r *reader) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}
