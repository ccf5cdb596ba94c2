package sqs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Config of the sink.
type Config struct {
	Queue         string             `yaml:"queue" required:"true" doc:"Name, ARN or URL of the queue. It must be there."`
	AWS           awsconfig.Settings `yaml:"aws" doc:"Region and endpoint; default: those of the URL or ARN, then of the environment."`
	Group         []string           `yaml:"group" doc:"Columns whose values make the message group; default for a FIFO queue: the key. A standard queue shares its readers' time fairly among groups."`
	MaxBytes      config.Size        `yaml:"max_bytes" doc:"Largest message with its attributes; default 1MiB, which new queues take. Queues with a limit of 256KiB need it here."`
	PayloadBucket string             `yaml:"payload_bucket" doc:"Bucket for rows that are larger: a pointer to the object is sent. Default: none, and such a row is a dead letter."`
	PayloadPrefix string             `yaml:"payload_prefix" doc:"Before the names of such objects; default: acequia/. Let a lifecycle rule delete them when no message can name them any more."`
	Concurrency   int                `yaml:"concurrency" doc:"Batches that are sent at the same time; default 4. A FIFO queue is sent one after the other."`
}

const (
	leastBytes     = 1 << 10
	maxConcurrency = 64
)

// filled puts the defaults in.
func (c Config) filled() Config {
	c.MaxBytes = cmp.Or(c.MaxBytes, messaging.MostBytes)
	c.PayloadPrefix = cmp.Or(c.PayloadPrefix, "acequia/")
	c.Concurrency = cmp.Or(c.Concurrency, 4)
	return c
}

// Writes gives the queue that the sink writes to, as sources/sqs names the one that it reads: a pipeline that reads what it writes
// never ends.
func (c *Config) Writes() string { return "sqs://" + messaging.QueueName(c.Queue) }

// check says all that is wrong with the settings for records of these schemas.
func (c Config) check(in []*record.Schema) error {
	var bad []error
	if c.Queue == "" {
		bad = append(bad, config.Wrong("queue", "which queue?"))
	}
	if c.MaxBytes != 0 && (c.MaxBytes < leastBytes || c.MaxBytes > messaging.MostBytes) {
		bad = append(bad, config.Wrong("max_bytes", "want %s to %s", config.Size(leastBytes), config.Size(messaging.MostBytes)))
	}
	if c.Concurrency < 0 || c.Concurrency > maxConcurrency {
		bad = append(bad, config.Wrong("concurrency", "want 1 to %d", maxConcurrency))
	}
	for _, s := range in {
		for i, name := range c.Group {
			if s.Index(name) < 0 {
				bad = append(bad, config.At(fmt.Errorf("stream %s has no column %q", s.Stream, name), "group", strconv.Itoa(i)))
			}
		}
		if messaging.IsFIFO(c.Queue) && len(c.Group) == 0 && len(s.Key) == 0 {
			bad = append(bad, &config.FieldError{Path: []string{"group"}, Err: fmt.Errorf("stream %s has no key, and a FIFO queue needs message groups", s.Stream), Remedy: "name the columns that make a group"})
		}
	}
	return errors.Join(bad...)
}

func check(settings any, in []*record.Schema) error {
	c, ok := settings.(*Config)
	if !ok {
		return errConfig
	}
	return c.check(in)
}

// plan tells what is sent, and what is promised.
func plan(settings any, _ []*record.Schema) []string {
	given, ok := settings.(*Config)
	if !ok {
		return nil
	}
	c := given.filled()
	large := "a larger one is a dead letter"
	if c.PayloadBucket != "" {
		large = "a larger one goes to s3://" + c.PayloadBucket + "/" + c.PayloadPrefix
	}
	lines := []string{
		fmt.Sprintf("%s: one JSON row a message, at most %s, in batches of %d; %s", given.Writes(), c.MaxBytes, messaging.MostEntries, large),
		"at-least-once: what was being sent when the process died is sent again, with the same event ids",
	}
	if messaging.IsFIFO(c.Queue) {
		of := strings.Join(c.Group, ", ")
		lines = append(lines, "FIFO: the order of each message group is kept, a group by "+cmp.Or(of, "key"))
	}
	return lines
}

var _ sinks.Checker = (*Config)(nil)

// Check asks the queue what it is. Whether messages may be sent only a message would tell.
func (c *Config) Check(ctx context.Context) (found string, err error) {
	q, err := messaging.OpenQueue(ctx, c.Queue, c.AWS)
	if err != nil {
		return "", err
	}
	defer q.Close()
	l, err := q.Look(ctx)
	if err != nil {
		return "", err
	}
	if most := int64(c.filled().MaxBytes); l.MostBytes > 0 && l.MostBytes < most {
		return "", config.Wrong("max_bytes", "the queue takes messages of %d bytes, not %d", l.MostBytes, most)
	}
	return fmt.Sprintf("%s is there, with %d messages", c.Writes(), l.Visible), nil
}
