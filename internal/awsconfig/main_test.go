package awsconfig_test

import (
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
)

var server *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { server = s }))
}
