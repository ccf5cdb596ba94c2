package broker

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill-kafka/v3/pkg/kafka"
	"github.com/ThreeDotsLabs/watermill/message"
)

// kafkaConfig takes user, password and tls=true from the URL. Nothing is confirmed before all replicas in sync have it.
func kafkaConfig(s Settings, at *url.URL) *sarama.Config {
	c := kafka.DefaultSaramaSyncPublisherConfig()
	c.ClientID = "acequia"
	c.Version = sarama.V2_1_0_0
	c.Net.TLS.Enable = at.Query().Get("tls") == "true"
	if at.User != nil {
		c.Net.SASL.Enable, c.Net.SASL.User = true, at.User.Username()
		c.Net.SASL.Password, _ = at.User.Password()
	}
	c.Producer.RequiredAcks, c.Producer.Idempotent, c.Net.MaxOpenRequests = sarama.WaitForAll, true, 1
	c.Producer.MaxMessageBytes = max(c.Producer.MaxMessageBytes, s.MaxBytes+64<<10) // headers count
	c.Metadata.AllowAutoTopicCreation = s.Create
	c.Consumer.Return.Errors = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func publishKafka(_ context.Context, s Settings, at *url.URL) (message.Publisher, error) {
	return kafka.NewPublisher(kafka.PublisherConfig{
		Brokers: strings.Split(at.Host, ","), Marshaler: toKafka{}, OverwriteSaramaConfig: kafkaConfig(s, at),
	}, logger(s))
}

// subscribeKafka reads as a member of the consumer group. Watermill holds one message of each partition until it is
// confirmed, whatever may be in flight.
func subscribeKafka(ctx context.Context, s Settings, at *url.URL) (*Subscription, error) {
	sub, err := kafka.NewSubscriber(kafka.SubscriberConfig{
		Brokers: strings.Split(at.Host, ","), ConsumerGroup: s.Group, OverwriteSaramaConfig: kafkaConfig(s, at), Unmarshaler: fromKafka{},
	}, logger(s))
	if err != nil {
		return nil, err
	}
	s.InFlight = 1 // subscriptions
	return merge(ctx, s, sub)
}

// fromKafka reads messages of any sender: one without an id has its place in the topic.
type fromKafka struct{ kafka.DefaultMarshaler }

// Unmarshal makes Watermill's message.
func (f fromKafka) Unmarshal(in *sarama.ConsumerMessage) (*message.Message, error) {
	m, err := f.DefaultMarshaler.Unmarshal(in)
	if err != nil {
		return nil, err
	}
	if m.UUID == "" {
		m.UUID = fmt.Sprintf("%s-%d-%d", in.Topic, in.Partition, in.Offset)
	}
	setSent(m, in.Timestamp)
	return m, nil
}

// toKafka gives a message the key that chooses its partition.
type toKafka struct{ kafka.DefaultMarshaler }

// Marshal makes Kafka's message.
func (t toKafka) Marshal(topic string, m *message.Message) (*sarama.ProducerMessage, error) {
	key := m.Metadata.Get(KeyMetadata)
	delete(m.Metadata, KeyMetadata)
	out, err := t.DefaultMarshaler.Marshal(topic, m)
	if err == nil && key != "" {
		out.Key = sarama.StringEncoder(key)
	}
	return out, err
}
