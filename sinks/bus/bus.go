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
	"github.com/cespare/xxhash/v2"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/internal/wire"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

var errConfig = fault.Stop(errors.New("bus: a *bus.Config and a folder are needed"))

// Sink sends to one topic.
type Sink struct {
	config  Config
	dir     *blob.Dir // of the staged groups
	encoder *wire.Encoder
	log     *slog.Logger

	mu        sync.Mutex
	publisher message.Publisher // nil until a lane is opened
}

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Recoverer = (*writer)(nil)
)

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
	dir, err := blob.Open(folder)
	if err != nil {
		return nil, err
	}
	encoder, err := wire.NewEncoder(int(c.MaxBytes), c.Compression != "none")
	if err != nil {
		return nil, err
	}
	return &Sink{config: c, dir: dir, encoder: encoder, log: log}, nil
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
	id := fmt.Sprintf("%s-%08x", lane.Pipeline, uint32(xxhash.Sum64String(lane.ID))) //nolint:gosec // eight digits of it
	return &writer{sink: s, lane: lane, name: id, publisher: s.publisher}, nil
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

// messages makes the messages of a batch, or tells which rows are too large.
func (s *Sink) messages(b *record.Batch, lane string) ([]frame, error) {
	if s.config.Format == formatJSON {
		return s.rows(b)
	}
	encoded, err := s.encoder.Encode(b)
	if err != nil {
		return nil, err
	}
	out := make([]frame, len(encoded))
	for i, m := range encoded {
		out[i] = frame{metadata: []string{broker.KeyMetadata, lane}, payload: m.Payload}
	}
	return out, nil
}

// rows makes a message of each row.
func (s *Sink) rows(b *record.Batch) ([]frame, error) {
	out, bad := make([]frame, b.Rows), &fault.Rows{}
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
		f := frame{payload: payload, metadata: []string{
			"acequia-op", sys.Op(row).String(), "acequia-version", sys.Versions.At(row).String(), "acequia-source", sys.Source,
		}}
		if len(sys.EventIDs.Offsets) > 0 && sys.EventIDs.IsValid(row) {
			f.metadata = append(f.metadata, "acequia-event-id", string(sys.EventIDs.Text(row)))
		}
		if key := keyOf(b, row); key != "" {
			f.metadata = append(f.metadata, broker.KeyMetadata, key)
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
