// Package form is a source that people and programs write into: an HTML form and a JSON endpoint on the same URL, made
// from a declaration. A request is answered when its record is durable.
package form

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources"
)

// KeysStream carries the idempotency keys of requests beside their records, into the same sink and transaction. The
// table of that name has to keep them for at least 24 h.
const KeysStream = "form_keys"

// Config of the source.
type Config struct {
	Table *schemas.Table `yaml:"-"`
	// RatePerMinute is how many requests a client address may send; 0 means 600. Loopback is not limited.
	RatePerMinute int `yaml:"rate_per_minute"`
	// TrustedProxies are the addresses whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// Wait is how long a request waits to become durable before it is answered 503; 0 means 10 s.
	Wait time.Duration `yaml:"wait"`
}

// Source is one form.
type Source struct {
	config  Config
	items   *itemstore.Store // where the records and the keys end up, to answer a request that comes again
	log     *slog.Logger
	schema  *record.Schema
	keys    *record.Schema
	queue   chan *submission
	handler http.Handler

	mu      sync.Mutex
	flights map[string]*flight // requests under way, by idempotency key
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ http.Handler      = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "form", Doc: "An HTML form and a JSON endpoint made from a declaration; answers when the record is durable.",
		Config: func() any { return &Config{} },
		New: func(_ context.Context, config any, host sources.Host) (sources.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, errors.New("form: a *form.Config is needed")
			}
			return New(*c, host.Items, host.Log)
		},
	}
}

// queued is how many requests may wait for a reader.
const queued = 4096

// New makes the form.
func New(c Config, items *itemstore.Store, log *slog.Logger) (*Source, error) {
	if c.Table == nil || items == nil {
		return nil, errors.New("form: a table and an item store are needed")
	}
	c.RatePerMinute = cmp.Or(c.RatePerMinute, 600)
	c.Wait = cmp.Or(c.Wait, 10*time.Second)
	keys, err := record.NewSchema(KeysStream, []string{"key"}, record.Field{Name: "key", Kind: record.String},
		record.Field{Name: "hash", Kind: record.String}, record.Field{Name: "id", Kind: record.String})
	if err != nil {
		return nil, err
	}
	s := &Source{
		config: c, items: items, log: log, schema: c.Table.Schema(), keys: keys,
		queue: make(chan *submission, queued), flights: map[string]*flight{},
	}
	s.handler = s.protect(http.HandlerFunc(s.route))
	return s, nil
}

// Lanes gives the one lane of the form. What was read cannot be read again: the client sends it again.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: s.config.Table.Name, Streams: []string{s.schema.Stream, KeysStream}}}, nil
}

// Describe gives the schemas of the records and of the keys.
func (s *Source) Describe(context.Context) ([]*record.Schema, error) {
	return []*record.Schema{s.schema, s.keys}, nil
}

// Open gives a reader of the requests that wait. There is no position: it stays "".
func (s *Source) Open(context.Context, sources.Lane, record.Position) (sources.Reader, error) {
	return &reader{source: s, closed: make(chan struct{})}, nil
}
