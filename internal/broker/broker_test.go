package broker_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
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
	case <-time.After(45 * time.Second): // a long poll of SQS takes 20
		t.Fatal("no message came")
	}
	return nil
}

// TestWhatIsNotConfirmedComesAgain ends a reader with messages confirmed, refused and open, and begins another. It runs on a NATS
// server of its own, and on the brokers whose URLs ACEQUIA_BROKERS lists, where somebody has started some.
func TestWhatIsNotConfirmedComesAgain(t *testing.T) {
	t.Parallel()
	for _, url := range append([]string{start(t).URL}, strings.Fields(os.Getenv("ACEQUIA_BROKERS"))...) {
		scheme, _, _ := strings.Cut(url, ":")
		if scheme == "sns" {
			continue // see below
		}
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			s := broker.Settings{
				URL: url, Topic: "topic-" + strings.ToLower(rand.Text()), Group: "readers", InFlight: 4, AckWait: time.Second, Create: true, MaxBytes: 1 << 20,
			}
			send(t, s, 4)
			first, err := broker.Subscribe(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			confirmed := map[string]bool{}
			for range 2 {
				m := next(t, first)
				if m.UUID+"\xff\x00" != "id-"+string(m.Payload) || m.Metadata.Get("more") != "than that" {
					t.Errorf("%q came as %q with %v", m.Payload, m.UUID, m.Metadata)
				}
				confirmed[m.UUID] = true
				m.Ack()
			}
			next(t, first).Nack()
			time.AfterFunc(500*time.Millisecond, func() { _ = first.Close() }) // confirmations are on their way
			for m := range first.Messages {
				_ = m // neither confirmed nor refused
			}
			second, err := broker.Subscribe(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			left := map[string]bool{}
			for len(left) < 2 {
				m := next(t, second)
				if confirmed[m.UUID] {
					t.Errorf("%s comes again", m.UUID)
				}
				left[m.UUID] = true
				m.Ack()
			}
			if err := second.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTopicFeedsAQueue reads what an SNS topic sends to a queue, where ACEQUIA_BROKERS names one: bytes, and text as it is.
func TestTopicFeedsAQueue(t *testing.T) {
	t.Parallel()
	for url := range strings.FieldsSeq(os.Getenv("ACEQUIA_BROKERS")) {
		if !strings.HasPrefix(url, "sns:") {
			continue
		}
		s := broker.Settings{
			URL: url, Topic: "arn:aws:sns:us-east-1:000000000000:" + rand.Text(), Group: "readers", InFlight: 2, AckWait: time.Minute, Create: true,
		}
		p, err := broker.NewPublisher(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Publish(s.Topic, message.NewMessage("before", []byte("anybody reads"))); err != nil { // it makes the topic
			t.Fatal(err)
		}
		sub, err := broker.Subscribe(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		for text, encoding := range map[string]string{"\xff\x00bytes": "base64", `{"plain": "text"}`: ""} {
			if err := p.Publish(s.Topic, message.NewMessage("id", []byte(text))); err != nil {
				t.Fatal(err)
			}
			m := next(t, sub)
			if m.UUID != "id" || string(m.Payload) != text || m.Metadata.Get("acequia-encoding") != encoding {
				t.Errorf("%q came as %q, %q, %v", text, m.UUID, m.Payload, m.Metadata)
			}
			m.Ack()
		}
		if err := errors.Join(sub.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	}
}

// send sends messages; on NATS each is sent twice, and the second is dropped by its id.
func send(t *testing.T, s broker.Settings, n int) {
	t.Helper()
	p, err := broker.NewPublisher(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	times := 1
	if strings.HasPrefix(s.URL, "nats:") {
		times = 2
	}
	for i := range n {
		for range times {
			m := message.NewMessage(fmt.Sprintf("id-%d", i), fmt.Appendf(nil, "%d\xff\x00", i)) // bytes that are no text
			m.Metadata.Set("more", "than that")
			m.Metadata.Set(broker.KeyMetadata, "key")
			if err := p.Publish(s.Topic, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
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
