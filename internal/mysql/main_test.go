package mysql

import (
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
)

// server is shared by the tests of the package; each has a database of its own.
var server *mysqltest.Server

func TestMain(m *testing.M) {
	os.Exit(mysqltest.Main(m, func(s *mysqltest.Server) { server = s }))
}
