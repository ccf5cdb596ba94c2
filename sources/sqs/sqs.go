// Package sqs reads a queue of SQS: JSON rows, records of DynamoDB Streams and events of S3, in the envelopes of EventBridge, SNS
// and Lambda or without. A message is deleted when its rows are durable in every sink, so that it may come twice and is never lost.
package sqs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

var (
	errConfig   = fault.Stop(errors.New("sqs: a *sqs.Config is needed"))
	errNoSchema = fault.Stop(errors.New("sqs: the columns of the table are not known: declare schema and key"))
	errClosed   = errors.New("the reader of the queue is closed")
)

// Queue is where messages come from and are answered to: *messaging.Queue, or what Lambda was given.
type Queue interface {
	// Receive waits for messages; none may come. io.EOF: there will be no more.
	Receive(ctx context.Context, wait, hidden time.Duration) ([]messaging.Message, error)
	Delete(ctx context.Context, handles []string) ([]messaging.Failure, error)
	Hide(ctx context.Context, handles []string, times []time.Duration) ([]messaging.Failure, error)
	Look(ctx context.Context) (messaging.Look, error)
}

// Tracer is a queue that wants to know in which message an event came.
type Tracer interface {
	Carries(message, event string)
}

// Source reads one queue: one lane without positions, for the queue knows what was deleted. Its pollers feed one lane, not a lane
// each, so that files are as large as what is in flight allows.
type Source struct {
	config Config
	log    *slog.Logger
	open   func(ctx context.Context) (q Queue, end func(), err error)
}

// described is a source whose columns are known.
type described struct {
	*Source
	schema *record.Schema
}

var (
	_ sources.Source    = (*Source)(nil)
	_ sources.Waiter    = (*Source)(nil)
	_ sources.Checker   = (*Source)(nil)
	_ sources.Describer = described{}
	_ sources.Lagger    = (*reader)(nil)
)

// Plugin lists the source.
func Plugin() sources.Plugin { return PluginOver(nil) }

// PluginOver lists the source over a queue that is there; nil: the one of the settings.
func PluginOver(queue Queue) sources.Plugin {
	return sources.Plugin{
		Type: "sqs", Shared: true, Doc: "A queue of SQS: JSON rows, records of DynamoDB Streams, events of S3; in envelopes of EventBridge, SNS and Lambda or without.",
		Config:  func() any { return &Config{} },
		Schemas: schemas,
		Plan:    plan,
		New: func(_ context.Context, config any, host sources.Host) (sources.Source, error) {
			c, ok := config.(*Config)
			if !ok {
				return nil, errConfig
			}
			return New(*c, queue, host.Log)
		},
	}
}

// New makes the source over a queue; nil: it connects to that of the settings when its lane is opened.
func New(c Config, queue Queue, log *slog.Logger) (sources.Source, error) {
	if err := c.check(); err != nil {
		return nil, fault.Stop(err)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Source{config: c.filled(), log: log}
	s.open = func(ctx context.Context) (Queue, func(), error) {
		if queue != nil {
			return queue, func() {}, nil
		}
		q, err := messaging.OpenQueue(ctx, c.Queue, c.AWS)
		if err != nil {
			return nil, nil, err
		}
		return q, q.Close, nil
	}
	schema, _, err := s.config.shape()
	if err != nil {
		return nil, fault.Stop(err)
	}
	if schema == nil {
		return nil, errNoSchema
	}
	return described{s, schema}, nil
}

// Lanes gives the one lane of the queue.
func (s *Source) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: messaging.QueueName(s.config.Queue), Streams: []string{s.config.Stream}, Each: true}}, nil
}

// Patience bounds how long a group gathers.
func (s *Source) Patience() time.Duration { return s.config.Hold }

// Describe gives the schema of the rows.
func (d described) Describe(context.Context) ([]*record.Schema, error) {
	return []*record.Schema{d.schema}, nil
}

// Check asks the queue what it is.
func (s *Source) Check(ctx context.Context) error {
	q, end, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer end()
	_, err = q.Look(ctx)
	return err
}

// Open starts the pollers.
func (s *Source) Open(ctx context.Context, _ sources.Lane, _ record.Position) (sources.Reader, error) {
	d, err := s.config.decoder()
	if err != nil {
		return nil, err
	}
	var payloads *messaging.Payloads
	if s.config.PayloadBucket != "" {
		if payloads, err = messaging.OpenPayloads(ctx, s.config.PayloadBucket, messaging.SettingsOf(s.config.Queue, s.config.AWS)); err != nil {
			return nil, err
		}
	}
	q, end, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	if t, ok := q.(Tracer); ok {
		d.carries = t.Carries
	}
	r := start(ctx, s.config, q, payloads, d, s.log)
	r.end = func() {
		end()
		payloads.Close()
	}
	return r, nil
}
