package awsconfig

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// Identity is whom AWS takes this process for.
type Identity struct {
	Account, ARN string
	Skew         time.Duration // by how much the clock of AWS is ahead of this machine's; whole seconds
}

// Identify asks. No right is needed for it: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html.
func Identify(ctx context.Context, c aws.Config) (Identity, error) {
	began := time.Now()
	out, err := sts.NewFromConfig(c).GetCallerIdentity(ctx, nil)
	if err != nil {
		return Identity{}, Explain(err, "ask who this is (sts:GetCallerIdentity)", "AWS")
	}
	who := Identity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn)}
	if server, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
		who.Skew = skew(server, began, time.Now())
	}
	return who, nil
}

// skew compares the server's Date, which has whole seconds, with the moments between which it was written.
func skew(server, began, ended time.Time) time.Duration {
	switch {
	case server.Add(time.Second).Before(began):
		return server.Sub(began).Truncate(time.Second)
	case server.After(ended):
		return server.Sub(ended).Truncate(time.Second)
	}
	return 0
}
