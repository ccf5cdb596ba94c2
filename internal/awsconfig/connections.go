package awsconfig

import (
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Connections gives a configuration connections of its own: as many are kept open as calls are made at the same time, and close ends them
// when nobody calls any more. answer is how long a service may take to begin its answer.
func Connections(c *aws.Config, calls int, answer time.Duration) (closeIdle func()) {
	transport := awshttp.NewBuildableClient().GetTransport()
	transport.MaxIdleConnsPerHost = calls
	transport.MaxIdleConns = max(transport.MaxIdleConns, calls)
	transport.ResponseHeaderTimeout = answer
	c.HTTPClient = &http.Client{Transport: transport}
	return transport.CloseIdleConnections
}
