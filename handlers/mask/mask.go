// Package mask makes values unreadable: it hashes them with a key, takes them out, or leaves their last characters.
package mask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// How a value is masked. Null and absent values stay what they are.
const (
	// Hash writes 32 hexadecimal digits: the first half of SHA-256(SHA-512(key) + value's text). The kind does not count: 1
	// and "1" have one hash, so that columns can be joined that one source has as a number and another as text.
	Hash = "hash"
	// Redact writes *** for text. A value of another kind becomes null, for *** is no number or date.
	Redact = "redact"
	// Last4 writes * for all but the last four characters of the value's text, as a string; four or fewer are all masked.
	Last4 = "last4"
)

// Config is what the user sets: the columns, by name.
type Config struct {
	// Columns are the columns to mask. A column of the key can be hashed only, because other masks would make two keys one.
	// Required.
	Columns config.Ordered[Method] `yaml:",inline" required:"true" doc:"Columns to mask; those of the key can only be hashed."`
	// DefaultKey is the key of hashes that have none of their own. The program sets it.
	DefaultKey config.Secret `yaml:"-"`
}

// NeedsKey says whether a hash has no key of its own.
func (c *Config) NeedsKey() bool {
	return slices.ContainsFunc(c.Columns, func(e config.Entry[Method]) bool { return e.Value.How == Hash && e.Value.Key == "" })
}

// UseKey gives the key of hashes that have none of their own.
func (c *Config) UseKey(key config.Secret) { c.DefaultKey = key }

// Method is how one column is masked.
type Method struct {
	// How is hash, redact or last4. Required.
	How string `yaml:"how,scalar" required:"true" enum:"hash,redact,last4" doc:"hash: a keyed hash, equal for equal values; redact: *** or null; last4: all but four characters."`
	// Key is the key of a hash, of 16 bytes or more. Default: Config.DefaultKey.
	Key config.Secret `yaml:"key" doc:"Key of the hash, of 16 bytes or more; default: the project's."`
}

const minKey = 16 // bytes

// Plugin is the handler as the catalog lists it.
func Plugin() handlers.Plugin {
	return handlers.Plugin{
		Type:   "mask",
		Doc:    "Makes values unreadable by a keyed hash, or takes them out.",
		Config: func() any { return &Config{} },
		New: func(config any) (handlers.Handler, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fmt.Errorf("mask: the configuration is a %T", config)
			}
			return New(*c)
		},
	}
}

// Handler masks columns.
type Handler struct {
	columns config.Ordered[Method]
	starts  [][]byte // of the columns that are hashed: the state of the hash behind the key

	mu    sync.Mutex
	plans map[*record.Schema]*plan // so that a schema gives the same schema each time
}

// plan is what is done to the batches of one schema.
type plan struct {
	out   *record.Schema
	steps []step
}

// step masks one column.
type step struct {
	at    int
	field record.Field // as it comes in
	how   string
	start []byte        // of a hash: its state behind the key
	null  record.Column // of a redacted column that is not text: one null for all rows
}

var (
	_ handlers.Handler = (*Handler)(nil)
	_ handlers.Shaper  = (*Handler)(nil)
)

// New checks the configuration, all of it, and makes the handler.
func New(c Config) (*Handler, error) {
	h := &Handler{columns: slices.Clone(c.Columns), plans: map[*record.Schema]*plan{}}
	var errs []error
	if len(c.Columns) == 0 {
		errs = append(errs, &config.FieldError{Err: errors.New("no column is named"), Remedy: "write publisher: hash or the like"})
	}
	seen := map[string]bool{}
	for i, column := range c.Columns {
		m := &h.columns[i].Value
		if m.How == Hash && m.Key == "" {
			m.Key = c.DefaultKey
		}
		err := m.check()
		switch {
		case column.Name == "":
			err = errors.New("a column has a name")
		case seen[column.Name]:
			err = errors.New("stands twice")
		}
		seen[column.Name] = true
		var start []byte
		if err == nil && m.How == Hash {
			start, err = begin(m.Key)
		}
		h.starts = append(h.starts, start)
		errs = append(errs, config.At(err, column.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return h, nil
}

func (m *Method) check() error {
	switch {
	case m.How == "":
		return config.Wrong("how", "must be set: hash, redact or last4")
	case m.How != Hash && m.How != Redact && m.How != Last4:
		return config.Wrong("how", "%q is not hash, redact or last4", m.How)
	case m.How != Hash && m.Key != "":
		return config.Wrong("key", "goes with hash only")
	case m.How == Hash && m.Key == "":
		return &config.FieldError{Path: []string{"key"}, Err: errors.New("a hash needs a key"), Remedy: "write key: ${env:MASK_KEY} or the like"}
	case m.How == Hash && len(m.Key) < minKey:
		return config.Wrong("key", "the key has %d bytes, want %d or more", len(m.Key), minKey)
	}
	return nil
}

// Shape gives the schema with the masked columns: hash and last4 make strings. What does not fit it are
// config.FieldErrors.
func (h *Handler) Shape(in *record.Schema) (*record.Schema, error) {
	p, err := h.plan(in)
	return p.out, err
}

// plan finds the columns, once a schema. Beside an error its schema is what can be told.
func (h *Handler) plan(in *record.Schema) (*plan, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p, ok := h.plans[in]; ok {
		return p, nil
	}
	p := &plan{out: in}
	fields := slices.Clone(in.Fields)
	var errs []error
	for i, column := range h.columns {
		s := step{at: in.Index(column.Name), how: column.Value.How, start: h.starts[i]}
		if s.at < 0 {
			errs = append(errs, unknown(in, column.Name))
			continue
		}
		s.field = in.Fields[s.at]
		if err := s.fits(slices.Contains(in.Key, s.at)); err != nil {
			errs = append(errs, config.At(err, column.Name))
		}
		if s.how == Redact && s.field.Kind != record.String {
			fields[s.at].Nullable = true
			s.null = null(fields[s.at])
		} else {
			fields[s.at] = record.Field{Name: s.field.Name, Kind: record.String, Nullable: s.field.Nullable}
		}
		p.steps = append(p.steps, s)
	}
	if !slices.EqualFunc(fields, in.Fields, same) {
		out, err := record.NewSchema(in.Stream, in.KeyNames(), fields...)
		if errs = append(errs, err); err == nil {
			p.out = out
		}
	}
	if err := errors.Join(errs...); err != nil {
		return p, &fault.Error{Class: fault.Fatal, Code: "ACQ-MASK-001", Place: in.Stream, Err: err}
	}
	h.plans[in] = p
	return p, nil
}

// same says whether a column that is masked, or stays, is of the type that it was.
func same(a, b record.Field) bool { return a.Kind == b.Kind && a.Nullable == b.Nullable }

// fits says why a column cannot be masked so.
func (s *step) fits(isKey bool) error {
	switch kind := s.field.Kind; {
	case isKey && s.how != Hash:
		return &config.FieldError{
			Path: []string{"how"}, Err: fmt.Errorf("is a column of the key: with %s, records of different keys would become one", s.how),
			Remedy: "write hash",
		}
	case s.how != Redact && (kind == record.List || kind == record.Struct):
		return config.Wrong("how", "is a %s, which has no %s", kind, s.how)
	case s.how == Last4 && kind == record.Bytes:
		return config.Wrong("how", "is bytes, which have no characters")
	}
	return nil
}

// null makes a column of one null that stands for every row.
func null(f record.Field) record.Column {
	b := record.NewBuilder(&record.Schema{Fields: []record.Field{f}}, 1)
	b.Null(0)
	b.Next()
	c := b.Batch(nil).Columns[0]
	c.Const = true
	return c
}

// unknown is the mistake of a name that no column has.
func unknown(s *record.Schema, name string) error {
	e := &config.FieldError{Path: []string{name}, Err: errors.New("no column has this name")}
	if near := s.Nearest(name); near != "" {
		e.Remedy = "did you mean " + near + "?"
	}
	return e
}

// Handle gives b with masked columns. It refuses no row, so that no value gets into an error.
func (h *Handler) Handle(ctx context.Context, b *record.Batch) ([]*record.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := h.plan(b.Schema)
	if err != nil {
		return nil, err
	}
	columns := slices.Clone(b.Columns)
	for i := range p.steps {
		s := &p.steps[i]
		columns[s.at] = s.masked(&b.Columns[s.at], b.Rows)
	}
	return []*record.Batch{b.With(p.out, columns)}, nil
}
