package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// again is how long a refused message waits: it comes to the next reader, not to the one that is being closed.
const again = 200 * time.Millisecond

// answerWait bounds a confirmation.
const answerWait = 5 * time.Second

// pullSubscriber is a Watermill subscriber that pulls from a durable consumer, in order, as many messages as may be in flight. Those of
// watermill-nats were tried: messages that are pushed to a queue of subscriptions gather behind a few of them (measured: 8 times slower),
// and the pulling one sends on a channel that it has closed.
type pullSubscriber struct {
	settings Settings
	conn     *nats.Conn
	stream   string
	closing  chan struct{}
	once     sync.Once
	all      sync.WaitGroup
}

var _ message.Subscriber = (*pullSubscriber)(nil)

// Subscribe makes the consumer, or takes the one that is there.
func (p *pullSubscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	js, err := jetstream.New(p.conn)
	if err != nil {
		return nil, err
	}
	flying := max(1, p.settings.InFlight)
	consumer, err := js.CreateOrUpdateConsumer(ctx, p.stream, jetstream.ConsumerConfig{
		Durable: name(p.settings.Group + "-" + topic), FilterSubject: topic, DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: p.settings.AckWait, MaxAckPending: flying,
	})
	if err != nil {
		return nil, err
	}
	in, err := consumer.Messages(jetstream.PullMaxMessages(flying))
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx) // Close ends the reading; confirmations outlive what asked for it
	out, ended := make(chan *message.Message), make(chan struct{})
	p.all.Go(func() {
		defer close(ended)
		defer close(out)
		p.pull(ctx, in, out)
	})
	p.all.Go(func() {
		select {
		case <-p.closing:
			in.Drain() // what has been pulled is given back by pull
		case <-ended:
			in.Stop()
		}
	})
	return out, nil
}

// pull hands messages out until the subscriber is closed, or the consumer is gone.
func (p *pullSubscriber) pull(ctx context.Context, in jetstream.MessagesContext, out chan<- *message.Message) {
	for {
		next, err := in.Next()
		switch {
		case errors.Is(err, jetstream.ErrNoHeartbeat): // the server is away: the client connects and pulls again by itself
			continue
		case errors.Is(err, jetstream.ErrMsgIteratorClosed):
			return
		case err != nil:
			if p.settings.Log != nil {
				p.settings.Log.WarnContext(ctx, "the consumer has ended", slog.String("topic", p.settings.Topic), slog.Any("error", err))
			}
			return
		}
		m := fromNATS(next)
		own, done := context.WithCancel(ctx)
		m.SetContext(own)
		select {
		case <-p.closing:
			done()
			_ = next.NakWithDelay(again)
			continue
		default:
		}
		select {
		case out <- m:
			p.all.Go(func() { defer done(); p.answer(ctx, next, m) })
		case <-p.closing:
			done()
			_ = next.NakWithDelay(again)
		}
	}
}

// answer waits for what becomes of a message, and keeps the server from sending it again meanwhile. A message whose answer does
// not arrive is sent again.
func (p *pullSubscriber) answer(ctx context.Context, in jetstream.Msg, m *message.Message) {
	beat := time.NewTicker(max(p.settings.AckWait/3, again))
	defer beat.Stop()
	for {
		select {
		case <-m.Acked():
			ctx, cancel := context.WithTimeout(ctx, answerWait)
			defer cancel()
			if err := in.DoubleAck(ctx); err != nil && p.settings.Log != nil {
				p.settings.Log.WarnContext(ctx, "a message was not confirmed and comes again", slog.String("id", m.UUID), slog.Any("error", err))
			}
			return
		case <-m.Nacked():
			_ = in.NakWithDelay(again)
			return
		case <-beat.C:
			_ = in.InProgress()
		case <-p.closing:
			select {
			case <-m.Acked(): // both had happened
				_ = in.Ack()
			default:
				_ = in.NakWithDelay(again)
			}
			return
		}
	}
}

// Close ends the reading and the connection.
func (p *pullSubscriber) Close() error {
	p.once.Do(func() { close(p.closing) })
	p.all.Wait()
	_ = p.conn.FlushTimeout(answerWait) // refusals that are under way; without them messages come later
	p.conn.Close()
	return nil
}

// fromNATS reads messages of any sender. One that has no id of Watermill's has the one that NATS knows it by, or its number.
func fromNATS(in jetstream.Msg) *message.Message {
	id := in.Headers().Get(wmnats.WatermillUUIDHdr)
	if id == "" {
		id = in.Headers().Get(nats.MsgIdHdr)
	}
	meta, err := in.Metadata()
	if id == "" && err == nil {
		id = fmt.Sprintf("%s-%d", meta.Stream, meta.Sequence.Stream)
	}
	m := message.NewMessage(id, in.Data())
	for k, v := range in.Headers() {
		m.Metadata.Set(k, strings.Join(v, ","))
	}
	if err == nil {
		setSent(m, meta.Timestamp)
	}
	return m
}
