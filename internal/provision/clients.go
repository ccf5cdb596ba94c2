package provision

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/pipes"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/acequia-io/acequia/internal/awsconfig"
)

// answerTime is how long a service may take to begin its answer.
const answerTime = 30 * time.Second

// clients are those of one region.
type clients struct {
	account, region string
	s3              *s3.Client
	dynamodb        *dynamodb.Client
	sqs             *sqs.Client
	events          *eventbridge.Client
	iam             *iam.Client
	pipes           *pipes.Client
	close           func()
}

// at gives the clients of a place, or of the usual one where it says nothing.
func (s *Site) at(ctx context.Context, at awsconfig.Settings) (*clients, error) {
	at.Region, at.Endpoint = cmp.Or(at.Region, s.options.At.Region), cmp.Or(at.Endpoint, s.options.At.Endpoint)
	if c, ok := s.clients[at]; ok {
		return c, nil
	}
	c, err := awsconfig.Load(ctx, at)
	if err != nil {
		return nil, err
	}
	who, err := awsconfig.Identify(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &clients{account: who.Account, region: c.Region, close: awsconfig.Connections(&c, 4, answerTime)}
	out.s3 = s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil }) // a server that is not AWS has no name for each bucket
	out.dynamodb = dynamodb.NewFromConfig(c, func(o *dynamodb.Options) { o.DisableValidateResponseChecksum = true })
	out.sqs, out.events, out.iam, out.pipes = sqs.NewFromConfig(c), eventbridge.NewFromConfig(c), iam.NewFromConfig(c), pipes.NewFromConfig(c)
	s.clients[at] = out
	return out, nil
}

// encrypted says whether a server is asked by TLS. One that stands in for AWS on this machine may not be, and nobody could then use what asks for it.
func (s *Site) encrypted(endpoint *string) bool {
	return s.options.TLS || endpoint == nil || !strings.HasPrefix(*endpoint, "http://")
}

// partition is that of the regions which are not of China or of the government of the United States.
const partition = "aws"

func (c *clients) arn(service, resource string) string {
	return "arn:" + partition + ":" + service + ":" + c.region + ":" + c.account + ":" + resource
}
