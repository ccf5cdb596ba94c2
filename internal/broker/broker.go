// Package broker connects to brokers by their URLs, through Watermill's Pub/Subs: NATS JetStream, Kafka, AMQP, SQS and SNS.
// It is the only place that knows which broker is which; sources/bus and sinks/bus see Watermill's messages alone.
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/acequia-io/acequia/fault"
)

// KeyMetadata is the name of the metadata by which Kafka chooses the partition.
const KeyMetadata = "acequia-key"

// SentMetadata is the name of the metadata that says when the broker got a message, in microseconds since 1970 UTC: it is the same
// whenever the message comes again.
const SentMetadata = "acequia-sent"

func setSent(m *message.Message, at time.Time) {
	if at.Unix() > 0 {
		m.Metadata.Set(SentMetadata, strconv.FormatInt(at.UnixMicro(), 10))
	}
}

// Settings say which broker and how.
type Settings struct {
	URL      string // its scheme says which broker
	Topic    string
	Group    string        // readers of a group share the messages
	Stream   string        // NATS: the stream; "": the one that has the topic, else one named after it
	InFlight int           // messages that a reader may hold unconfirmed
	AckWait  time.Duration // after which a message that nobody confirmed comes again, where the broker can be told
	Create   bool          // make what the topic needs at the broker where it is missing
	MaxBytes int           // the largest message that is sent
	Log      *slog.Logger
}

// Subscription is a topic that is being read.
type Subscription struct {
	Messages <-chan *message.Message
	close    func() error
}

// Close ends the reading. Messages that were read and not confirmed come again.
func (s *Subscription) Close() error {
	drained := make(chan struct{})
	go func() { // a Pub/Sub may hold a message that nobody takes any more, and wait for somebody
		defer close(drained)
		for m := range s.Messages {
			m.Nack()
		}
	}()
	err := s.close()
	<-drained
	return err
}

// kind is how one broker is reached.
type kind struct {
	publish   func(ctx context.Context, s Settings, at *url.URL) (message.Publisher, error)
	subscribe func(ctx context.Context, s Settings, at *url.URL) (*Subscription, error)
	// largest is the message, as acequia makes it, that the broker takes if nobody has told it otherwise.
	largest int
}

func kinds() map[string]kind {
	return map[string]kind{
		"nats":  {publishNATS, subscribeNATS, 512 << 10}, // max_payload is 1 MiB, headers included
		"kafka": {publishKafka, subscribeKafka, 512 << 10},
		"amqp":  {publishAMQP, subscribeAMQP, 4 << 20},
		"amqps": {publishAMQP, subscribeAMQP, 4 << 20},
		"sqs":   {publishSQS, subscribeSQS, 180 << 10}, // a body is text: 4/3 of it, within the 256 KiB of older queues
		"sns":   {publishSNS, subscribeSNS, 180 << 10},
	}
}

// Schemes lists those that a URL may have.
func Schemes() []string {
	var out []string
	for scheme := range kinds() {
		out = append(out, scheme)
	}
	slices.Sort(out)
	return out
}

// Check says what is wrong with a URL, without its secrets.
func Check(text string) error {
	_, _, err := parse(text)
	return err
}

// Largest is the size of messages that the broker of a URL takes if nobody has told it otherwise, in bytes.
func Largest(text string) int {
	_, k, err := parse(text)
	if err != nil {
		return 0
	}
	return k.largest
}

// Place names a broker and a topic without secrets.
func Place(text, topic string) string {
	at, _, err := parse(text)
	if err != nil {
		return topic
	}
	return at.Scheme + "://" + at.Host + " " + topic
}

func parse(text string) (*url.URL, kind, error) {
	at, err := url.Parse(text)
	if err != nil {
		return nil, kind{}, errors.New("it is no URL") // the reason would show what stands in it
	}
	k, ok := kinds()[at.Scheme]
	if !ok {
		return nil, k, fmt.Errorf("its scheme %q is not known: want %s", at.Scheme, strings.Join(Schemes(), ", "))
	}
	if at.Host == "" {
		return nil, k, fmt.Errorf("it names no host: want %s", map[bool]string{true: at.Scheme + "://REGION", false: at.Scheme + "://HOST:PORT"}[cloud(at)])
	}
	return at, k, nil
}

func cloud(at *url.URL) bool { return at.Scheme == "sqs" || at.Scheme == "sns" }

// NewPublisher connects to send.
func NewPublisher(ctx context.Context, s Settings) (message.Publisher, error) {
	at, k, err := parse(s.URL)
	if err != nil {
		return nil, fault.Stop(err)
	}
	p, err := k.publish(ctx, s, at)
	if err != nil {
		return nil, unreachable(s, at, err)
	}
	return p, nil
}

// Subscribe connects and starts to read.
func Subscribe(ctx context.Context, s Settings) (*Subscription, error) {
	at, k, err := parse(s.URL)
	if err != nil {
		return nil, fault.Stop(err)
	}
	sub, err := k.subscribe(ctx, s, at)
	if err != nil {
		return nil, unreachable(s, at, err)
	}
	return sub, nil
}

// unreachable is the error of a broker that is not there, or refuses: it is tried again. The password of the URL is not in
// it.
func unreachable(s Settings, at *url.URL, err error) error {
	text := err.Error()
	if at.User != nil {
		text = strings.ReplaceAll(text, at.User.String(), "(secret)")
		if password, ok := at.User.Password(); ok && password != "" {
			text = strings.ReplaceAll(text, password, "(secret)")
		}
	}
	return &fault.Error{
		Class: fault.Retryable, Code: "ACQ-BUS-010", Place: Place(s.URL, s.Topic), Err: errors.New(text),
		Remedy: "see that the broker runs and that this user may use the topic; it is tried again",
	}
}

// logger gives Watermill's lines to ours. What it calls information is for who debugs.
func logger(s Settings) watermill.LoggerAdapter {
	if s.Log == nil {
		return watermill.NopLogger{}
	}
	return watermill.NewSlogLoggerWithLevelMapping(s.Log, map[slog.Level]slog.Level{slog.LevelInfo: slog.LevelDebug})
}

// merge subscribes as often as there may be messages in flight: each of these subscriptions of Watermill holds one message
// until it is confirmed.
func merge(ctx context.Context, s Settings, from message.Subscriber) (*Subscription, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	out := make(chan *message.Message)
	var all sync.WaitGroup
	end := func() error { // in this order: a Pub/Sub that is not closed may still give to a channel whose context has ended
		defer cancel()
		return from.Close()
	}
	for range max(1, s.InFlight) {
		in, err := from.Subscribe(ctx, s.Topic)
		if err != nil {
			return nil, errors.Join(err, end())
		}
		all.Go(func() {
			for m := range in {
				out <- m
			}
		})
	}
	go func() { all.Wait(); close(out) }()
	return &Subscription{Messages: out, close: end}, nil
}
