// Package bus sends records to a topic of a broker, for another pipeline of acequia or for other programs. It promises
// at-least-once: a group is staged in a file of messages, which are sent when the group is published, and sent again under
// the same ids when the process died meanwhile.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/internal/outbox"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

var errConfig = fault.Stop(errors.New("bus: a *bus.Config and a folder are needed"))

// Sink sends to one topic.
type Sink struct {
	config  Config
	box     *outbox.Box
	encoder *wire.Encoder
	log     *slog.Logger

	mu        sync.Mutex
	publisher message.Publisher // nil until a lane is opened
}

var _ sinks.Sink = (*Sink)(nil)

// Plugin lists the sink.
func Plugin() sinks.Plugin {
	return sinks.Plugin{
		Type: "bus", Doc: "A topic of NATS JetStream, Kafka, AMQP, SQS or SNS, at least once.",
		Config: func() any { return &Config{} },
		Check:  check,
		Plan:   plan,
		New: func(_ context.Context, config any, host sinks.Host) (sinks.Sink, error) {
			c, ok := config.(*Config)
			if !ok || host.Dir == "" {
				return nil, errConfig
			}
			return New(*c, host.Dir, host.Log)
		},
	}
}

// New makes the sink with a folder for its staged groups. It connects when a lane is opened.
func New(c Config, folder string, log *slog.Logger) (*Sink, error) {
	if err := c.check(); err != nil {
		return nil, fault.Stop(err)
	}
	c = c.filled()
	box, err := outbox.Open(folder)
	if err != nil {
		return nil, err
	}
	encoder, err := wire.NewEncoder(int(c.MaxBytes), c.Compression != "none")
	if err != nil {
		return nil, err
	}
	return &Sink{config: c, box: box, encoder: encoder, log: log}, nil
}

// Open takes the lane. All lanes share a connection.
func (s *Sink) Open(ctx context.Context, lane sinks.Lane) (sinks.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publisher == nil {
		settings := s.config.settings()
		settings.Log = s.log
		var err error
		if s.publisher, err = broker.NewPublisher(ctx, settings); err != nil {
			return nil, err
		}
	}
	return s.box.Writer(lane, &transport{s, s.publisher}), nil
}

// Close ends the connection.
func (s *Sink) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.publisher == nil {
		return nil
	}
	err := s.publisher.Close()
	s.publisher = nil
	return err
}

// transport makes and sends the messages of a lane.
type transport struct {
	*Sink
	to message.Publisher
}

// Send sends messages one by one: Watermill knows no batches.
func (t *transport) Send(ctx context.Context, all []outbox.Message) error {
	for i := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		m := message.NewMessage(all[i].ID, all[i].Payload)
		for k := 0; k+1 < len(all[i].Metadata); k += 2 {
			m.Metadata.Set(all[i].Metadata[k], all[i].Metadata[k+1])
		}
		if err := t.to.Publish(t.config.Topic, m); err != nil {
			return &fault.Error{
				Class: fault.Retryable, Code: "ACQ-BUS-011", Place: t.config.Writes(), Err: fmt.Errorf("send message: %w", err),
				Remedy: "see that the broker runs, has space and takes messages of this size; what was not sent is sent again",
			}
		}
	}
	return nil
}

// Messages makes the messages of a batch, or tells which rows are too large.
func (t *transport) Messages(b *record.Batch, lane string) ([]outbox.Message, error) {
	if t.config.Format == formatJSON {
		return t.rows(b)
	}
	encoded, err := t.encoder.Encode(b)
	if err != nil {
		return nil, err
	}
	out := make([]outbox.Message, len(encoded))
	for i, m := range encoded {
		out[i] = outbox.Message{Metadata: []string{broker.KeyMetadata, lane}, Payload: m.Payload}
	}
	return out, nil
}

// rows makes a message of each row.
func (s *Sink) rows(b *record.Batch) ([]outbox.Message, error) {
	out, bad := make([]outbox.Message, b.Rows), &fault.Rows{}
	for row := range out {
		payload := b.AppendJSON(nil, row)
		if len(payload) > int(s.config.MaxBytes) {
			bad.Bad = append(bad.Bad, fault.Row{Index: row, Err: &fault.Error{
				Class: fault.Poison, Code: "ACQ-BUS-004", Err: fmt.Errorf("the row has %d bytes as JSON, more than a message may have", len(payload)),
				Remedy: "raise max_bytes, if the broker takes larger messages, or drop columns before the sink",
			}})
			continue
		}
		sys := &b.System
		f := outbox.Message{Payload: payload, Metadata: []string{
			"acequia-op", sys.Op(row).String(), "acequia-version", sys.Versions.At(row).String(), "acequia-source", sys.Source,
		}}
		if len(sys.EventIDs.Offsets) > 0 && sys.EventIDs.IsValid(row) {
			f.Metadata = append(f.Metadata, "acequia-event-id", string(sys.EventIDs.Text(row)))
		}
		if key := keyOf(b, row); key != "" {
			f.Metadata = append(f.Metadata, broker.KeyMetadata, key)
		}
		out[row] = f
	}
	if err := bad.Or(); err != nil {
		return nil, err
	}
	return out, nil
}

// keyOf writes the key of a row, so that Kafka keeps the changes of a key in one partition.
func keyOf(b *record.Batch, row int) string {
	var key []byte
	for _, k := range b.Schema.Key {
		key = append(b.AppendValueJSON(key, k, row), ' ')
	}
	return string(key)
}
