// Package browsertest drives the real program in Debian's Chromium: the form, the query page, the status page, the dead letters, in both
// languages, light and dark, with and without scripts. Every page must be free of what axe calls a violation.
// Screenshots are left in the folder that ACEQUIA_TEST_OUTPUT names, or in output.
package browsertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// flow is what run.mjs tells of one flow.
type flow struct {
	Flow  string `json:"flow"`
	Ms    int64  `json:"ms"`
	Error string `json:"error"`
}

func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	node := needed(t)
	output := os.Getenv("ACEQUIA_TEST_OUTPUT")
	if output == "" {
		output = "output"
	}
	output, err := filepath.Abs(output)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(output, 0o750); err != nil {
		t.Fatal(err)
	}
	old, err := filepath.Glob(filepath.Join(output, "*.png"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	url := startDemo(t, program(t))
	cmd := exec.CommandContext(t.Context(), node, "run.mjs", url, output) //nolint:gosec // the test's own script
	cmd.WaitDelay = 10 * time.Second
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	told, err := cmd.Output()
	seen := 0
	for line := range bytes.Lines(told) { //nolint:paralleltest // each flow has run: only its outcome is told
		var f flow
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatalf("read %s: %v", line, err)
		}
		seen++
		t.Run(f.Flow, func(t *testing.T) {
			t.Logf("%d ms", f.Ms)
			if f.Error != "" {
				t.Error(f.Error)
			}
		})
	}
	if err != nil || seen == 0 {
		t.Fatalf("%d flows were driven: %v\n%s", seen, err, &complaints)
	}
	t.Logf("screenshots: %s", output)
}

// needed finds node, Chromium and the packages. What is missing skips the test, but fails it where CI is set.
func needed(t *testing.T) (node string) {
	t.Helper()
	node, err := exec.LookPath("node")
	missing := []error{err}
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		chromium = "/usr/bin/chromium"
	}
	_, err = exec.LookPath(chromium)
	missing = append(missing, err)
	if _, err = os.Stat(filepath.Join("node_modules", "playwright-core")); err != nil {
		missing = append(missing, errors.New("the packages are missing: run `npm ci` in internal/browsertest"))
	}
	switch err := errors.Join(missing...); {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return node
}

// program gives the program that ACEQUIA_BIN names, or builds it.
func program(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("ACEQUIA_BIN"); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), "acequia")
	args := []string{"build", "-o", path}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race") // it watches the pages' server too, and what the other tests compiled serves again
	}
	build := exec.CommandContext(t.Context(), "go", append(args, "../../cmd/acequia")...) //nolint:gosec // our own command
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build acequia: %v\n%s", err, text)
	}
	return path
}

var address = regexp.MustCompile(`http://(?:localhost|127\.0\.0\.1):\d+`)

// startDemo starts the program on a free port with some games, gives its address, and stops it as Ctrl-C would.
func startDemo(t *testing.T, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	dir := t.TempDir()
	if err := addLetters(ctx, dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, path, "demo", "--port", "0", "--dir", dir, "--sample", "300") //nolint:gosec // the program under test
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	var rest sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		rest.Wait()
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("stop the demo: %v\n%s", err, &log)
		}
	})
	var printed strings.Builder
	for {
		line, err := lines.ReadString('\n')
		printed.WriteString(line)
		if found := address.FindString(line); found != "" {
			rest.Go(func() { _, _ = io.Copy(io.Discard, lines) }) // ends with the program
			return found
		}
		if err != nil {
			t.Fatalf("the demo printed no address: %v\n%s", err, &printed)
		}
	}
}
