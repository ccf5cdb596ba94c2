package api_test

import (
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
)

var server *postgrestest.Server

func TestMain(m *testing.M) {
	os.Exit(postgrestest.Main(m, func(s *postgrestest.Server) { server = s }))
}
