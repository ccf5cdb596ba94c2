// Package form is the web form of a declared table: HTML and JSON on one URL, answered when the record is durable.
package form

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-chi/httprate"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/videogames"
	"github.com/acequia-io/acequia/sources"
)

// KeysTable is the table of answers given under an Idempotency-Key, and the stream that carries them. Its items must
// live for at least a day; its changes interest nobody.
const KeysTable = "form_keys"

// laneID is the one lane of a form.
const laneID = "form"

// Config of the source.
type Config struct {
	// Schema is "videogames", or the path of a table's declaration.
	Schema string `yaml:"schema" required:"true" doc:"videogames, or the path of a table's declaration."`
	// Table is the declared table, for who builds in Go; Schema is then not read.
	Table *schemas.Table `yaml:"-"`
	// Rate is how many records one client address may send a minute; default 120, -1: no limit. Loopback has none.
	Rate int `yaml:"rate" doc:"Records that one client address may send a minute; default 120, -1: no limit. Loopback has none."`
	// TrustedProxies are addresses or networks (192.0.2.0/24) whose X-Forwarded-For is believed.
	TrustedProxies []string `yaml:"trusted_proxies" doc:"Addresses or networks whose X-Forwarded-For is believed."`
	// TrustedOrigins may post from another site: https://example.com.
	TrustedOrigins []string `yaml:"trusted_origins" doc:"Sites that may post from elsewhere, such as https://example.com."`
	// Query is the path of the query page, for the link of the success page; default /query.
	Query string `yaml:"query" doc:"Path of the query page; default /query."`
	// Patience is how long a request waits for its record to be durable before it gets 503; default 10 s. A fifth of it
	// is how long it waits for a reader.
	Patience time.Duration `yaml:"patience" doc:"How long a request waits for its record to be durable before it gets 503; default 10s."`
}

// Source is the form: an HTTP handler whose records one lane reads.
type Source struct {
	table   *schemas.Table
	keys    *record.Schema
	id      int // the generated key's column
	config  Config
	origins *http.CrossOriginProtection
	proxies []netip.Prefix
	limit   *httprate.RateLimiter // nil: none
	items   *itemstore.Store
	log     *slog.Logger
	queue   *queue
	flights flights
	waiting atomic.Int64 // records taken by a reader and not settled
	posts   atomic.Int64 // requests whose body is here and that have no answer yet
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Describer = (*Source)(nil)
	_ sources.Lagger    = (*Source)(nil)
	_ http.Handler      = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "form", Doc: "A web form and its JSON twin, made from the declaration of a table.",
		Config: func() any { return &Config{} },
		New: func(_ context.Context, config any, host sources.Host) (sources.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, fault.Stop(errors.New("form: want a *form.Config"))
			}
			return New(*c, host.Items, host.Log)
		},
	}
}

// New makes the form. items is where its records end up and where its answers are remembered.
func New(c Config, items *itemstore.Store, log *slog.Logger) (*Source, error) {
	if items == nil || log == nil {
		return nil, fault.Stop(errors.New("form: an item store and a log are needed"))
	}
	s := &Source{config: c, items: items, log: log, origins: http.NewCrossOriginProtection()}
	s.config.Query = cmp.Or(c.Query, "/query")
	s.config.Patience = cmp.Or(c.Patience, 10*time.Second)
	var err error
	if s.table, err = load(c); err != nil {
		return nil, err
	}
	if key := s.table.Schema().Key; len(key) != 1 || s.table.Fields[key[0]].Type != schemas.UUID {
		return nil, fault.Stop(fmt.Errorf("form %s: the key must be one generated uuid", s.table.Name))
	}
	s.id = s.table.Schema().Key[0]
	for _, p := range c.TrustedProxies {
		prefix, err := parsePrefix(p)
		if err != nil {
			return nil, fault.Stop(fmt.Errorf("form %s: trusted_proxies: %w", s.table.Name, err))
		}
		s.proxies = append(s.proxies, prefix)
	}
	for _, o := range c.TrustedOrigins {
		if err := s.origins.AddTrustedOrigin(o); err != nil {
			return nil, fault.Stop(fmt.Errorf("form %s: trusted_origins: %w", s.table.Name, err))
		}
	}
	if rate := cmp.Or(c.Rate, 120); rate > 0 {
		s.limit = httprate.NewRateLimiter(rate, time.Minute)
	}
	s.keys, err = record.NewSchema(KeysTable, []string{"key"}, record.Field{Name: "key", Kind: record.String},
		record.Field{Name: "hash", Kind: record.String}, record.Field{Name: "id", Kind: record.String})
	if err != nil {
		return nil, err
	}
	s.queue = newQueue(s.table, s.keys)
	return s, nil
}

func load(c Config) (*schemas.Table, error) {
	switch {
	case c.Table != nil:
		return c.Table, nil
	case c.Schema == "videogames":
		return videogames.Table()
	case c.Schema == "":
		return nil, fault.Stop(errors.New("form: schema is missing"))
	}
	text, err := os.ReadFile(c.Schema)
	if err != nil {
		return nil, fault.Stop(fmt.Errorf("form: read schema: %w", err))
	}
	return schemas.Load(c.Schema, text)
}

// parsePrefix reads a network, or an address as the network of itself.
func parsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		return netip.ParsePrefix(text)
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	return a.Prefix(a.BitLen())
}

// Lanes gives the one lane. Its records cannot be read again: who sent them keeps them until the answer.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: laneID, Streams: []string{s.table.Name, KeysTable}}}, nil
}

// Describe gives the schemas of the records and of the answers under keys.
func (s *Source) Describe(context.Context) ([]*record.Schema, error) {
	return []*record.Schema{s.table.Schema(), s.keys}, nil
}

// Lag counts the records that wait to be read or to be durable.
func (s *Source) Lag(context.Context) (sources.Lag, error) {
	queued, oldest := s.queue.waiting()
	lag := sources.Lag{Records: int64(queued) + s.waiting.Load()}
	if queued > 0 {
		lag.Age = time.Since(oldest)
	}
	return lag, nil
}

// Open gives a reader on what waits already and on what is sent from now on.
func (s *Source) Open(_ context.Context, lane sources.Lane, _ record.Position) (sources.Reader, error) {
	if lane.ID != laneID {
		return nil, fault.Stop(fmt.Errorf("form %s: there is no lane %q", s.table.Name, lane.ID))
	}
	return &reader{source: s, closing: make(chan struct{})}, nil
}
