// Package eventbridge puts records on a bus of EventBridge, an event a row, in batches. It promises at-least-once: a group is staged in
// a file, whose events are put when the group is published, and again when the process died meanwhile.
package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/internal/outbox"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

var errConfig = fault.Stop(errors.New("eventbridge: a *eventbridge.Config and a folder are needed"))

// Sink puts events on one bus.
type Sink struct {
	config Config
	box    *outbox.Box

	mu       sync.Mutex
	bus      *messaging.Bus // nil until a lane is opened
	payloads *messaging.Payloads
}

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "eventbridge", Doc: "A bus of EventBridge, an event a row, at least once.",
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
	if err := c.check(); err != nil {
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
	if s.bus == nil {
		b, err := messaging.OpenBus(ctx, s.config.Bus, s.config.AWS)
		if err != nil {
			return nil, err
		}
		if s.config.PayloadBucket != "" {
			if s.payloads, err = messaging.OpenPayloads(ctx, s.config.PayloadBucket, messaging.SettingsOf(s.config.Bus, s.config.AWS)); err != nil {
				return nil, err
			}
		}
		s.bus = b
	}
	return s.box.Writer(lane, &transport{s, cmp.Or(s.config.Source, "acequia."+lane.Pipeline)}), nil
}

// Close ends the connections.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bus != nil {
		s.bus.Close()
		s.payloads.Close()
		s.bus = nil
	}
	return nil
}

// transport makes and sends the events of a lane.
type transport struct {
	*Sink
	source string
}

// The names of what is known of an event in outbox.Message.Metadata, where a name and a value stand side by side.
const (
	typeName = "detail-type"
	timeName = "time" // microseconds since 1970 UTC
)

// Messages makes an event of each row, or tells which rows cannot be one.
func (t *transport) Messages(b *record.Batch, _ string) ([]outbox.Message, error) {
	out, bad := make([]outbox.Message, b.Rows), &fault.Rows{}
	for row := range out {
		info := messaging.InfoOf(b, row)
		out[row] = outbox.Message{
			Payload:  info.AppendTo(b.AppendJSON(nil, row)),
			Metadata: []string{typeName, cmp.Or(t.config.DetailType, b.Schema.Stream), timeName, strconv.FormatInt(b.System.EventTime(row), 10)},
		}
		if err := t.unfit(&out[row], info.Op); err != nil {
			bad.Bad = append(bad.Bad, fault.Row{Index: row, Err: err})
		}
	}
	if err := bad.Or(); err != nil {
		return nil, err
	}
	return out, nil
}

// unfit says why a row can be no event.
func (t *transport) unfit(m *outbox.Message, op record.Op) error {
	e := t.event(m)
	switch size := e.Size(); {
	case op == record.Truncate:
		return &fault.Error{Class: fault.Poison, Code: "ACQ-EVB-010", Place: "bus " + t.config.Bus, Err: errors.New("an event of a row cannot carry that a whole stream is gone"), Remedy: "tell its readers, or filter what truncates"}
	case size > messaging.MostPayload:
		return &fault.Error{Class: fault.Poison, Code: "ACQ-EVB-011", Place: "bus " + t.config.Bus, Err: fmt.Errorf("the row has %d bytes as JSON, more than %d", size, messaging.MostPayload), Remedy: "drop columns before the sink"}
	case size > int(t.config.MaxBytes) && t.config.PayloadBucket == "":
		return &fault.Error{
			Class: fault.Poison, Code: "ACQ-EVB-011", Place: "bus " + t.config.Bus, Err: fmt.Errorf("the row has %d bytes as JSON, more than an event may have (%s)", size, t.config.MaxBytes),
			Remedy: "set payload_bucket, and large rows go there; or drop columns before the sink",
		}
	}
	return nil
}

func (t *transport) event(m *outbox.Message) messaging.Event {
	e := messaging.Event{Source: t.source, Detail: string(m.Payload)}
	for i := 0; i+1 < len(m.Metadata); i += 2 {
		switch m.Metadata[i] {
		case typeName:
			e.DetailType = m.Metadata[i+1]
		case timeName:
			if us, err := strconv.ParseInt(m.Metadata[i+1], 10, 64); err == nil {
				e.At = time.UnixMicro(us)
			}
		}
	}
	return e
}

// Send puts events in batches.
func (t *transport) Send(ctx context.Context, all []outbox.Message) error {
	out := make([]messaging.Event, len(all))
	for i := range all {
		out[i] = t.event(&all[i])
		if out[i].Size() <= int(t.config.MaxBytes) {
			continue
		}
		at, err := t.payloads.Put(ctx, t.config.PayloadPrefix+all[i].ID+".json", all[i].Payload)
		if err != nil {
			return err
		}
		body, err := at.Body()
		if err != nil {
			return fault.Stop(err)
		}
		out[i].Detail = string(body)
	}
	return t.bus.SendAll(ctx, out, t.config.Concurrency)
}
