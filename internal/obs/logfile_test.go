package obs_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/obs"
)

// A line has moment, logger, level and message, and the file what stderr has.
func TestLogFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "data_ingestion.log")
	file, err := obs.OpenLogFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var other bytes.Buffer
	log := file.With(obs.NewLogger(&other, slog.LevelInfo), slog.LevelInfo)
	log.Debug("not this")
	log.Info("service begins")
	log.With(slog.String("pipeline", "mysql"), slog.Int("n", 1)).Warn("table is read again", slog.String("table", "two words"))
	log.WithGroup("g").With(slog.String("pipeline", "x")).Error("line\nbreak", slog.Int("msg", 2))
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`acequia - INFO - service begins`, `acequia.mysql - WARNING - table is read again n=1 table="two words"`, `acequia - ERROR - "line\nbreak" g.pipeline=x g.msg=2`,
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), text)
	}
	moment := regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - `)
	for i, line := range lines {
		if !moment.MatchString(line) || moment.ReplaceAllString(line, "") != want[i] {
			t.Errorf("%s\nwant %s", line, want[i])
		}
	}
	if n := strings.Count(other.String(), "\n"); n != len(want) {
		t.Errorf("%d lines beside the file:\n%s", n, &other)
	}
}

// At 10 MB the file is begun anew, the older ones are compressed, and nothing of it goes on after Close.
func TestLogFileIsBegunAnew(t *testing.T) { //nolint:paralleltest // it looks for goroutines that others would begin
	none := goleak.IgnoreCurrent()
	dir := t.TempDir()
	file, err := obs.OpenLogFile(filepath.Join(dir, "a.log"))
	if err != nil {
		t.Fatal(err)
	}
	log := file.With(slog.New(slog.DiscardHandler), slog.LevelInfo)
	long := strings.Repeat("x", 1<<20)
	for range 25 {
		log.Info("much", slog.String("text", long))
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, none)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("%v, %v", entries, err)
	}
	info, err := os.Stat(filepath.Join(dir, "a.log"))
	if err != nil || info.Size() > 10<<20 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := obs.OpenLogFile(filepath.Join(dir, "none", "a.log")); fault.Code(err) != "ACQ-ENV-011" {
		t.Error(err)
	}
}

func TestLevelOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]slog.Level{"": slog.LevelInfo, "debug": slog.LevelDebug, "WARNING": slog.LevelWarn, "Critical": slog.LevelError} {
		if got, err := obs.LevelOf(name, slog.LevelInfo); got != want || err != nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	if _, err := obs.LevelOf("loud", slog.LevelInfo); fault.Code(err) != "ACQ-CFG-014" {
		t.Error(err)
	}
}
