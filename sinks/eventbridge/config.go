package eventbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
)

// Config of the sink.
type Config struct {
	Bus           string             `yaml:"bus" doc:"Name or ARN of the bus; default: default, which every account has."`
	AWS           awsconfig.Settings `yaml:"aws" doc:"Region and endpoint; default: those of the ARN, then of the environment."`
	Source        string             `yaml:"source" doc:"Source of the events, by which rules know them; default: acequia.PIPELINE."`
	DetailType    string             `yaml:"detail_type" doc:"Their detail-type; default: the stream."`
	MaxBytes      config.Size        `yaml:"max_bytes" doc:"Largest event with all of its fields; default 1MiB. A rule whose target is a queue with a limit of 256KiB needs less."`
	PayloadBucket string             `yaml:"payload_bucket" doc:"Bucket for rows that are larger: the detail is a pointer to the object then. Default: none, and such a row is a dead letter."`
	PayloadPrefix string             `yaml:"payload_prefix" doc:"Before the names of such objects; default: acequia/."`
	Concurrency   int                `yaml:"concurrency" doc:"Batches that are put at the same time; default 4. EventBridge keeps no order in any case."`
}

const (
	leastBytes     = 1 << 10
	maxConcurrency = 64
)

// filled puts the defaults in.
func (c Config) filled() Config {
	c.Bus = cmp.Or(c.Bus, "default")
	c.MaxBytes = cmp.Or(c.MaxBytes, messaging.MostBytes)
	c.PayloadPrefix = cmp.Or(c.PayloadPrefix, "acequia/")
	c.Concurrency = cmp.Or(c.Concurrency, 4)
	return c
}

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	if strings.HasPrefix(c.Source, "aws.") {
		bad = append(bad, config.Wrong("source", "names that begin with aws. are those of AWS"))
	}
	if c.MaxBytes != 0 && (c.MaxBytes < leastBytes || c.MaxBytes > messaging.MostBytes) {
		bad = append(bad, config.Wrong("max_bytes", "want %s to %s", config.Size(leastBytes), config.Size(messaging.MostBytes)))
	}
	if c.Concurrency < 0 || c.Concurrency > maxConcurrency {
		bad = append(bad, config.Wrong("concurrency", "want 1 to %d", maxConcurrency))
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
	large := "a larger one is a dead letter"
	if c.PayloadBucket != "" {
		large = "a larger one goes to s3://" + c.PayloadBucket + "/" + c.PayloadPrefix
	}
	return []string{
		fmt.Sprintf("bus %s: an event a row, source %s, detail-type %s, at most %s, in batches of %d; %s", c.Bus, cmp.Or(c.Source, "acequia.PIPELINE"), cmp.Or(c.DetailType, "the stream"), c.MaxBytes, messaging.MostEntries, large),
		"at-least-once and in no order: the version in each event says which copy of a key wins",
	}
}

var _ sinks.Checker = (*Config)(nil)

// Check asks whether the bus is there. Whether events may be put only an event would tell.
func (c *Config) Check(ctx context.Context) (found string, err error) {
	b, err := messaging.OpenBus(ctx, c.filled().Bus, c.AWS)
	if err != nil {
		return "", err
	}
	defer b.Close()
	if err := b.Look(ctx); err != nil {
		return "", err
	}
	return "bus " + c.filled().Bus + " is there", nil
}
