package awsconfig_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
)

// TestLoad loads from the environment: without a region or credentials it says so, and what to do.
func TestLoad(t *testing.T) { //nolint:paralleltest // it sets the environment
	for _, test := range []struct {
		name, region, key, want string
	}{
		{"all", "eu-west-1", "test", ""},
		{"no region", "", "test", "ACQ-AWS-002"},
		{"no credentials", "eu-west-1", "", "ACQ-AWS-001"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("AWS_ACCESS_KEY_ID", test.key)
			t.Setenv("AWS_REGION", "")
			c, err := awsconfig.Load(t.Context(), awsconfig.Settings{Region: test.region})
			if fault.Code(err) != test.want {
				t.Errorf("got %v", err)
			}
			if test.want == "ACQ-AWS-001" && !strings.Contains(err.Error(), "Credenciales de AWS no encontradas") {
				t.Errorf("got %v", err)
			}
			if err == nil && awsconfig.Static(t.Context(), c) == "" {
				t.Error("a key of the environment is static")
			}
		})
	}
}

// TestExplainOfAServer asks for a queue that is not there.
func TestExplainOfAServer(t *testing.T) {
	t.Parallel()
	c, err := awsconfig.Load(t.Context(), server.Settings)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqs.NewFromConfig(c).GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("nothing")})
	err = awsconfig.Explain(err, "find the queue", "nothing")
	if fault.Code(err) != "ACQ-AWS-006" || fault.Of(err) != fault.Fatal {
		t.Errorf("got %v", err)
	}
}

// TestExplainOfStatus has a server that answers each call with one status.
func TestExplainOfStatus(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status int
		name   string
		code   string
		class  fault.Class
	}{
		{400, "ExpiredToken", "ACQ-AWS-003", fault.Fatal},
		{403, "RequestTimeTooSkewed", "ACQ-AWS-004", fault.Fatal},
		{403, "AccessDenied", "ACQ-AWS-005", fault.Fatal},
		{403, "Strange", "ACQ-AWS-005", fault.Fatal},
		{400, "ThrottlingException", "ACQ-AWS-008", fault.Retryable},
		{503, "SlowDown", "ACQ-AWS-008", fault.Retryable},
		{500, "InternalError", "", fault.Retryable},
		{400, "ValidationException", "", fault.Fatal},
	} {
		t.Run(fmt.Sprint(test.status, test.name), func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Amzn-Query-Error", test.name+";Sender")
				w.WriteHeader(test.status)
				_, _ = fmt.Fprintf(w, `{"__type": %q, "message": "no"}`, test.name)
			}))
			t.Cleanup(s.Close)
			c, err := awsconfig.Load(t.Context(), awsconfig.Settings{Region: "eu-west-1", Endpoint: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			c.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
			_, err = sqs.NewFromConfig(c).ListQueues(t.Context(), nil)
			err = awsconfig.Explain(err, "list the queues", "SQS")
			if fault.Code(err) != test.code || fault.Of(err) != test.class {
				t.Errorf("got %v of class %v", err, fault.Of(err))
			}
		})
	}
}

// TestExplainKeeps leaves alone what has a class, and says of a server that is not there that it is tried again.
func TestExplainKeeps(t *testing.T) {
	t.Parallel()
	poison := fault.Poisoned(errors.New("bad"))
	if err := awsconfig.Explain(poison, "write", "here"); err != poison { //nolint:errorlint // the same error
		t.Errorf("got %v", err)
	}
	c, err := awsconfig.Load(t.Context(), awsconfig.Settings{Region: "eu-west-1", Endpoint: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	c.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	_, err = sqs.NewFromConfig(c).ListQueues(t.Context(), nil)
	if err = awsconfig.Explain(err, "list the queues", "SQS"); fault.Code(err) != "ACQ-AWS-009" || fault.Of(err) != fault.Retryable {
		t.Errorf("got %v", err)
	}
}
