package jobs_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
)

// timed is a state with a board, whose jobs note when they begin.
type timed struct {
	t     *testing.T
	store *checkpoint.Store
	board *jobs.Board
	takes time.Duration // a job

	mu    sync.Mutex
	begun []string
}

func newTimed(t *testing.T, path string) *timed {
	t.Helper()
	store, err := checkpoint.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	board, err := jobs.OpenBoard(t.Context(), store, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &timed{t: t, store: store, board: board}
}

func (w *timed) close() {
	w.board.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *timed) schedule(text string) *jobs.Schedule {
	w.t.Helper()
	file, problems := config.Parse("acequia.yaml", []byte("version: 1\npipelines: {}\nschedule: "+text), nil)
	if len(file.Schedule.Jobs) == 0 {
		w.t.Fatal(problems)
	}
	return jobs.NewSchedule(file.Schedule, w.store, w.board, slog.New(slog.DiscardHandler), func(_ context.Context, kind string) (jobs.Order, error) {
		return jobs.Order{Kind: kind, Work: kind, Do: func(ctx context.Context, task *jobs.Task) (bool, error) {
			w.mu.Lock()
			w.begun = append(w.begun, kind+" "+time.Now().UTC().Format("02 15:04"))
			w.mu.Unlock()
			task.Begin(ctx)
			select {
			case <-time.After(w.takes):
			case <-ctx.Done():
			}
			return false, nil
		}}, nil
	})
}

// for has schedules begin jobs for a while, and gives what they began.
func (w *timed) during(d time.Duration, all ...*jobs.Schedule) []string {
	w.t.Helper()
	w.mu.Lock()
	w.begun = nil
	w.mu.Unlock()
	for _, s := range all {
		if err := s.Start(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	<-time.After(d)
	synctest.Wait()
	for _, s := range all {
		if err := s.Stop(); err != nil {
			w.t.Error(err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.begun)
}

const twice = `{ time_zone: America/Lima, backup: "0 2 * * *", sync: "*/30 * * * *" }`

// Lima is five hours behind: two in the night is seven in UTC. The time of the tests begins at midnight of 1 January 2000, UTC.
func TestJobsBeginAtTheirTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, filepath.Join(t.TempDir(), "state.db"))
		defer w.close()
		begun := w.during(24*time.Hour+time.Minute, w.schedule(twice))
		syncs := 0
		for _, b := range begun {
			if strings.HasPrefix(b, "sync ") {
				syncs++
			}
		}
		if syncs != 48 || len(begun) != 49 || !slices.Contains(begun, "backup 01 07:00") {
			t.Errorf("%d syncs in a day, and %v", syncs, begun)
		}
	})
}

// Two processes on one state: each time is taken by one of them.
func TestOneOfSeveralBeginsAJob(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, filepath.Join(t.TempDir(), "state.db"))
		defer w.close()
		begun := w.during(2*time.Hour+time.Minute, w.schedule(`{ sync: "0 * * * *" }`), w.schedule(`{ sync: "0 * * * *" }`), w.schedule(`{ sync: "0 * * * *" }`))
		if fmt.Sprint(begun) != "[sync 01 01:00 sync 01 02:00]" {
			t.Error(begun)
		}
	})
}

func TestJobsDoNotOverlap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, filepath.Join(t.TempDir(), "state.db"))
		defer w.close()
		w.takes = 45 * time.Minute
		if begun := w.during(3*time.Hour+time.Minute, w.schedule(`{ sync: "*/30 * * * *" }`)); fmt.Sprint(begun) != "[sync 01 00:30 sync 01 01:30 sync 01 02:30]" {
			t.Error(begun)
		}
	})
}

func TestMissedRunsAreCaughtUpOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, filepath.Join(t.TempDir(), "state.db"))
		defer w.close()
		const every = `{ sync: "0 * * * *" }`
		if begun := w.during(90*time.Minute, w.schedule(every)); fmt.Sprint(begun) != "[sync 01 01:00]" { // nothing was missed before it was known
			t.Error(begun)
		}
		<-time.After(5*time.Hour + 45*time.Minute)
		if begun := w.during(time.Hour, w.schedule(every)); fmt.Sprint(begun) != "[sync 01 07:15 sync 01 08:00]" { // once, not six times
			t.Error(begun)
		}
		s := w.schedule(every)
		if err := s.Pause(t.Context(), "sync", true); err != nil {
			t.Error(err)
		}
		if begun := w.during(3*time.Hour, s); len(begun) != 0 {
			t.Error("it was paused: ", begun)
		}
		s = w.schedule(every)
		if list, err := s.List(t.Context()); err != nil || !list[0].Paused || list[0].Next != nil || list[0].Last == "" {
			t.Error(list, err)
		}
		if err := s.Pause(t.Context(), "sync", false); err != nil {
			t.Error(err)
		}
		if begun := w.during(time.Hour, s); fmt.Sprint(begun) != "[sync 01 12:00]" { // what was due while it was paused was not missed
			t.Error(begun)
		}
		if _, begun, err := w.schedule(every).Begin(t.Context(), "sync", "somebody"); err != nil || !begun {
			t.Error(begun, err)
		}
		if _, _, err := s.Begin(t.Context(), "snyc", ""); err == nil || !strings.Contains(err.Error(), "did you mean sync?") {
			t.Error(err)
		}
	})
}

func TestTimesThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{ sync: "every day" }`: "is no time of a schedule", `{ sync: "0 25 * * *" }`: "is no time of a schedule", `{ sync: "0 0 30 2 *" }`: "never comes",
		`{ nightly: "0 2 * * *" }`: "nightly of the schedule does nothing", `{ time_zone: Lima, sync: "0 2 * * *" }`: "is no time zone",
		`{ nightly: { cron: "0 2 * * *", do: dance } }`: "dance",
	} {
		_, problems := config.Parse("acequia.yaml", []byte("version: 1\npipelines: {}\nschedule: "+text), nil)
		if !strings.Contains(problems.Error(), want) {
			t.Errorf("%s: %v", text, problems)
		}
	}
}
