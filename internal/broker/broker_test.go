package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker"
	"github.com/acequia-io/acequia/internal/broker/brokertest"
)

func start(t *testing.T) *brokertest.Server {
	t.Helper()
	s, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func next(t *testing.T, s *broker.Subscription) *message.Message {
	t.Helper()
	select {
	case m := <-s.Messages:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("no message came")
	}
	return nil
}

// TestJetStreamKeepsWhatIsNotConfirmed ends a reader with messages confirmed, refused and open, and begins another.
func TestJetStreamKeepsWhatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	server := start(t)
	s := broker.Settings{URL: server.URL, Topic: "a.topic", Group: "readers", InFlight: 4, AckWait: time.Second, Create: true}
	p, err := broker.NewPublisher(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		for range 2 { // the second is dropped by its id
			if err := p.Publish(s.Topic, message.NewMessage(fmt.Sprint("id-", i), []byte{byte(i)})); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	first, err := broker.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	confirmed := map[string]bool{}
	for i := range 3 {
		m := next(t, first)
		switch i {
		case 0, 1:
			confirmed[m.UUID] = true
			m.Ack()
		case 2:
			m.Nack()
		}
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = first.Close() }) // confirmations are on their way
	for m := range first.Messages {
		_ = m // neither confirmed nor refused
	}
	second, err := broker.Subscribe(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{}
	for range 2 {
		m := next(t, second)
		if confirmed[m.UUID] || left[m.UUID] {
			t.Errorf("%s comes again", m.UUID)
		}
		left[m.UUID] = true
		m.Ack()
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// TestForeignMessagesAreRead sends what Watermill's own reader refuses for ever.
func TestForeignMessagesAreRead(t *testing.T) {
	t.Parallel()
	server := start(t)
	err := server.Publish("foreign", &nats.Msg{Data: []byte("x"), Header: nats.Header{"two": {"a", "b"}}}, &nats.Msg{Data: []byte("y"), Header: nats.Header{nats.MsgIdHdr: {"mine"}}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := broker.Subscribe(t.Context(), broker.Settings{URL: server.URL, Topic: "foreign", Group: "g", InFlight: 1, AckWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"foreign-1", "mine"} {
		m := next(t, s)
		if m.UUID != want {
			t.Errorf("the id is %q, want %q", m.UUID, want)
		}
		m.Ack()
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"nats://user:hush@127.0.0.1:1", "kafka://user:hush@127.0.0.1:1", "amqp://user:hush@127.0.0.1:1/"} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := broker.Subscribe(ctx, broker.Settings{URL: url, Topic: "t", Group: "g", InFlight: 1})
		cancel()
		if fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-BUS-010" || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v", url[:5], err)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"nats://localhost:4222": "", "sqs://eu-west-1": "", "kafka://a:9092,b:9092": "",
		"redis://x": `its scheme "redis" is not known: want amqp, amqps, kafka, nats, sns, sqs`,
		"nats://":   "it names no host: want nats://HOST:PORT", "sqs://": "it names no host: want sqs://REGION",
		"amqp://user:hush@%zz/": "it is no URL",
	} {
		if err := broker.Check(url); err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
}
