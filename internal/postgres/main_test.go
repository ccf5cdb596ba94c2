package postgres_test

import (
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

// server is shared by the tests of the package; each has a database of its own.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	os.Exit(postgrestest.Main(m, func(s *postgrestest.Server) { server = s }))
}
