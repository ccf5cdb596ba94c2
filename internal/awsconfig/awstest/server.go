// Package awstest runs moto's server, which speaks the protocols of AWS, for the tests of a package. It does not enforce AWS's limits,
// has one shard a stream and no throttling.
package awstest

import (
	"io"
	"net"
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/servertest"
)

// Server is one that listens on 127.0.0.1 alone. All that it has is gone when it is stopped.
type Server struct {
	*servertest.Server
	Settings awsconfig.Settings // its endpoint and a region
}

// Environment is what a process needs so that the server takes it for somebody, and so that it finds no other credentials.
func Environment() map[string]string {
	return map[string]string{
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	}
}

// Start starts a server, and gives this process credentials that it takes. Without moto it fails and says how to get it.
func Start() (*Server, error) {
	for name, value := range Environment() {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return Launch()
}

// Launch starts a server for other processes, which have the Environment.
func Launch() (*Server, error) {
	program, err := servertest.Cached("moto", "moto/bin/moto_server")
	if err != nil {
		return nil, err
	}
	s, err := servertest.Start(program, func(s *servertest.Server) []string {
		host, port, _ := net.SplitHostPort(s.Address)
		return []string{"-H", host, "-p", port}
	})
	if err != nil {
		return nil, err
	}
	return &Server{Server: s, Settings: awsconfig.Settings{Region: "eu-west-1", Endpoint: "http://" + s.Address}}, nil
}

// Main runs the tests of a package beside one server, for TestMain. It gives the exit code.
func Main(m *testing.M, use func(*Server)) int {
	return servertest.Main(m, func() (io.Closer, error) {
		s, err := Start()
		if err == nil {
			use(s)
		}
		return s, err
	})
}
