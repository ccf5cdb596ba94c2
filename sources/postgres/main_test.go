package postgres_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

// server is shared by the tests of the package; each has a database of its own.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	code := postgrestest.Main(m, func(s *postgrestest.Server) { server = s })
	if err := goleak.Find(); code == 0 && err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}
