package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestClockJumps moves the wall clock against the time that passes: only a jump is told, with how far and what it means.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &wallClock{log: slog.New(slog.NewTextHandler(&out, nil))}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		wall, took time.Duration
		told       string
	}{
		{0, 0, ""},
		{10 * time.Second, 10 * time.Second, ""},
		{40 * time.Second, 10 * time.Second, ""}, // half a minute of correction
		{2 * time.Hour, 10 * time.Second, "by=1h59m50s"},
		{10 * time.Second, 10 * time.Second, ""},
		{-3 * time.Hour, 10 * time.Second, "by=-3h0m10s"},
		{time.Hour, time.Hour, ""}, // the machine was busy, or asleep
	} {
		out.Reset()
		at = at.Add(step.wall)
		c.look(t.Context(), at, step.took)
		if got := out.String(); !strings.Contains(got, step.told) || (step.told == "") != (got == "") {
			t.Errorf("%v in %v: %s", step.wall, step.took, got)
		}
	}
}

// TestClockBeforeTheLastRun opens a state that was written at a time to come.
func TestClockBeforeTheLastRun(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state.db")
	var out bytes.Buffer
	c := &wallClock{log: slog.New(slog.NewTextHandler(&out, nil))}
	c.sawLater(t.Context(), path)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if c.sawLater(t.Context(), path); out.Len() > 0 {
		t.Error(&out)
	}
	later := time.Now().Add(2 * time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if c.sawLater(t.Context(), path); !strings.Contains(out.String(), "stands before the last run") || !strings.Contains(out.String(), "NTP") {
		t.Error(&out)
	}
}
