package main

import (
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"custom-handler": main}) }

// TestProgram runs the program as a user would.
func TestProgram(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(e *testscript.Env) error {
		e.Setenv("GORACE", "atexit_sleep_ms=0")
		here, err := filepath.Abs(".")
		e.Setenv("EXAMPLE", here)
		return err
	}})
}
