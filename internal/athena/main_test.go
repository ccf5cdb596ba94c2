package athena_test

import (
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
)

// moto is an emulator that others wrote: Glue, and of Athena workgroups, named queries and results that it is told beforehand.
var moto *awstest.Server

func TestMain(m *testing.M) {
	os.Exit(awstest.Main(m, func(s *awstest.Server) { moto = s }))
}
