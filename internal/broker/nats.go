package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
)

// window is how long a stream that we make remembers message ids: what is sent again after a crash is dropped there.
const window = 10 * time.Minute

// jetStream is a connection to a stream.
type jetStream struct {
	conn   *nats.Conn
	js     nats.JetStreamContext
	stream string
}

func connectNATS(ctx context.Context, s Settings, at *url.URL) (_ *jetStream, err error) {
	conn, err := nats.Connect(at.String(), nats.Name("acequia"), nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	j := &jetStream{conn: conn}
	if j.js, err = conn.JetStream(); err == nil {
		j.stream, err = j.find(ctx, s)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return j, nil
}

// find gives the stream that holds the topic, and makes it if it may.
func (j *jetStream) find(ctx context.Context, s Settings) (string, error) {
	if s.Stream != "" && !s.Create {
		return s.Stream, nil
	}
	name, err := j.js.StreamNameBySubject(s.Topic, nats.Context(ctx))
	switch {
	case err == nil && s.Stream != "" && name != s.Stream:
		return "", fmt.Errorf("the topic is in the stream %s, not in %s", name, s.Stream)
	case err == nil || !errors.Is(err, nats.ErrNoMatchingStream) || !s.Create:
		return name, err
	}
	if name = s.Stream; name == "" {
		name = strings.NewReplacer(".", "_", "*", "_", ">", "_").Replace(s.Topic)
	}
	_, err = j.js.AddStream(&nats.StreamConfig{Name: name, Subjects: []string{s.Topic}, Duplicates: window}, nats.Context(ctx))
	if errors.Is(err, nats.ErrStreamNameAlreadyInUse) { // somebody else was faster, or it lacks the topic: sending tells
		err = nil
	}
	return name, err
}

func publishNATS(ctx context.Context, s Settings, at *url.URL) (message.Publisher, error) {
	j, err := connectNATS(ctx, s, at)
	if err != nil {
		return nil, err
	}
	return wmnats.NewPublisherWithNatsConn(j.conn, wmnats.PublisherPublishConfig{
		Marshaler: &wmnats.NATSMarshaler{}, SubjectCalculator: wmnats.DefaultSubjectCalculator,
		JetStream: wmnats.JetStreamConfig{TrackMsgId: true, PublishOptions: []nats.PubOpt{nats.ExpectStream(j.stream)}},
	}, logger(s))
}

// subscribeNATS reads through a durable consumer of the group.
func subscribeNATS(ctx context.Context, s Settings, at *url.URL) (*Subscription, error) {
	j, err := connectNATS(ctx, s, at)
	if err != nil {
		return nil, err
	}
	r := &pullSubscriber{settings: s, conn: j.conn, stream: j.stream, closing: make(chan struct{})}
	in, err := r.Subscribe(ctx, s.Topic)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &Subscription{Messages: in, close: r.Close}, nil
}

// name makes a name that NATS takes for a consumer.
func name(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(".*> /\\\t", r) {
			return '_'
		}
		return r
	}, text)
}
