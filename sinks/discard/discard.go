// Package discard counts records and drops them: for dry runs, and to measure what comes before a sink.
package discard

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Config has no settings.
type Config struct{}

// Sink counts the records of the groups that reach their stage.
type Sink struct {
	log  *slog.Logger
	rows atomic.Int64
}

var _ sinks.Sink = (*Sink)(nil)

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "discard", Doc: "Counts records and drops them, for dry runs and benchmarks.",
		Config: func() any { return &Config{} },
		New: func(_ context.Context, config any, host sinks.Host) (sinks.Sink, error) {
			if _, ok := config.(*Config); !ok {
				return nil, errors.New("discard: a *discard.Config is needed")
			}
			return New(host.Log), nil
		},
	}
}

// New makes the sink.
func New(log *slog.Logger) *Sink { return &Sink{log: log} }

// Rows counts the records that were dropped since the sink was made.
func (s *Sink) Rows() int64 { return s.rows.Load() }

// Open makes the writer of one incarnation of a lane.
func (s *Sink) Open(context.Context, sinks.Lane) (sinks.Writer, error) { return &writer{sink: s}, nil }

// Close logs the count.
func (s *Sink) Close(ctx context.Context) error {
	s.log.InfoContext(ctx, "records were dropped", slog.Int64("rows", s.Rows()))
	return nil
}

// writer counts the records of the open group.
type writer struct {
	sink *Sink
	rows int64
}

// Write takes any record.
func (w *writer) Write(_ context.Context, b *record.Batch) error {
	w.rows += int64(b.Rows)
	return nil
}

// Cut hands the count of the group over.
func (w *writer) Cut(sinks.Group) sinks.Staging {
	s := &staging{sink: w.sink, rows: w.rows}
	w.rows = 0
	return s
}

// Publish does nothing: there is nothing to see.
func (w *writer) Publish(context.Context, sinks.Manifest) error { return nil }

// Close forgets the open group.
func (w *writer) Close(context.Context) error {
	w.rows = 0
	return nil
}

type staging struct {
	sink *Sink
	rows int64
}

// Stage counts the group. A group that recovery reads again is counted again, as it was dropped twice.
func (s *staging) Stage(context.Context) (sinks.Manifest, error) {
	s.sink.rows.Add(s.rows)
	return sinks.Manifest{}, nil
}
