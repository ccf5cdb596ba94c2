package broker

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ThreeDotsLabs/watermill-aws/sns"
	"github.com/ThreeDotsLabs/watermill-aws/sqs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// encodingMetadata says that a body is base64: SQS and SNS carry text.
const encodingMetadata = "acequia-encoding"

// awsConfig takes the region from the host, and endpoint= for servers that are not AWS.
func awsConfig(ctx context.Context, at *url.URL) (aws.Config, error) {
	return awsconfig.Load(ctx, awsconfig.Settings{Region: at.Hostname(), Endpoint: at.Query().Get("endpoint")})
}

func publishSQS(ctx context.Context, s Settings, at *url.URL) (message.Publisher, error) {
	c, err := awsConfig(ctx, at)
	if err != nil {
		return nil, err
	}
	p, err := sqs.NewPublisher(sqs.PublisherConfig{AWSConfig: c, DoNotCreateQueueIfNotExists: !s.Create}, logger(s))
	if err != nil {
		return nil, err
	}
	return textPublisher{p}, nil
}

func subscribeSQS(ctx context.Context, s Settings, at *url.URL) (*Subscription, error) {
	c, err := awsConfig(ctx, at)
	if err != nil {
		return nil, err
	}
	sub, err := sqs.NewSubscriber(sqsSubscriber(c, s), logger(s))
	if err != nil {
		return nil, err
	}
	return merge(ctx, s, sub)
}

func sqsSubscriber(c aws.Config, s Settings) sqs.SubscriberConfig {
	return sqs.SubscriberConfig{
		AWSConfig: c, DoNotCreateQueueIfNotExists: !s.Create, Unmarshaler: fromText{},
		GenerateReceiveMessageInput: func(ctx context.Context, queue sqs.QueueURL) (*awssqs.ReceiveMessageInput, error) {
			in, err := sqs.GenerateReceiveMessageInputDefault(ctx, queue)
			if err == nil {
				in.MessageSystemAttributeNames = []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp}
			}
			return in, err
		},
		QueueConfigAttributes: sqs.QueueConfigAttributes{VisibilityTimeout: strconv.Itoa(int(s.AckWait.Seconds()))},
	}
}

// publishSNS sends to a topic, which is named by its ARN.
func publishSNS(ctx context.Context, s Settings, at *url.URL) (message.Publisher, error) {
	c, err := awsConfig(ctx, at)
	if err != nil {
		return nil, err
	}
	p, err := sns.NewPublisher(sns.PublisherConfig{
		AWSConfig: c, TopicResolver: sns.TransparentTopicResolver{}, DoNotCreateTopicIfNotExists: !s.Create,
		Marshaler: toSNS{},
	}, logger(s))
	if err != nil {
		return nil, err
	}
	return textPublisher{p}, nil
}

// toSNS names the topic as such: Watermill's own calls it a target, which other servers than AWS do not take.
type toSNS struct {
	sns.DefaultMarshalerUnmarshaler
}

// Marshal makes what is published.
func (t toSNS) Marshal(topic sns.TopicArn, m *message.Message) *awssns.PublishInput {
	out := t.DefaultMarshalerUnmarshaler.Marshal(topic, m)
	out.TopicArn, out.TargetArn = aws.String(string(topic)), nil
	return out
}

// subscribeSNS reads the SQS queue that is named as the group, which the topic feeds.
func subscribeSNS(ctx context.Context, s Settings, at *url.URL) (*Subscription, error) {
	c, err := awsConfig(ctx, at)
	if err != nil {
		return nil, err
	}
	sub, err := sns.NewSubscriber(sns.SubscriberConfig{
		AWSConfig: c, TopicResolver: sns.TransparentTopicResolver{}, DoNotCreateSqsSubscription: !s.Create,
		GenerateSqsQueueName: func(context.Context, sns.TopicArn) (string, error) { return s.Group, nil },
	}, sqsSubscriber(c, s), logger(s))
	if err != nil {
		return nil, err
	}
	return merge(ctx, s, sub)
}

// textPublisher sends payloads that are no text as base64.
type textPublisher struct{ message.Publisher }

// isText says whether SQS and SNS carry a payload as it is: other programs read JSON so.
func isText(p []byte) bool {
	return utf8.Valid(p) && !bytes.ContainsFunc(p, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

// Publish sends copies, so that the caller's messages stay as they are.
func (p textPublisher) Publish(topic string, all ...*message.Message) error {
	out := make([]*message.Message, len(all))
	for i, m := range all {
		out[i] = message.NewMessage(m.UUID, m.Payload)
		if !isText(m.Payload) {
			out[i].Payload = base64.StdEncoding.AppendEncode(nil, m.Payload)
			out[i].Metadata.Set(encodingMetadata, "base64")
		}
		for k, v := range m.Metadata {
			if k != KeyMetadata {
				out[i].Metadata.Set(k, v)
			}
		}
	}
	return p.Publisher.Publish(topic, out...)
}

// fromText reads what textPublisher sent, and messages of others as they are.
type fromText struct {
	sqs.DefaultMarshalerUnmarshaler
}

// Unmarshal decodes the body. One that is not base64 is given as it is: the reader tells what is wrong with it.
func (f fromText) Unmarshal(in *types.Message) (*message.Message, error) {
	m, err := f.DefaultMarshalerUnmarshaler.Unmarshal(in)
	if err != nil {
		return nil, err
	}
	if ms, err := strconv.ParseInt(in.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		setSent(m, time.UnixMilli(ms))
	}
	if m.Metadata.Get(encodingMetadata) != "base64" {
		return m, nil
	}
	if raw, err := base64.StdEncoding.DecodeString(string(m.Payload)); err == nil {
		m.Payload = raw
	}
	return m, nil
}
