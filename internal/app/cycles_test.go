package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
)

// TestCyclesAreFound has two pipelines in two files that feed each other, one that feeds itself, and one that is fed by them.
func TestCyclesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": `version: 1
sources:
  first: { type: bus, url: "nats://user:hush@here:4222", topic: first }
sinks:
  second: { type: bus, url: "nats://here:4222", topic: second }
pipelines:
  a: { from: first, to: [second] }
`,
		"b.yaml": `version: 1
sources:
  second: { type: bus, url: "nats://here:4222", topic: second }
  own: { type: bus, url: "kafka://here:4222", topic: own }
sinks:
  first: { type: bus, url: "nats://here:4222", topic: first }
  own: { type: bus, url: "kafka://here:4222", topic: own }
  nothing: { type: discard }
pipelines:
  b: { from: second, to: [first] }
  itself: { from: own, to: [own] }
  fed: { from: second, to: [nothing] }
`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{dir}, noVariables)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(problems.Error(), dir+string(filepath.Separator), "")
	for _, want := range []string{
		"ACQ-CFG-009: a.yaml:7:21: pipeline a: it reads what it writes: a → topic nats://here:4222 second, b (b.yaml:10) → topic nats://here:4222 first, a (a.yaml:7)",
		"ACQ-CFG-009: b.yaml:10:22: pipeline b: it reads what it writes: ",
		"ACQ-CFG-009: b.yaml:11:24: pipeline itself: it reads what it writes: itself → topic kafka://here:4222 own, itself (b.yaml:11)",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Contains(got, "pipeline fed") || strings.Contains(got, "pipeline a: it reads what it writes: a → topic nats://user") {
		t.Error("too much is told")
	}
	if t.Failed() {
		t.Log(got)
	}
}
