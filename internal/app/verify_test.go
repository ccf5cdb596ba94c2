package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
)

// TestVerifyWaitsForWhatSinksGather: what a running pipeline has read and does not show yet must be no difference.
func TestVerifyWaitsForWhatSinksGather(t *testing.T) {
	t.Parallel()
	for sinks, want := range map[string]time.Duration{
		`lake: { type: lake, url: lake }`:                                                 5 * time.Minute,
		`lake: { type: lake, url: lake, roll: { every: 3s } }`:                            3 * time.Second,
		"lake: { type: lake, url: lake, roll: { every: 20s } }\n  items: { type: items }": 20 * time.Second,
		"lake: { type: items }\n  items: { type: lake, url: lake, roll: { every: 1s } }":  time.Second,
		`lake: { type: items }`: 0,
	} {
		path := filepath.Join(t.TempDir(), "x.yaml")
		to := "[lake]"
		if strings.Contains(sinks, "items:") {
			to = "[lake, items]"
		}
		text := fmt.Sprintf("version: 1\nsources:\n  in: { type: file, path: \"*.csv\" }\nsinks:\n  %s\npipelines:\n  in: { from: in, to: %s }\n", sinks, to)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		p, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{path}, noVariables)
		if err != nil || len(p.Pipelines) != 1 {
			t.Fatal(sinks, problems, err)
		}
		if got := app.Gathers(p.Pipelines[0]); got != want {
			t.Errorf("%s gathers for %s, not %s", sinks, got, want)
		}
	}
}
