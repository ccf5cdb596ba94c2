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
	"sync/atomic"
	"time"

	"github.com/go-chi/httprate"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/sources"
)

// KeysTable is the table of answers given under an Idempotency-Key, and the stream that carries them. Its items must
// live for at least a day; its changes interest nobody.
const KeysTable = "form_keys"

// laneID is the one lane of a form.
const laneID = "form"

// Source is the form: an HTTP handler whose records one lane reads.
type Source struct {
	table   *schemas.Table
	keys    *record.Schema
	id      int // the generated key's column
	config  Config
	origins *http.CrossOriginProtection
	proxies []netip.Prefix
	limit   *httprate.RateLimiter // nil: none
	items   itemstore.Items
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
	_ sources.Served    = (*Source)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "form", Shared: true, Doc: "A web form and its JSON twin, made from the declaration of a table.",
		Items:  true,
		Config: func() any { return &Config{} },
		Schemas: func(_ context.Context, config any) ([]*record.Schema, error) {
			parts, err := fromConfig(config)
			if err != nil {
				return nil, err
			}
			keys, err := keysSchema()
			return []*record.Schema{parts.table.Schema(), keys}, err
		},
		Plan: func(_ context.Context, config any) []string {
			parts, err := fromConfig(config)
			if err != nil {
				return nil
			}
			return []string{"acequia serve answers at " + pathOf(parts.table) + ", as a page and as JSON; the answer comes when the record is durable"}
		},
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
func New(c Config, items itemstore.Items, log *slog.Logger) (*Source, error) {
	if items == nil || log == nil {
		return nil, fault.Stop(errors.New("form: an item store and a log are needed"))
	}
	s := &Source{config: c, items: items, log: log}
	s.config.Query = cmp.Or(c.Query, "/query")
	s.config.Patience = cmp.Or(c.Patience, 10*time.Second)
	parts, err := c.check()
	if err != nil {
		return nil, fault.Stop(fmt.Errorf("form: %w", err))
	}
	s.table, s.proxies, s.origins = parts.table, parts.proxies, parts.origins
	s.id = s.table.Schema().Key[0]
	if rate := cmp.Or(c.Rate, 120); rate > 0 {
		s.limit = httprate.NewRateLimiter(rate, time.Minute)
	}
	if s.keys, err = keysSchema(); err != nil {
		return nil, err
	}
	s.queue = newQueue(s.table, s.keys)
	return s, nil
}

// Lanes gives the one lane. Its records cannot be read again: who sent them keeps them until the answer.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: laneID, Streams: []string{s.table.Name, KeysTable}, Each: true}}, nil
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
