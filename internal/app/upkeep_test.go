package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

const keptFile = `version: 1
sources:
  games: { type: file, path: "data/*.csv", stream: games, key: [rank], schema: { rank: int64, dt: date } }
sinks:
  lake: { type: lake, url: lake, partition: [dt], %s }
pipelines:
  games: { from: games, to: [lake] }
`

// opened makes a service of the file above.
func opened(t *testing.T, dir, settings string) *Service {
	t.Helper()
	path := filepath.Join(dir, "games.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, keptFile, settings), 0o600); err != nil {
		t.Fatal(err)
	}
	project, problems, err := LoadProject(t.Context(), catalog.Default(), []string{path}, os.LookupEnv)
	if err != nil || problems.Errors() {
		t.Fatal(problems, err)
	}
	s, err := project.Open(t.Context(), ServiceOptions{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A service merges small files, drops old days, deletes what was replaced, and stops in the middle of it.
func TestLakesAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o750); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		text := fmt.Sprintf("rank,dt\n%d,1999-12-31\n%d,%s\n", n, 10+n, time.Now().UTC().Format(time.DateOnly))
		if err := os.WriteFile(filepath.Join(dir, "data", fmt.Sprintf("%d.csv", n)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := opened(t, dir, "roll: { every: 1m }")
		if err := s.Run(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	lake := filepath.Join(dir, "lake")
	if names, err := lakefiles.List(t.Context(), blob.Within(lake), "games"); len(names) != 6 || err != nil {
		t.Fatalf("%q, %v", names, err)
	}
	s := opened(t, dir, "compact: { every: 20ms, older_than: 1ms, grace: 1ms }, expire: { after: 90d, every: 20ms, grace: 1ms }")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	var keeping sync.WaitGroup
	keeping.Go(func() { s.keepLakes(ctx) })
	for tick := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		raw, err := filepath.Glob(filepath.Join(lake, "games/*/*.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) == 1 && strings.Contains(raw[0], "swap-") {
			break
		}
	}
	if ctx.Err() != nil {
		t.Error("the lake was not kept")
	}
	cancel()
	keeping.Wait()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestExpiryWantsDates(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "games.yaml")
	text := strings.Replace(fmt.Sprintf(keptFile, "expire: { after: 0s }"), "partition: [dt]", "partition: [rank]", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems, err := LoadProject(t.Context(), catalog.Default(), []string{path}, os.LookupEnv)
	for _, want := range []string{"table games is partitioned by rank, and that is no date", "after: it must be positive"} {
		if err != nil || !strings.Contains(problems.Error(), want) {
			t.Errorf("%q is not in %v, %v", want, problems, err)
		}
	}
}
