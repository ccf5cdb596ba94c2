package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/ThreeDotsLabs/watermill-amqp/v3/pkg/amqp"
	"github.com/ThreeDotsLabs/watermill/message"
	amqp091 "github.com/rabbitmq/amqp091-go"
)

// amqpConfig has one durable queue a topic, which all readers share: a message that is sent to an exchange before a reader
// has bound its queue would be gone.
func amqpConfig(at *url.URL) amqp.Config {
	c := amqp.NewDurableQueueConfig(at.String())
	c.Marshaler = amqpMarshaler{}
	c.Publish.ConfirmDelivery = true
	return c
}

// publishAMQP makes the queue before anything is sent, for the same reason.
func publishAMQP(_ context.Context, s Settings, at *url.URL) (message.Publisher, error) {
	queue, err := amqp.NewSubscriber(amqpConfig(at), logger(s))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(queue.SubscribeInitialize(s.Topic), queue.Close()); err != nil {
		return nil, err
	}
	return amqp.NewPublisher(amqpConfig(at), logger(s))
}

func subscribeAMQP(ctx context.Context, s Settings, at *url.URL) (*Subscription, error) {
	sub, err := amqp.NewSubscriber(amqpConfig(at), logger(s))
	if err != nil {
		return nil, err
	}
	return merge(ctx, s, sub)
}

// amqpMarshaler reads messages of any sender: Watermill's own refuses headers that are no texts, and gives such a message
// back to the queue again and again.
type amqpMarshaler struct{ amqp.DefaultMarshaler }

// Unmarshal takes the id of AMQP when the message has none of Watermill's.
func (amqpMarshaler) Unmarshal(in amqp091.Delivery) (*message.Message, error) {
	id, _ := in.Headers[amqp.DefaultMessageUUIDHeaderKey].(string)
	if id == "" {
		id = in.MessageId
	}
	m := message.NewMessage(id, in.Body)
	for k, v := range in.Headers {
		if k != amqp.DefaultMessageUUIDHeaderKey {
			m.Metadata.Set(k, fmt.Sprint(v))
		}
	}
	setSent(m, in.Timestamp) // of the sender, where there is one
	return m, nil
}
