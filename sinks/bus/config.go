package bus

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// The formats of messages.
const (
	formatAcequia = "acequia"
	formatJSON    = "json"
)

// Config of the sink.
type Config struct {
	URL         string      `yaml:"url" required:"true" doc:"The broker: nats://HOST:PORT, kafka://HOST:PORT, amqp://HOST:PORT/VHOST, sqs://REGION or sns://REGION."`
	Topic       string      `yaml:"topic" required:"true" doc:"Topic, subject or queue; for SNS its ARN."`
	Format      string      `yaml:"format" enum:"acequia,json" doc:"acequia: batches with all that is known of them (default); json: one row a message, for other programs."`
	Compression string      `yaml:"compression" enum:"zstd,none" doc:"Of messages of acequia; default zstd."`
	MaxBytes    config.Size `yaml:"max_bytes" doc:"Largest message; default 512KiB for NATS and Kafka, 4MiB for AMQP, 180KiB for SQS and SNS."`
	JetStream   string      `yaml:"jetstream" doc:"NATS: the stream; default: the one that has the topic, else one named after it."`
	Existing    bool        `yaml:"existing" doc:"Make nothing at the broker: stream, topic or queue are there."`
}

// The sizes that a message may be limited to.
const (
	leastBytes = 1 << 10
	mostBytes  = 64 << 20
)

// filled puts the defaults in.
func (c Config) filled() Config {
	c.Format = cmp.Or(c.Format, formatAcequia)
	c.MaxBytes = cmp.Or(c.MaxBytes, config.Size(broker.Largest(c.URL)))
	return c
}

func (c Config) settings() broker.Settings {
	return broker.Settings{URL: c.URL, Topic: c.Topic, Stream: c.JetStream, Create: !c.Existing, MaxBytes: int(c.MaxBytes)}
}

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	if err := broker.Check(c.URL); err != nil {
		bad = append(bad, config.At(err, "url"))
	}
	if c.Topic == "" {
		bad = append(bad, config.Wrong("topic", "which topic?"))
	}
	if strings.HasPrefix(c.URL, "sns://") && !strings.HasPrefix(c.Topic, "arn:") {
		bad = append(bad, config.Wrong("topic", "SNS wants the ARN of the topic"))
	}
	if c.MaxBytes != 0 && (c.MaxBytes < leastBytes || c.MaxBytes > mostBytes) {
		bad = append(bad, config.Wrong("max_bytes", "want %s to %s", config.Size(leastBytes), config.Size(mostBytes)))
	}
	if c.Compression != "" && c.Format == formatJSON {
		bad = append(bad, config.Wrong("compression", "is of messages of acequia; JSON is sent as it is"))
	}
	return errors.Join(bad...)
}

func check(settings any, _ []*record.Schema) error {
	c, ok := settings.(*Config)
	if !ok {
		return errConfig
	}
	return c.check()
}

// plan tells what is sent, and what is promised.
func plan(settings any, _ []*record.Schema) []string {
	given, ok := settings.(*Config)
	if !ok {
		return nil
	}
	c := given.filled()
	what := "batches with schema, operation, version and event id"
	if c.Format == formatJSON {
		what = "one JSON row a message"
	}
	return []string{
		fmt.Sprintf("%s: %s, at most %s each", broker.Place(c.URL, c.Topic), what, c.MaxBytes),
		"at-least-once: what was being sent when the process died is sent again, under the same message ids",
	}
}

// Writes gives the place that the sink writes to, as sources/bus names the one that it reads: a pipeline that reads what it
// writes never ends.
func (c *Config) Writes() string { return broker.Place(c.URL, c.Topic) }
