package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmjetstream "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/jetstream"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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

// subscribeNATS reads through a durable consumer of the group, which is asked for one message at a time as often as messages may
// be in flight. Messages that the server pushes to a queue of subscriptions gather behind a few of them: measured, 40 times slower.
func subscribeNATS(ctx context.Context, s Settings, at *url.URL) (*Subscription, error) {
	j, err := connectNATS(ctx, s, at)
	if err != nil {
		return nil, err
	}
	durable := name(s.Group + "-" + s.Topic)
	sub, err := wmjetstream.NewSubscriber(wmjetstream.SubscriberConfig{
		Conn: j.conn, Logger: logger(s), AckWaitTimeout: s.AckWait, Unmarshaler: fromNATS{}, NakDelay: wmnats.NewStaticDelay(again),
		ConsumeOptions: []jetstream.PullConsumeOpt{jetstream.PullMaxMessages(1)},
		ResourceInitializer: func(ctx context.Context, js jetstream.JetStream, _ string) (jetstream.Consumer, func(context.Context, watermill.LoggerAdapter), error) {
			c, err := js.CreateOrUpdateConsumer(ctx, j.stream, jetstream.ConsumerConfig{
				Durable: durable, FilterSubject: s.Topic, DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckExplicitPolicy,
				AckWait: s.AckWait, MaxAckPending: max(1, s.InFlight),
			})
			return c, nil, err
		},
	})
	if err != nil {
		j.conn.Close()
		return nil, err
	}
	merged, err := merge(ctx, s, sub)
	if err != nil {
		j.conn.Close()
		return nil, err
	}
	end := merged.close
	merged.close = func() error {
		err := end()
		j.conn.Close()
		return err
	}
	return merged, nil
}

// again is how long a refused message waits: it comes to the next reader, not to the one that is being closed.
const again = 200 * time.Millisecond

// name makes a name that NATS takes for a consumer.
func name(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(".*> /\\\t", r) {
			return '_'
		}
		return r
	}, text)
}

// fromNATS reads messages of any sender: Watermill's own refuses a header that stands twice, and such a message would come
// again for ever.
type fromNATS struct{}

// Unmarshal takes the id that NATS knows the message by when it has none of Watermill's.
func (fromNATS) Unmarshal(in jetstream.Msg) (*message.Message, error) {
	id := in.Headers().Get(wmnats.WatermillUUIDHdr)
	if id == "" {
		id = in.Headers().Get(nats.MsgIdHdr)
	}
	if id == "" {
		if meta, err := in.Metadata(); err == nil {
			id = fmt.Sprintf("%s-%d", meta.Stream, meta.Sequence.Stream)
		}
	}
	m := message.NewMessage(id, in.Data())
	for k, v := range in.Headers() {
		m.Metadata.Set(k, strings.Join(v, ","))
	}
	return m, nil
}
