package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/acequia-io/acequia/internal/broker/brokertest"
	"github.com/acequia-io/acequia/internal/query"
)

// noExitSleep, as GORACE, spares the second that the race detector sleeps when a process exits.
const noExitSleep = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(runChild())
	}
	testscript.Main(withDatabases{m, scriptDatabases}, map[string]func(){"acequia": func() { os.Exit(Main(os.Args[1:])) }})
}

// scriptDatabases are those of TestScripts.
var scriptDatabases = &databases{}

// TestScripts runs every command as a user would, failures included.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: os.Getenv("ACEQUIA_UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", noExitSleep)
			examples, err := filepath.Abs("../../examples")
			e.Setenv("EXAMPLES", examples)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"database": scriptDatabases.make, "sql": scriptDatabases.sql, "broker": broker, "aws": aws},
		Condition: func(name string) (bool, error) {
			if name != "sql" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			engine, err := query.New(query.Config{Lake: t.TempDir()})
			if err != nil {
				return false, err
			}
			return engine.Available() == nil, engine.Close()
		},
	})
}

// broker is the command broker of the scripts: a NATS server with JetStream until the script's end; $BUS is its URL.
func broker(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: broker")
	}
	s, err := brokertest.Start()
	ts.Check(err)
	ts.Defer(func() { ts.Check(s.Close()) })
	ts.Setenv("BUS", s.URL)
}
