package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig"
	"github.com/acequia-io/acequia/internal/dynamolog"
	"github.com/acequia-io/acequia/internal/dynamolog/dynamologtest"
)

// state is what a test of all engines is given: every open is of the same state.
type state struct {
	*testing.T
	open func() *Store
}

// onAll runs a test on a state file, on a database and on a log.
func onAll(t *testing.T, do func(t state)) {
	t.Helper()
	path := statePath(t)
	t.Run("sqlite", func(t *testing.T) { do(state{t, func() *Store { return opened(t, path) }}) })
	onShared(t, do)
}

// onShared runs a test on the states that processes share.
func onShared(t *testing.T, do func(t state)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) {
		dsn := server.Database(t)
		do(state{t, func() *Store { return openedOn(t, dsn) }})
	})
	t.Run("dynamodb", func(t *testing.T) {
		table, settings := dynamologtest.Table(t, moto.Settings), moto.InOrder(t)
		do(state{t, func() *Store { return openedLog(t, sharedOptions(t, settings, table)) }})
	})
}

func sharedOptions(t *testing.T, settings awsconfig.Settings, table string) SharedOptions {
	t.Helper()
	l, err := dynamolog.Open(t.Context(), settings, table)
	if err != nil {
		t.Fatal(err)
	}
	return SharedOptions{Log: l, Place: l.Place(), Dir: t.TempDir(), Tell: slog.New(slog.DiscardHandler)}
}

func openedLog(t *testing.T, o SharedOptions) *Store {
	t.Helper()
	s, err := OpenShared(t.Context(), o)
	return untilTheEnd(t, s, err)
}

// untilTheEnd closes a store that was opened when the test is over.
func untilTheEnd(t *testing.T, s *Store, err error) *Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func openedOn(t *testing.T, dsn string) *Store {
	t.Helper()
	s, err := OpenPostgres(t.Context(), dsn)
	return untilTheEnd(t, s, err)
}

func TestLettersAreFound(t *testing.T) {
	t.Parallel()
	onAll(t, lettersAreFound)
}

func lettersAreFound(t state) {
	s := t.open()
	mustAcquire(t.T, s, 1)
	letters := []DeadLetter{
		{Stream: "a", Position: "1", Step: "cast", Column: "year", Code: "X-1", Reason: "no number: ñandú", Row: json.RawMessage(`{"title":"Años"}`)},
		{Stream: "a", Position: "2", Step: "cast", Column: "year", Code: "X-1", Reason: "no number: zero", Raw: []byte("\xff\x00binary")},
		{Stream: "b", Position: "3", Step: "lake", Reason: "not 100%", Row: json.RawMessage(`{}`)},
	}
	if err := s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 1, DeadLetters: letters}); err != nil {
		t.Fatal(err)
	}
	all, err := s.DeadLetters(t.Context(), "", 0, 10)
	if err != nil || len(all) != 3 {
		t.Fatal(len(all), err)
	}
	for _, c := range []struct {
		filter LetterFilter
		want   []int // of letters, newest first
	}{
		{LetterFilter{}, []int{2, 1, 0}},
		{LetterFilter{Pipeline: "other"}, nil},
		{LetterFilter{Stream: "a", Code: "X-1"}, []int{1, 0}},
		{LetterFilter{Step: "lake"}, []int{2}},
		{LetterFilter{Text: "AñOS"}, []int{0}},
		{LetterFilter{Text: "binary"}, []int{1}},
		{LetterFilter{Text: "100%"}, []int{2}},
		{LetterFilter{IDs: []int64{all[2].ID, all[0].ID}}, []int{2, 0}},
		{LetterFilter{UpTo: all[1].ID}, []int{1, 0}},
	} {
		found, err := s.FindDeadLetters(t.Context(), c.filter, 0, 10)
		var got []int
		for _, d := range found {
			for i := range all {
				if all[i].ID == d.ID {
					got = append(got, i)
				}
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%+v: %s%v", c.filter, diff, err)
		}
	}
	counts, err := s.CountReasons(t.Context(), LetterFilter{})
	want := []LetterCount{
		{"p", "a", "cast", "year", "X-1", "no number: zero", 2, all[1].ID},
		{"p", "b", "lake", "", "", "not 100%", 1, all[2].ID},
	}
	if diff := cmp.Diff(want, counts); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if found, err := s.EditDeadLetter(t.Context(), all[0].ID, []byte(`{"title":"x"}`)); !found || err != nil {
		t.Error(found, err)
	}
	if d, found, err := s.DeadLetter(t.Context(), all[0].ID); string(d.Raw) != `{"title":"Años"}` || string(d.Row) != `{"title":"x"}` || !found || err != nil {
		t.Errorf("%+v, %v, %v", d, found, err)
	}
	if n, err := s.DropDeadLetters(t.Context(), LetterFilter{Stream: "a"}); n != 2 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.SomeDeadLetters(t.Context(), 10); n != 1 || err != nil {
		t.Error(n, err)
	}
}

func TestScheduledRuns(t *testing.T) {
	t.Parallel()
	onAll(t, scheduledRuns)
}

func scheduledRuns(t state) {
	stores, ctx := []*Store{t.open(), t.open()}, t.Context()
	at := time.Unix(1000, 0).UTC()
	if stands, err := stores[0].WatchSchedule(ctx, "backup", at); !stands.Last.Equal(at) || err != nil {
		t.Fatal(stands, err)
	}
	var mine atomic.Int32
	var all sync.WaitGroup
	for i := range 8 { // of several processes one has the run
		all.Go(func() {
			got, err := stores[i%2].ClaimRun(ctx, "backup", at.Add(time.Hour))
			if err != nil {
				t.Error(err)
			}
			if got {
				mine.Add(1)
			}
		})
	}
	all.Wait()
	if mine.Load() != 1 {
		t.Errorf("%d have the run", mine.Load())
	}
	if got, err := stores[1].ClaimRun(ctx, "backup", at.Add(time.Minute)); got || err != nil {
		t.Error("a run before one that was taken", got, err)
	}
	if err := errors.Join(stores[0].PauseSchedule(ctx, "backup", true, at), stores[0].SaveRun(ctx, "backup", "j")); err != nil {
		t.Fatal(err)
	}
	if got, err := stores[1].ClaimRun(ctx, "backup", at.Add(2*time.Hour)); got || err != nil {
		t.Error("a run of one that is paused", got, err)
	}
	later := at.Add(5 * time.Hour)
	if err := stores[0].PauseSchedule(ctx, "backup", false, later); err != nil {
		t.Fatal(err)
	}
	if stands, err := stores[1].Scheduled(ctx, "backup"); !cmp.Equal(stands, Scheduled{Last: later, Job: "j"}) || err != nil {
		t.Errorf("%+v, %v", stands, err)
	}
}

func TestJobsOfSeveral(t *testing.T) {
	t.Parallel()
	onAll(t, jobsOfSeveral)
}

func jobsOfSeveral(t state) {
	stores := []*Store{t.open(), t.open()}
	var begun atomic.Int32
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			_, mine, err := stores[i%2].AddJob(t.Context(), Job{ID: fmt.Sprint(i), Kind: "sync", Work: "the same", State: JobQueued})
			if err != nil {
				t.Error(err)
			}
			if mine {
				begun.Add(1)
			}
		})
	}
	all.Wait()
	if begun.Load() != 1 {
		t.Errorf("%d of the same work were begun", begun.Load())
	}
}

func TestPostgresState(t *testing.T) {
	t.Parallel()
	dsn := server.Database(t)
	if _, err := OpenPostgresToRead(t.Context(), dsn); !errors.Is(err, ErrNoState) {
		t.Fatal("before anything has run", err)
	}
	var all sync.WaitGroup
	for range 5 { // side by side: one makes the tables
		all.Go(func() {
			s, err := OpenPostgres(t.Context(), dsn)
			if err == nil {
				_, err = s.Next(t.Context(), "s")
			}
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	reader, err := OpenPostgresToRead(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader.Close(); err != nil {
		t.Error(err)
	}
	s := openedOn(t, dsn)
	if n, err := s.Next(t.Context(), "s"); n != 6 || err != nil {
		t.Error(n, err)
	}
	odd := Lane{Pipeline: "p", ID: "a\x00\xff"} // no text of PostgreSQL
	if _, err := s.Acquire(t.Context(), odd); err != nil {
		t.Error(err)
	}
	server.Exec(t, dsn, "update acequia_state.version set n = 99")
	if _, err := OpenPostgres(t.Context(), dsn); fault.Code(err) != "ACQ-STATE-002" {
		t.Error(err)
	}
	if _, err := OpenPostgres(t.Context(), server.DSN("none")); fault.Code(err) != "ACQ-PG-004" {
		t.Error(err)
	}
}
