package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// The formats of messages.
const (
	formatAcequia = "acequia"
	formatJSON    = "json"
)

// Config of the source.
type Config struct {
	URL       string                 `yaml:"url" required:"true" doc:"The broker: nats://HOST:PORT, kafka://HOST:PORT, amqp://HOST:PORT/VHOST, sqs://REGION or sns://REGION."`
	Topic     string                 `yaml:"topic" required:"true" doc:"Topic, subject or queue; for SNS its ARN."`
	Group     string                 `yaml:"group" doc:"Readers of a group share the messages: consumer group, durable consumer, or the queue of an SNS topic; default: the pipeline."`
	Format    string                 `yaml:"format" enum:"acequia,json" doc:"acequia: what a bus sink sends (default); json: rows of other programs, one or several lines a message."`
	Stream    string                 `yaml:"stream" doc:"JSON: name of the stream; default: the topic."`
	Schema    config.Ordered[string] `yaml:"schema" doc:"JSON: columns and their types. Required there."`
	Key       []string               `yaml:"key" doc:"JSON: columns that identify a record, and so must have values."`
	Version   string                 `yaml:"version" doc:"JSON: expression over row, an int or a timestamp; of two rows of a key the greater wins. Default: a key that is there stays."`
	InFlight  int                    `yaml:"in_flight" doc:"Messages that are read and not yet durable: a group is closed when there are so many; default 64, for Kafka 1 (it gives one a partition)."`
	Linger    time.Duration          `yaml:"linger" doc:"How long messages gather for a chunk; default 50ms."`
	AckWait   time.Duration          `yaml:"ack_wait" doc:"After which the broker sends a message again that was not confirmed, such as after a crash. A group gathers for half as long at most; default 1m."`
	JetStream string                 `yaml:"jetstream" doc:"NATS: the stream; default: the one that has the topic, else one named after it."`
	Existing  bool                   `yaml:"existing" doc:"Make nothing at the broker: stream, topic or queue are there."`
}

const (
	defaultInFlight = 64
	maxInFlight     = 1000
)

// filled puts the defaults in.
func (c Config) filled() Config {
	c.Format = cmp.Or(c.Format, formatAcequia)
	c.Stream = cmp.Or(c.Stream, c.Topic)
	if c.InFlight == 0 {
		c.InFlight = defaultInFlight
		if strings.HasPrefix(c.URL, "kafka:") {
			c.InFlight = 1 // give the number of partitions, where they are known
		}
	}
	c.Linger = cmp.Or(c.Linger, 50*time.Millisecond)
	c.AckWait = cmp.Or(c.AckWait, time.Minute)
	return c
}

func (c Config) settings() broker.Settings {
	return broker.Settings{
		URL: c.URL, Topic: c.Topic, Group: c.Group, Stream: c.JetStream, InFlight: c.InFlight, AckWait: c.AckWait, Create: !c.Existing,
	}
}

// Reads gives the place that the source reads, as the bus sink names the one that it writes to.
func (c *Config) Reads() string { return broker.Place(c.URL, c.Topic) }

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	wrong := func(path, format string, args ...any) { bad = append(bad, config.Wrong(path, format, args...)) }
	if err := broker.Check(c.URL); err != nil {
		bad = append(bad, config.At(err, "url"))
	}
	if c.Topic == "" {
		wrong("topic", "which topic?")
	}
	if strings.HasPrefix(c.URL, "sns://") && !strings.HasPrefix(c.Topic, "arn:") {
		wrong("topic", "SNS wants the ARN of the topic")
	}
	if c.InFlight < 0 || c.InFlight > maxInFlight {
		wrong("in_flight", "want 1 to %d", maxInFlight)
	}
	if c.Linger < 0 || c.AckWait < 0 {
		wrong("linger", "linger and ack_wait must not be negative")
	}
	if c.AckWait > 0 && c.AckWait < time.Second {
		wrong("ack_wait", "want 1s or more")
	}
	if c.Format == formatJSON {
		_, _, err := c.declared()
		return errors.Join(append(bad, err)...)
	}
	for path, given := range map[string]bool{"schema": len(c.Schema) > 0, "key": len(c.Key) > 0, "version": c.Version != "", "stream": c.Stream != "" && c.Stream != c.Topic} {
		if given {
			wrong(path, "is for format: json; messages of acequia say it themselves")
		}
	}
	return errors.Join(bad...)
}

// declared gives the schema of JSON rows, and the expression of their version; nil: they have none.
func (c Config) declared() (*record.Schema, *expr.Program, error) {
	if len(c.Schema) == 0 {
		return nil, nil, config.Wrong("schema", "JSON rows need the columns and their types")
	}
	var bad []error
	fields := make([]record.Field, 0, len(c.Schema))
	for _, e := range c.Schema {
		f, err := record.ParseType(e.Name, e.Value)
		if err != nil {
			bad = append(bad, config.At(err, "schema", e.Name))
		}
		f.Nullable = !slices.Contains(c.Key, e.Name)
		fields = append(fields, f)
	}
	for i, k := range c.Key {
		if _, ok := c.Schema.Get(k); !ok {
			bad = append(bad, config.At(fmt.Errorf("there is no column %q", k), "key", strconv.Itoa(i)))
		}
	}
	if len(bad) > 0 {
		return nil, nil, errors.Join(bad...)
	}
	s, err := record.NewSchema(cmp.Or(c.Stream, c.Topic), c.Key, fields...)
	if err != nil {
		return nil, nil, config.At(err, "schema")
	}
	if c.Version == "" {
		return s, nil, nil
	}
	p, err := expr.Compile(c.Version, s)
	if err != nil {
		for _, e := range expr.Errors(err) {
			bad = append(bad, &config.FieldError{Path: []string{"version"}, Offset: e.Offset, Err: errors.New(e.Message), Remedy: e.Suggestion})
		}
		return nil, nil, errors.Join(bad...)
	}
	switch f := p.Field("version"); f.Kind {
	case record.Int32, record.Int64, record.Timestamp:
		return s, p, nil
	default:
		return nil, nil, config.Wrong("version", "gives %s: want an int or a timestamp", f.TypeName())
	}
}

// schemas tells what JSON rows look like. What messages of acequia hold is known when they come.
func schemas(_ context.Context, settings any) ([]*record.Schema, error) {
	c, ok := settings.(*Config)
	if !ok {
		return nil, errConfig
	}
	if err := c.check(); err != nil || c.Format != formatJSON {
		return nil, err
	}
	s, _, err := c.declared()
	return []*record.Schema{s}, err
}

// plan tells what is read, and what is promised.
func plan(_ context.Context, settings any) []string {
	given, ok := settings.(*Config)
	if !ok {
		return nil
	}
	c := given.filled()
	lines := []string{
		fmt.Sprintf("%s: format %s, up to %d messages in flight, sent again after %s", given.Reads(), c.Format, c.InFlight, c.AckWait),
		"at-least-once: a message may come again, with the same _event_id; items and the latest view have each record once",
	}
	if c.Format == formatJSON && c.Version == "" {
		lines = append(lines, "no version: rows are inserts, and a key that is there stays as it is")
	}
	return lines
}
