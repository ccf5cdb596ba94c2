package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/acequia-io/acequia/catalog"
)

// TestStoppedBeforeItBegan has a signal come before the state is open: the exit code is the signal's, and nothing is said to be at fault.
func TestStoppedBeforeItBegan(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "acequia.yaml")
	text := "version: 1\nsources:\n  in: { type: file, path: in.csv, key: [id], schema: { id: int64 } }\nsinks:\n  none: { type: discard }\npipelines:\n  p: { from: in, to: [none] }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped{syscall.SIGTERM})
	var out, complaints strings.Builder
	code := execute(ctx, []string{"run", file, "--until-idle"}, terminal{out: &out, err: &complaints, plugins: catalog.Default()})
	if code != 143 || !strings.Contains(complaints.String(), "stopped by a signal (terminated)") {
		t.Errorf("exit code %d: %s", code, &complaints)
	}
}
