package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/compaction"
	"github.com/acequia-io/acequia/internal/lakefiles"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
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

// A chore ends when another process has its lease, and is looked at again soon.
func TestAChoreEndsWithItsLease(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn := server.Database(t)
	s := opened(t, t.TempDir(), fmt.Sprintf("roll: { every: 1m } }\nstate: { type: postgres, dsn: %q", dsn))
	if s.team == nil {
		t.Fatal("it is in no team")
	}
	c := &chore{name: "compact", root: "lake", do: func(ctx context.Context) ([]compaction.Result, error) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		store, err := checkpoint.OpenPostgres(ctx, dsn)
		if err != nil {
			return nil, err
		}
		other := store.Leases("other")
		for taken := false; !taken && err == nil; { // the owner moves it meanwhile
			var all []checkpoint.Lease
			all, err = store.Held(ctx)
			if at := slices.IndexFunc(all, func(l checkpoint.Lease) bool { return strings.HasPrefix(l.Key, "chore/") }); at >= 0 {
				taken, err = other.Take(ctx, all[at].Key, &all[at])
			}
		}
		<-ctx.Done()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) || err != nil {
			t.Error("it goes on", err)
		}
		return nil, errors.Join(store.Close(), ctx.Err())
	}}
	if !s.doesChore(t.Context(), c) {
		t.Fatal("it is another's")
	}
	if s.chore(t.Context(), c) {
		t.Error("it waits as long as after one that was done")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A chore whose table another process has, such as one that is frozen, is tried again soon.
func TestAChoreThatIsRefusedComesAgainSoon(t *testing.T) {
	t.Parallel()
	s := opened(t, t.TempDir(), "compact: {}")
	for want, err := range map[bool]error{
		false: fmt.Errorf("table games: %w", &fault.Error{Code: lakefiles.CodeLocked, Err: errors.New("another")}),
		true:  errors.New("no disk"),
	} {
		c := &chore{do: func(context.Context) ([]compaction.Result, error) { return nil, err }}
		if got := s.chore(t.Context(), c); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
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
