package routers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
)

// What is done under a lease that is kept ends when another process has the lease, when nothing can be renewed for so long that another may
// have it, and when it is given up; and does not begin without it.
func TestWorkEndsWithItsLease(t *testing.T) {
	t.Parallel()
	const key = "chore/compact/lake"
	for name, lose := range map[string]func(t *testing.T, dsn string, mine *frozen, team *Team){
		"taken over": func(t *testing.T, dsn string, _ *frozen, _ *Team) {
			t.Helper()
			store, err := checkpoint.OpenPostgres(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			other := store.Leases(fmt.Sprintf("other-%d", testTeams.Add(1)))
			for taken := false; !taken && err == nil; { // the owner moves it meanwhile
				var all []checkpoint.Lease
				if all, err = store.Held(t.Context()); err == nil && len(all) == 1 {
					taken, err = other.Take(t.Context(), key, &all[0])
				}
			}
			if err := errors.Join(err, store.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"not renewed": func(_ *testing.T, _ string, mine *frozen, _ *Team) { mine.still.Store(true) },
		"given up":    func(t *testing.T, _ string, _ *frozen, team *Team) { t.Helper(); team.Free(t.Context(), key) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dsn := server.Database(t)
			store, err := checkpoint.OpenPostgres(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			leases := &frozen{Leases: store.Leases(fmt.Sprintf("keeper-%d", testTeams.Add(1)))}
			team := openTeamOn(leases)
			defer func() {
				team.Close(context.WithoutCancel(t.Context())) // not renewed: it cannot, and says so in the log
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			}()
			if ctx, cancel := team.While(t.Context(), key); ctx.Err() == nil {
				t.Error("it begins without the lease")
				cancel()
			}
			if mine, err := team.Keep(t.Context(), key); !mine || err != nil {
				t.Fatal(mine, err)
			}
			ctx, cancel := team.While(t.Context(), key)
			defer cancel()
			done, finish := team.While(t.Context(), key)
			finish()
			if cause := context.Cause(done); !errors.Is(cause, context.Canceled) {
				t.Error(cause)
			}
			wait(t.Context(), 300*time.Millisecond, nil) // some rounds
			if ctx.Err() != nil {
				t.Fatal("it has ended although the lease is kept")
			}
			lose(t, dsn, leases, team)
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("it goes on")
			}
			if !errors.Is(context.Cause(ctx), errTakenOver) {
				t.Error(context.Cause(ctx))
			}
		})
	}
}

// A process whose leases cannot be given up at its end says so, and has done its work all the same: others take them over.
func TestTeamThatCannotGiveUp(t *testing.T) {
	t.Parallel()
	const key = "chore/compact/lake"
	dsn := server.Database(t)
	store, err := checkpoint.OpenPostgres(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	leases := &frozen{Leases: store.Leases("frozen")}
	var log bytes.Buffer
	team := openTeamOn(leases)
	team.Log = slog.New(slog.NewTextHandler(&log, nil))
	if mine, err := team.Keep(t.Context(), key); !mine || err != nil {
		t.Fatal(mine, err)
	}
	leases.still.Store(true)
	team.Close(t.Context())
	if !strings.Contains(log.String(), "others take them over") || !strings.Contains(log.String(), errFrozen.Error()) {
		t.Errorf("the log has %q", log.String())
	}
	other := openTeamOn(store.Leases("other"))
	waitFor(t, "it is taken over", func() bool {
		mine, err := other.Keep(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return mine
	})
	other.Close(t.Context())
	if err := store.Close(); err != nil {
		t.Error(err)
	}
}
