// Package sqs sends records to a queue of SQS, one JSON row a message, in batches. It promises at-least-once: a group is staged in a
// file of messages, which are sent when the group is published, and again when the process died meanwhile.
package sqs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/outbox"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

var errConfig = fault.Stop(errors.New("sqs: a *sqs.Config and a folder are needed"))

// Sink sends to one queue.
type Sink struct {
	config Config
	box    *outbox.Box

	mu       sync.Mutex
	queue    *messaging.Queue // nil until a lane is opened
	payloads *messaging.Payloads
}

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "sqs", Doc: "A queue of SQS, one JSON row a message, at least once.",
		Config: func() any { return &Config{} },
		Check:  check,
		Plan:   plan,
		New: func(_ context.Context, config any, host sinks.Host) (sinks.Sink, error) {
			c, ok := config.(*Config)
			if !ok || host.Dir == "" {
				return nil, errConfig
			}
			return New(*c, host.Dir)
		},
	}
}

// New makes the sink with a folder for its staged groups. It connects when a lane is opened.
func New(c Config, folder string) (*Sink, error) {
	if err := c.check(nil); err != nil {
		return nil, fault.Stop(err)
	}
	box, err := outbox.Open(folder)
	if err != nil {
		return nil, err
	}
	return &Sink{config: c.filled(), box: box}, nil
}

// Open takes the lane. All lanes share a client.
func (s *Sink) Open(ctx context.Context, lane sinks.Lane) (sinks.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue == nil {
		q, err := messaging.OpenQueue(ctx, s.config.Queue, s.config.AWS)
		if err != nil {
			return nil, err
		}
		if s.config.PayloadBucket != "" {
			if s.payloads, err = messaging.OpenPayloads(ctx, s.config.PayloadBucket, messaging.SettingsOf(s.config.Queue, s.config.AWS)); err != nil {
				return nil, err
			}
		}
		s.queue = q
	}
	return s.box.Writer(lane, s), nil
}

// Close ends the connections.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queue != nil {
		s.queue.Close()
		s.payloads.Close()
		s.queue = nil
	}
	return nil
}

// The places of what is known of a message in outbox.Message.Metadata, where a name and a value stand side by side.
const (
	groupName = "group"
	infoName  = "info"
)

// Messages makes a message of each row, or tells which rows cannot be one.
func (s *Sink) Messages(b *record.Batch, _ string) ([]outbox.Message, error) {
	out, bad := make([]outbox.Message, b.Rows), &fault.Rows{}
	columns, err := s.groupColumns(b.Schema)
	if err != nil {
		return nil, err
	}
	for row := range out {
		info := messaging.InfoOf(b, row)
		m := outbox.Message{Payload: []byte(messaging.Text(b.AppendJSON(nil, row))), Metadata: []string{infoName, info.String()}}
		if len(columns) > 0 {
			m.Metadata = append(m.Metadata, groupName, groupOf(b, columns, row))
		}
		out[row] = m
		if err := s.unfit(&m, info.Op); err != nil {
			bad.Bad = append(bad.Bad, fault.Row{Index: row, Err: err})
		}
	}
	if err := bad.Or(); err != nil {
		return nil, err
	}
	return out, nil
}

// unfit says why a row can be no message.
func (s *Sink) unfit(m *outbox.Message, op record.Op) error {
	o := outgoing(m)
	switch size := o.Size(); {
	case op == record.Truncate:
		return &fault.Error{Class: fault.Poison, Code: "ACQ-SQS-010", Place: s.config.Writes(), Err: errors.New("a queue of rows cannot carry that a whole stream is gone"), Remedy: "tell its readers, or filter what truncates"}
	case size > messaging.MostPayload:
		return &fault.Error{Class: fault.Poison, Code: "ACQ-SQS-011", Place: s.config.Writes(), Err: fmt.Errorf("the row has %d bytes as JSON, more than %d", size, messaging.MostPayload), Remedy: "drop columns before the sink"}
	case size > int(s.config.MaxBytes) && s.config.PayloadBucket == "":
		return &fault.Error{
			Class: fault.Poison, Code: "ACQ-SQS-011", Place: s.config.Writes(), Err: fmt.Errorf("the row has %d bytes as JSON, more than a message may have (%s)", size, s.config.MaxBytes),
			Remedy: "set payload_bucket, and large rows go there; or drop columns before the sink",
		}
	}
	return nil
}

// groupColumns gives the columns that make the message group; none: there are no groups.
func (s *Sink) groupColumns(schema *record.Schema) ([]int, error) {
	var out []int
	for _, name := range s.config.Group {
		i := schema.Index(name)
		if i < 0 {
			return nil, &fault.Error{Code: "ACQ-SQS-013", Place: schema.Stream, Err: fmt.Errorf("the message group is by %q, and there is no such column", name), Remedy: "name columns of the stream in group"}
		}
		out = append(out, i)
	}
	if len(out) == 0 && messaging.IsFIFO(s.config.Queue) {
		out = schema.Key
		if len(out) == 0 {
			return nil, &fault.Error{Code: "ACQ-SQS-013", Place: schema.Stream, Err: errors.New("it has no key, and a FIFO queue needs message groups"), Remedy: "name the columns that make a group in group"}
		}
	}
	return out, nil
}

// groupOf names the message group of a row, hashed where SQS would not take it.
func groupOf(b *record.Batch, columns []int, row int) string {
	text := []byte(b.Schema.Stream)
	for _, c := range columns {
		text = b.AppendValueJSON(append(text, ':'), c, row)
	}
	return messaging.ID(string(text))
}

func outgoing(m *outbox.Message) messaging.Outgoing {
	o := messaging.Outgoing{Body: string(m.Payload), Attributes: map[string]string{}}
	for i := 0; i+1 < len(m.Metadata); i += 2 {
		switch m.Metadata[i] {
		case groupName:
			o.Group = m.Metadata[i+1]
		case infoName:
			o.Attributes[messaging.RecordAttribute] = m.Metadata[i+1]
		}
	}
	return o
}

// Send sends messages in batches. A FIFO queue knows those that come again within five minutes.
func (s *Sink) Send(ctx context.Context, all []outbox.Message) error {
	out := make([]messaging.Outgoing, len(all))
	for i := range all {
		out[i] = outgoing(&all[i])
		if messaging.IsFIFO(s.config.Queue) {
			out[i].Dedup = messaging.ID(all[i].ID)
		}
		if out[i].Size() <= int(s.config.MaxBytes) {
			continue
		}
		at, err := s.payloads.Put(ctx, s.config.PayloadPrefix+all[i].ID+".json", all[i].Payload)
		if err != nil {
			return err
		}
		body, err := at.Body()
		if err != nil {
			return fault.Stop(err)
		}
		out[i].Body = string(body)
	}
	return s.queue.SendAll(ctx, out, s.config.Concurrency)
}
