// Package bus reads a topic of a broker: what another pipeline of acequia sent there, or JSON rows of other programs. A
// message is confirmed when its records are durable in every sink, so that it may come twice and is never lost.
package bus

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var (
	errConfig = fault.Stop(errors.New("bus: a *bus.Config is needed"))
	errClosed = errors.New("the reader of the bus is closed")
	errEnded  = fault.Retry(errors.New("the broker has ended the subscription"))
)

// Source reads one topic: one lane, which has no positions, for the broker knows what was confirmed.
type Source struct {
	config Config
	log    *slog.Logger
}

// declared is a source of JSON rows, which knows their schema.
type declared struct{ *Source }

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Waiter    = (*Source)(nil)
	_ sources.Describer = declared{}
)

// Plugin lists the source.
func Plugin() sources.Plugin {
	return sources.Plugin{
		Type: "bus", Shared: true, Doc: "A topic of NATS JetStream, Kafka, AMQP, SQS or SNS: batches of acequia, or JSON rows.",
		Config:  func() any { return &Config{} },
		Schemas: schemas,
		Plan:    plan,
		New: func(_ context.Context, config any, host sources.Host) (sources.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, errConfig
			}
			own := *c
			own.Group = cmp.Or(own.Group, host.Pipeline, "acequia")
			return New(own, host.Log)
		},
	}
}

// New makes the source. It connects when its lane is opened.
func New(c Config, log *slog.Logger) (sources.Source, error) {
	if err := c.check(); err != nil {
		return nil, fault.Stop(err)
	}
	s := &Source{config: c.filled(), log: log}
	if s.config.Format == formatJSON {
		return declared{s}, nil
	}
	return s, nil
}

// Lanes gives the one lane of the topic.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: s.config.Topic, Streams: []string{s.config.Stream}, Each: true}}, nil
}

// Patience leaves the other half of the time for the commit.
func (s *Source) Patience() time.Duration { return s.config.AckWait / 2 }

// Describe gives the schema of the rows.
func (d declared) Describe(context.Context) ([]*record.Schema, error) {
	schema, _, err := d.config.declared()
	return []*record.Schema{schema}, err
}

// Open subscribes.
func (s *Source) Open(ctx context.Context, _ sources.Lane, _ record.Position) (sources.Reader, error) {
	d, err := s.config.decoder()
	if err != nil {
		return nil, err
	}
	settings := s.config.settings()
	settings.Log = s.log
	sub, err := broker.Subscribe(ctx, settings)
	if err != nil {
		d.close()
		return nil, err
	}
	return &reader{config: s.config, decoder: d, sub: sub, closing: make(chan struct{})}, nil
}
