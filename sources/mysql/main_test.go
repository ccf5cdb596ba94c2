package mysql_test

import (
	"flag"
	"os"
	"runtime"
	"strconv"
	"testing"

	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/mysql/mysqltest"
)

// waiting is how many tests run at the same time at least: most of their time they wait for servers, locks and clocks.
const waiting = 6

// server is shared by the tests of the package; each has a database of its own.
var server *mysqltest.Server

func TestMain(m *testing.M) {
	flag.Parse()
	if at := flag.Lookup("test.parallel"); runtime.GOMAXPROCS(0) < waiting && at.Value.String() == at.DefValue {
		_ = at.Value.Set(strconv.Itoa(waiting)) // a number
	}
	code := mysqltest.Main(m, func(s *mysqltest.Server) { server = s })
	if err := goleak.Find(); code == 0 && err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}
