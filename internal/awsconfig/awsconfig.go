// Package awsconfig loads the configuration of AWS, and says what its errors mean. Nobody else does either.
package awsconfig

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/logging"

	"github.com/acequia-io/acequia/fault"
)

// Settings is what a configuration file may say of a service of AWS. All else is the SDK's default chain:
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html.
type Settings struct {
	Region   string `yaml:"region" doc:"Region of AWS, such as eu-west-1; default: that of AWS_REGION or of the profile."`
	Endpoint string `yaml:"endpoint" doc:"Address of a server that speaks the protocol and is not AWS, such as http://127.0.0.1:4566."`
}

// attempts is how often the SDK asks before a lane restarts.
const attempts = 3

// Load gives the configuration with credentials that are there. Without them the error is ACQ-AWS-001, without a region ACQ-AWS-002.
func Load(ctx context.Context, s Settings) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithLogger(logging.Nop{}), // what matters of it comes back as an error
		config.WithRetryer(func() aws.Retryer { return retry.AddWithMaxAttempts(retry.NewStandard(), attempts) }),
	}
	if s.Region != "" {
		options = append(options, config.WithRegion(s.Region))
	}
	if s.Endpoint != "" {
		options = append(options, config.WithBaseEndpoint(s.Endpoint))
	}
	c, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return c, Explain(err, "load the configuration", "AWS")
	}
	if c.Region == "" {
		return c, &fault.Error{Code: "ACQ-AWS-002", Place: "AWS", Err: errors.New("no region is set"), Remedy: "set AWS_REGION, or aws: { region: ... } in the configuration"}
	}
	if _, err := c.Credentials.Retrieve(ctx); err != nil {
		return c, withoutCredentials(err)
	}
	return c, nil
}

// Static names the source of credentials that do not expire, "" where they do: a role's are safer.
func Static(ctx context.Context, c aws.Config) string {
	v, err := c.Credentials.Retrieve(ctx)
	if err != nil || v.CanExpire || v.SessionToken != "" {
		return ""
	}
	return v.Source
}

func withoutCredentials(err error) error {
	return &fault.Error{
		Code: "ACQ-AWS-001", Place: "AWS", Err: errors.Join(errors.New("Credenciales de AWS no encontradas (no AWS credentials were found)"), err), //nolint:staticcheck // the words that its users know
		Remedy: "run with a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
	}
}

// Status gives the HTTP status that an error of a service came with; 0: it came with none.
func Status(err error) int {
	if r, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err); ok {
		return r.HTTPStatusCode()
	}
	return 0
}

// Throttled says whether the service asks for fewer calls.
func Throttled(err error) bool {
	return retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() || Status(err) == http.StatusTooManyRequests
}
