package sqs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/internal/messaging"
	"github.com/acequia-io/acequia/record"
)

// The formats of bodies.
const (
	formatAuto   = "auto"
	formatJSON   = "json"
	formatStream = "dynamodb"
	formatEvent  = "eventbridge"
	formatSNS    = "sns"
	formatS3     = "s3"
	formatRaw    = "raw"
)

// Config of the source.
type Config struct {
	Queue         string                 `yaml:"queue" required:"true" doc:"Name, ARN or URL of the queue."`
	AWS           awsconfig.Settings     `yaml:"aws" doc:"Region and endpoint; default: those of the URL or ARN, then of the environment."`
	Format        string                 `yaml:"format" enum:"auto,json,dynamodb,eventbridge,sns,s3,raw" doc:"auto: envelopes of EventBridge, SNS and Lambda are opened, records of DynamoDB Streams and S3 events are known, all else is JSON rows (default). json: the body is rows, whatever it looks like. dynamodb, s3: only such records, in any envelope; s3 has columns of its own. eventbridge, sns: rows in that envelope. raw: the body as text, beside its message."`
	Table         string                 `yaml:"table" doc:"The items table whose stream records come; default for stream, and its columns are those of the pipeline in the same project that feeds it."`
	Stream        string                 `yaml:"stream" doc:"Name of the stream; default: the table, or the name of the queue."`
	Columns       config.Ordered[string] `yaml:"schema" doc:"Columns of the rows and their types; not for s3 and raw."`
	Key           []string               `yaml:"key" doc:"Columns that identify a record, and so must have values."`
	Version       string                 `yaml:"version" doc:"Expression over row, an int or a timestamp; of two rows of a key the greater wins. Stream records and S3 events have versions of their own. Default: a key that is there stays."`
	Metadata      config.Ordered[string] `yaml:"metadata" doc:"More columns, from the message: message_id, receive_count, sent_at, first_received_at, group_id, sequence_number, sender_id, dead_letter_source, or attribute:NAME."`
	PayloadBucket string                 `yaml:"payload_bucket" doc:"Bucket of bodies that were too large: pointers into it are followed (our own and the Extended Client's), others are dead letters."`
	Pollers       int                    `yaml:"pollers" doc:"Receives at the same time; default 4."`
	InFlight      int                    `yaml:"in_flight" doc:"Messages that are read and not yet durable: a group is closed when there are so many. A queue allows 120000 for all replicas together; default 50000."`
	Wait          time.Duration          `yaml:"wait" doc:"How long a receive waits for messages; default 20s, which is the longest."`
	Linger        time.Duration          `yaml:"linger" doc:"How long messages gather for a chunk; default 100ms."`
	Visibility    time.Duration          `yaml:"visibility" doc:"For how long received messages are hidden from others; extended while their group waits. After a crash they come again so late. Default 5m."`
	Hold          time.Duration          `yaml:"hold" doc:"The longest that a group gathers; default 1s for a FIFO queue, whose groups give no more before what was received is deleted, else 6h."`

	Schema *record.Schema `yaml:"-"` // of the table's items, for who knows it; Columns are then not read
}

const (
	maxPollers  = 64
	longestHold = messaging.LongestHide / 2
)

// filled puts the defaults in.
func (c Config) filled() Config {
	c.Format = cmp.Or(c.Format, formatAuto)
	c.Stream = cmp.Or(c.Stream, c.Table, strings.TrimSuffix(messaging.QueueName(c.Queue), ".fifo"))
	c.Pollers = cmp.Or(c.Pollers, 4)
	c.InFlight = cmp.Or(c.InFlight, 50_000)
	c.Wait = cmp.Or(c.Wait, messaging.LongestWait)
	c.Linger = cmp.Or(c.Linger, 100*time.Millisecond)
	c.Visibility = cmp.Or(c.Visibility, 5*time.Minute)
	if c.Hold == 0 {
		c.Hold = longestHold
		if messaging.IsFIFO(c.Queue) {
			c.Hold = time.Second
		}
	}
	return c
}

// Reads gives the queue that is read, as sinks/sqs names the one that it writes.
func (c *Config) Reads() string { return "sqs://" + messaging.QueueName(c.Queue) }

// ItemsTable is the table whose changes come, if its columns are still to be found.
func (c *Config) ItemsTable() (name string, wanted bool) {
	return c.Table, c.Table != "" && c.Schema == nil && len(c.Columns) == 0
}

// UseSchema tells the columns that the table's items have.
func (c *Config) UseSchema(s *record.Schema) {
	own := *s
	own.Stream = cmp.Or(c.Stream, c.Table)
	c.Schema = &own
}

// check says all that is wrong with the settings.
func (c Config) check() error {
	var bad []error
	wrong := func(path, format string, args ...any) { bad = append(bad, config.Wrong(path, format, args...)) }
	if c.Queue == "" {
		wrong("queue", "which queue?")
	}
	if c.Pollers < 0 || c.Pollers > maxPollers {
		wrong("pollers", "want 1 to %d", maxPollers)
	}
	if c.InFlight != 0 && (c.InFlight < messaging.MostEntries || c.InFlight > messaging.MostInFlight) {
		wrong("in_flight", "want %d to %d", messaging.MostEntries, messaging.MostInFlight)
	}
	if c.Wait < 0 || c.Wait > messaging.LongestWait {
		wrong("wait", "want up to %s", messaging.LongestWait)
	}
	if c.Linger < 0 || c.Hold < 0 || c.Hold > longestHold {
		wrong("hold", "linger and hold must not be negative, nor hold longer than %s", longestHold)
	}
	if c.Visibility != 0 && (c.Visibility < time.Second || c.Visibility > longestHold) {
		wrong("visibility", "want 1s to %s", longestHold)
	}
	if c.Format == formatRaw || c.Format == formatS3 {
		for path, given := range map[string]bool{"schema": len(c.Columns) > 0, "key": len(c.Key) > 0, "table": c.Table != ""} {
			if given {
				wrong(path, "format %s has columns of its own", c.Format)
			}
		}
	}
	_, _, err := c.shape()
	return errors.Join(append(bad, err)...)
}

// shape gives the schema of the rows, metadata included, and the expression of their version; nil: they have none, or it is not known.
func (c Config) shape() (*record.Schema, *expr.Program, error) {
	rows, err := c.rows()
	if rows == nil || err != nil {
		return nil, nil, err
	}
	fields := slices.Clone(rows.Fields)
	var bad []error
	for _, m := range c.Metadata {
		kind, known := metadataKind(m.Value)
		if !known {
			bad = append(bad, config.At(fmt.Errorf("%q is nothing that a message has: want %s or attribute:NAME", m.Value, strings.Join(metadataNames(), ", ")), "metadata", m.Name))
		}
		fields = append(fields, record.Field{Name: m.Name, Kind: kind, Nullable: true})
	}
	if len(bad) > 0 {
		return nil, nil, errors.Join(bad...)
	}
	s, err := record.NewSchema(rows.Stream, rows.KeyNames(), fields...)
	if err != nil {
		return nil, nil, config.At(err, "metadata")
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

// rows gives the schema of what the bodies hold; nil: of a table that is still to be found.
func (c Config) rows() (*record.Schema, error) {
	stream := c.filled().Stream
	switch {
	case c.Format == formatRaw:
		return record.NewSchema(stream, []string{"message_id"}, rawFields()...)
	case c.Format == formatS3:
		return record.NewSchema(stream, []string{"bucket", "key"}, objectFields()...)
	case c.Schema != nil:
		return c.Schema, nil
	case len(c.Columns) == 0 && c.Table != "":
		return nil, nil
	case len(c.Columns) == 0:
		return nil, &config.FieldError{
			Path: []string{"schema"}, Err: errors.New("rows need their columns and types"), Remedy: "declare them, or say table: T, format: s3 or format: raw",
		}
	}
	var bad []error
	fields := make([]record.Field, 0, len(c.Columns))
	for _, e := range c.Columns {
		f, err := record.ParseType(e.Name, e.Value)
		bad = append(bad, config.At(err, "schema", e.Name))
		f.Nullable = !slices.Contains(c.Key, e.Name)
		fields = append(fields, f)
	}
	for i, k := range c.Key {
		if _, ok := c.Columns.Get(k); !ok {
			bad = append(bad, config.At(fmt.Errorf("there is no column %q", k), "key", strconv.Itoa(i)))
		}
	}
	if err := errors.Join(bad...); err != nil {
		return nil, err
	}
	s, err := record.NewSchema(stream, c.Key, fields...)
	return s, config.At(err, "schema")
}

// schemas tells what the rows look like.
func schemas(_ context.Context, settings any) ([]*record.Schema, error) {
	c, ok := settings.(*Config)
	if !ok {
		return nil, errConfig
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	s, _, err := c.shape()
	if s == nil || err != nil {
		return nil, err
	}
	return []*record.Schema{s}, nil
}

// plan tells what is read, and what is promised.
func plan(_ context.Context, settings any) []string {
	given, ok := settings.(*Config)
	if !ok {
		return nil
	}
	c := given.filled()
	lines := []string{
		fmt.Sprintf("%s: format %s, %d pollers of %s, up to %d messages in flight, hidden for %s and longer while they wait", given.Reads(), c.Format, c.Pollers, c.Wait, c.InFlight, c.Visibility),
		"at-least-once: a message may come again, with the same _event_id; items and the latest view have each record once",
	}
	if messaging.IsFIFO(c.Queue) {
		lines = append(lines, fmt.Sprintf("FIFO: the order of each message group is kept; a group of records is closed after %s, for SQS gives no more of a message group before", c.Hold))
	}
	if c.Version == "" && slices.Contains([]string{formatAuto, formatJSON, formatEvent, formatSNS}, c.Format) && c.Table == "" {
		lines = append(lines, "no version: plain rows are inserts, and a key that is there stays as it is")
	}
	return lines
}
