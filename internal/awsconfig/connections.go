package awsconfig

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Connections gives a configuration connections of its own: as many are kept open as calls are made at the same time, and close ends them
// when nobody calls any more. answer is how long a service may say nothing, and take nothing, in the middle of a call; 0: for ever.
func Connections(c *aws.Config, calls int, answer time.Duration) (closeIdle func()) {
	transport := awshttp.NewBuildableClient().GetTransport()
	transport.MaxIdleConnsPerHost = calls
	transport.MaxIdleConns = max(transport.MaxIdleConns, calls)
	transport.ResponseHeaderTimeout = answer
	if answer > 0 {
		transport.IdleConnTimeout = min(transport.IdleConnTimeout, answer/2) // before its silence is taken for the network's
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &watched{conn, answer}, nil
		}
	}
	c.HTTPClient = &http.Client{Transport: transport}
	return transport.CloseIdleConnections
}

// watched is a connection that breaks when nothing has passed for a time. A network that swallows what it is given tells nobody: without it a call
// whose answer stops in the middle is waited for until the kernel gives up, or for ever.
type watched struct {
	net.Conn

	silence time.Duration
}

// Read waits no longer than a silence, which begins anew with each piece.
func (w *watched) Read(p []byte) (int, error) {
	if err := w.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
		return 0, err
	}
	return w.Conn.Read(p)
}

// Write does, too, and who waits to read begins to wait now.
func (w *watched) Write(p []byte) (int, error) {
	if err := w.SetDeadline(time.Now().Add(w.silence)); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}
