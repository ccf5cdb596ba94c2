package checkpoint

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/awsconfig/awstest"
	"github.com/acequia-io/acequia/internal/postgres/postgrestest"
	"github.com/acequia-io/acequia/internal/servertest"
	"github.com/acequia-io/acequia/record"
)

var (
	server *postgrestest.Server
	moto   *awstest.Server
)

func TestMain(m *testing.M) {
	os.Exit(servertest.Main(m, func() (_ io.Closer, err error) {
		server, err = postgrestest.Start()
		return server, err
	}, func() (_ io.Closer, err error) {
		moto, err = awstest.Start()
		return moto, err
	}))
}

func opened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	return untilTheEnd(t, s, err)
}

func statePath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state #1%.db")
}

var lane = Lane{Pipeline: "p", ID: "l"}

func TestLaneLife(t *testing.T) {
	t.Parallel()
	onAll(t, laneLife)
}

func laneLife(t state) {
	s := t.open()
	st, err := s.Acquire(t.Context(), lane)
	if err != nil || st.Epoch != 1 || st.Group != 0 || st.Position != "" || st.Pending != nil {
		t.Fatalf("a new lane: %+v, %v", st, err)
	}
	in := Intent{
		Group: 1, To: "not\xffutf-8", Rows: 7, Manifests: map[string]json.RawMessage{"lake": json.RawMessage(`{"a":1}`)},
		DeadLetters: []DeadLetter{{
			Stream: "s", Position: "\xfe\x00", Index: 3, Step: "trim", Column: "c", Code: "X", Reason: "bad", Op: "I",
			Version: "v", Row: json.RawMessage(`{"c":1}`), Raw: []byte{0xff}, At: time.Unix(5, 0).UTC(),
			EventID: "e", Event: time.Unix(4, 0).UTC(), Source: "form.s", Sinks: []string{"lake", "old"},
		}},
	}
	if err := s.SaveIntent(t.Context(), lane, 1, in); err != nil {
		t.Fatal(err)
	}
	if n, err := s.CountDeadLetters(t.Context(), "p"); n != 0 || err != nil {
		t.Fatalf("dead letters are visible before the checkpoint: %d, %v", n, err)
	}
	again := t.open()
	st, err = again.Acquire(t.Context(), lane)
	if err != nil || st.Epoch != 2 || st.Pending == nil {
		t.Fatalf("after a crash: %+v, %v", st, err)
	}
	if diff := cmp.Diff(in, *st.Pending); diff != "" {
		t.Fatal(diff)
	}
	if err := again.SaveCheckpoint(t.Context(), lane, 2, *st.Pending); err != nil {
		t.Fatal(err)
	}
	lanes, err := again.Lanes(t.Context(), "p")
	if err != nil || len(lanes) != 1 || lanes[0].SavedAt.IsZero() {
		t.Fatalf("lanes: %+v, %v", lanes, err)
	}
	want := LaneState{Lane: lane, State: State{Epoch: 2, Group: 1, Position: in.To, Rows: 7}, SavedAt: lanes[0].SavedAt}
	if diff := cmp.Diff(want, lanes[0]); diff != "" {
		t.Fatal(diff)
	}
	letters, err := again.DeadLetters(t.Context(), "", 0, 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("dead letters: %+v, %v", letters, err)
	}
	wantLetter := in.DeadLetters[0]
	wantLetter.ID, wantLetter.Pipeline, wantLetter.Lane, wantLetter.Attempts, wantLetter.First = 1, "p", "l", 1, wantLetter.At
	if diff := cmp.Diff(wantLetter, letters[0]); diff != "" {
		t.Fatal(diff)
	}
}

func TestFence(t *testing.T) {
	t.Parallel()
	onAll(t, fence)
}

func fence(t state) {
	s := t.open()
	ctx := t.Context()
	mustAcquire(t.T, s, 1)
	mustAcquire(t.T, s, 2)
	for name, err := range map[string]error{
		"intent of an old epoch":     s.SaveIntent(ctx, lane, 1, Intent{Group: 1}),
		"checkpoint of an old epoch": s.SaveCheckpoint(ctx, lane, 1, Intent{Group: 1}),
		"intent of a later group":    s.SaveIntent(ctx, lane, 2, Intent{Group: 2}),
		"checkpoint of a group past": s.SaveCheckpoint(ctx, lane, 2, Intent{Group: 0}),
		"unknown lane":               s.SaveCheckpoint(ctx, Lane{"p", "other"}, 2, Intent{Group: 1}),
	} {
		if !errors.Is(err, ErrFenced) || fault.Of(err) != fault.Fatal || fault.Code(err) != "ACQ-STATE-004" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.SaveIntent(ctx, lane, 2, Intent{Group: 1, To: "a"}); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveIntent(ctx, lane, 2, Intent{Group: 1, To: "b"}); !errors.Is(err, ErrFenced) {
		t.Errorf("an intent was replaced: %v", err)
	}
	if err := s.SaveCheckpoint(ctx, lane, 2, Intent{Group: 1, To: "a", Ended: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveCheckpoint(ctx, lane, 2, Intent{Group: 1, To: "a"}); !errors.Is(err, ErrFenced) {
		t.Errorf("a checkpoint was saved twice: %v", err)
	}
	ended, err := s.Ended(ctx, "p")
	if diff := cmp.Diff(map[string]record.Position{"l": "a"}, ended); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func mustAcquire(t *testing.T, s *Store, epoch int64) {
	t.Helper()
	if st, err := s.Acquire(t.Context(), lane); err != nil || st.Epoch != epoch {
		t.Fatalf("epoch %d, want %d: %v", st.Epoch, epoch, err)
	}
}

// A refused write must not take the writes along that share its transaction.
func TestGroupCommit(t *testing.T) {
	t.Parallel()
	onAll(t, groupCommit)
}

func groupCommit(t state) {
	s := t.open()
	const lanes, groups = 20, 25
	var all sync.WaitGroup
	for i := range lanes {
		all.Go(func() {
			own := Lane{"p", fmt.Sprint(i)}
			if _, err := s.Acquire(t.Context(), own); err != nil {
				t.Error(err)
			}
			for g := range int64(groups) {
				if err := s.SaveIntent(t.Context(), own, 1, Intent{Group: g + 1}); err != nil {
					t.Error(err)
				}
				if err := s.SaveIntent(t.Context(), own, 9, Intent{Group: g + 1}); !errors.Is(err, ErrFenced) {
					t.Error(err)
				}
				if err := s.SaveCheckpoint(t.Context(), own, 1, Intent{Group: g + 1, Rows: 1}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	states, err := s.Lanes(t.Context(), "p")
	if err != nil || len(states) != lanes {
		t.Fatal(len(states), err)
	}
	for _, st := range states {
		if st.Group != groups || st.Rows != groups || st.Pending != nil {
			t.Errorf("lane %s: %+v", st.ID, st)
		}
	}
}

func TestDeadLetterOnce(t *testing.T) {
	t.Parallel()
	onAll(t, deadLetterOnce)
}

func deadLetterOnce(t state) {
	s := t.open()
	mustAcquire(t.T, s, 1)
	same := DeadLetter{Stream: "s", Position: "p", Index: 1, Step: "x"}
	other := same
	other.Step = "y"
	for g := range int64(2) {
		if err := s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: g + 1, DeadLetters: []DeadLetter{same, other, same}}); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.CountDeadLetters(t.Context(), ""); n != 2 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
	page, err := s.DeadLetters(t.Context(), "p", 1, 10)
	if err != nil || len(page) != 1 || page[0].Step != "y" {
		t.Errorf("second page: %+v, %v", page, err)
	}
}

func TestCounter(t *testing.T) {
	t.Parallel()
	onAll(t, counter)
}

func counter(t state) {
	s := t.open()
	for want := range uint64(3) {
		if n, err := s.Next(t.Context(), "s"); n != want+1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := t.open().Next(t.Context(), "s"); n != 4 || err != nil {
		t.Fatal("after a restart", n, err)
	}
	if n, err := s.Next(t.Context(), "other"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

func TestRefusedFiles(t *testing.T) {
	t.Parallel()
	garbage := bytes.Repeat([]byte("this is not a database. "), 1000)
	for name, test := range map[string]struct {
		make func(t *testing.T, path string)
		code string
	}{
		"garbage": {func(t *testing.T, path string) {
			t.Helper()
			fill(t, path, garbage)
		}, "ACQ-STATE-001"},
		"torn page": {func(t *testing.T, path string) {
			t.Helper()
			filled(t, path)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(text[4096+8:], bytes.Repeat([]byte{0xa5}, 3000))
			fill(t, path, text)
		}, "ACQ-STATE-001"},
		"cut off": {func(t *testing.T, path string) {
			t.Helper()
			filled(t, path)
			if err := os.Truncate(path, 5000); err != nil {
				t.Fatal(err)
			}
		}, "ACQ-STATE-001"},
		"newer": {func(t *testing.T, path string) {
			t.Helper()
			filled(t, path)
			execute(t, path, fmt.Sprintf("pragma user_version = %d", len(migrations)+1))
		}, "ACQ-STATE-002"},
		"another program's": {func(t *testing.T, path string) {
			t.Helper()
			execute(t, path, "create table theirs(x)")
		}, "ACQ-STATE-003"},
		"a directory": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "ACQ-STATE-006"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := statePath(t)
			test.make(t, path)
			before, _ := os.ReadFile(path)
			s, err := Open(t.Context(), path)
			if err == nil {
				t.Fatal("accepted", s.Close())
			}
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Class != fault.Fatal || e.Code != test.code || e.Remedy == "" {
				t.Errorf("want %s with a remedy: %v", test.code, err)
			}
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
}

func fill(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// filled makes a state file of several pages and closes it.
func filled(t *testing.T, path string) {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := s.Acquire(t.Context(), Lane{"p", fmt.Sprintf("%0100d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), statement)
	if err = errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestUpgradeCopiesFirst(t *testing.T) {
	t.Parallel()
	path := statePath(t)
	filled(t, path)
	steps := append([]string{}, migrations...)
	steps = append(steps, "alter table lane add column note text")
	s, err := open(t.Context(), path, steps)
	if err != nil {
		t.Fatal(err)
	}
	lanes, err := s.Lanes(t.Context(), "p")
	if err = errors.Join(err, s.Close()); err != nil || len(lanes) != 100 {
		t.Fatal(len(lanes), err)
	}
	copied := opened(t, fmt.Sprintf("%s.v%d", path, len(migrations)))
	if lanes, err := copied.Lanes(t.Context(), "p"); err != nil || len(lanes) != 100 {
		t.Fatal("the copy:", len(lanes), err)
	}
	if _, err := Open(t.Context(), path); fault.Code(err) != "ACQ-STATE-002" {
		t.Fatal("an older program opens the upgraded file:", err)
	}
}

// A failed upgrade leaves the file as it was.
func TestFailedUpgrade(t *testing.T) {
	t.Parallel()
	path := statePath(t)
	filled(t, path)
	if s, err := open(t.Context(), path, append(append([]string{}, migrations...), "create table good(x); create nonsense")); err == nil {
		t.Fatal("accepted", s.Close())
	}
	if lanes, err := opened(t, path).Lanes(t.Context(), "p"); err != nil || len(lanes) != 100 {
		t.Fatal(len(lanes), err)
	}
}

// Whoever opens a file while another makes it uses what the other made.
func TestManyMakeTheSameFile(t *testing.T) {
	t.Parallel()
	path := statePath(t)
	errs := make([]error, 6)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			s, err := Open(t.Context(), path)
			if err == nil {
				err = s.Close()
			}
			errs[i] = err
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

func TestFullDiskIsRetryable(t *testing.T) {
	t.Parallel()
	s := opened(t, statePath(t))
	if _, err := s.engine.(*file).conn.ExecContext(t.Context(), "pragma max_page_count = 20"); err != nil {
		t.Fatal(err)
	}
	mustAcquire(t, s, 1)
	large := Intent{Group: 1, Manifests: map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("x", 200_000) + `"`)}}
	err := s.SaveIntent(t.Context(), lane, 1, large)
	if fault.Of(err) != fault.Retryable || fault.Code(err) != "ACQ-STATE-005" {
		t.Fatal("want a retryable failure:", err)
	}
	if err := s.SaveIntent(t.Context(), lane, 1, Intent{Group: 1}); err != nil {
		t.Fatal("after there is space again:", err)
	}
}

// TestOpenIsCancelled: who asks for the end while the file is opened is not told that the file is at fault.
func TestOpenIsCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, statePath(t)); !errors.Is(err, context.Canceled) || fault.Code(err) != "" {
		t.Fatal(err)
	}
}

func TestClosedAndCancelled(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), statePath(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // either it was done, or the outcome is unknown and retryable
		if _, err := s.Next(ctx, "s"); err != nil && fault.Of(err) != fault.Retryable {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Next(t.Context(), "s"); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
}

func FuzzDecodeIntent(f *testing.F) {
	text, err := encodeIntent(Intent{Group: 3, To: "x", DeadLetters: []DeadLetter{{Stream: "s", Row: json.RawMessage("{}")}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"to":"!"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := decodeIntent(text)
		if err != nil {
			return
		}
		if _, err := encodeIntent(*in); err != nil {
			t.Fatal("what was decoded cannot be encoded:", err)
		}
	})
}

func BenchmarkCheckpoint(b *testing.B) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "state.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var next sync.Mutex
	lanes := 0
	b.RunParallel(func(pb *testing.PB) {
		next.Lock()
		lanes++
		own := Lane{"p", fmt.Sprint(lanes)}
		next.Unlock()
		if _, err := s.Acquire(b.Context(), own); err != nil {
			b.Error(err)
		}
		for g := int64(1); pb.Next(); g++ {
			if err := s.SaveCheckpoint(b.Context(), own, 1, Intent{Group: g, To: "x"}); err != nil {
				b.Error(err)
			}
		}
	})
}
