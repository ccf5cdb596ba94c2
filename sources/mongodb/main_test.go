package mongodb_test

import (
	"os"
	"testing"

	"github.com/acequia-io/acequia/internal/mongodb/mongodbtest"
)

// server is shared by the tests of the package; each has a database of its own.
var server *mongodbtest.Server

func TestMain(m *testing.M) {
	os.Exit(mongodbtest.Main(m, func(s *mongodbtest.Server) { server = s }))
}
