package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/dynamolog"
	"github.com/acequia-io/acequia/internal/dynamolog/dynamologtest"
	"github.com/acequia-io/acequia/record"
)

// replicaOf gives what is behind a store.
func replicaOf(s *Store) *replica { return s.engine.(*replica) }

// contents is all that a copy has, after it has read the log.
func contents(t *testing.T, s *Store) string {
	t.Helper()
	var out strings.Builder
	for _, table := range []string{"lane", "dead_letter", "counter", "memory", "note", "job", "schedule", "lease", "sqlite_sequence"} {
		rowsOf(t, s, table, &out)
	}
	return out.String()
}

func rowsOf(t *testing.T, s *Store, table string, out *strings.Builder) {
	t.Helper()
	rows, err := s.readers.QueryContext(t.Context(), "select * from "+table+" order by 1, 2")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Error(err)
		}
	}()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		out.WriteString(table)
		for i, v := range values {
			fmt.Fprintf(out, " %s=%v", columns[i], *v.(*any))
		}
		out.WriteByte('\n')
	}
}

// TestCopiesAreEqual has three processes write at random at the same time, each with a copy. At the end all copies are equal, that of one that
// begins with a snapshot too; and no number was given twice.
func TestCopiesAreEqual(t *testing.T) {
	t.Parallel()
	table, settings := dynamologtest.Table(t, moto.Settings), moto.InOrder(t)
	options := func() SharedOptions {
		o := sharedOptions(t, settings, table)
		o.every = 7
		return o
	}
	const processes, steps = 3, 25
	stores := make([]*Store, processes)
	for i := range stores {
		stores[i] = openedLog(t, options())
	}
	var mu sync.Mutex
	numbers := map[uint64]bool{}
	var all sync.WaitGroup
	for i, s := range stores {
		leases := s.Leases(fmt.Sprint("process ", i))
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i))) //nolint:gosec // of a test
			for range steps {
				n, err := step(t, s, leases, random)
				if err != nil && !errors.Is(err, ErrFenced) {
					t.Error(err)
					return
				}
				mu.Lock()
				if n > 0 && numbers[n] {
					t.Errorf("number %d was given twice", n)
				}
				numbers[n] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	replicaOf(stores[0]).saves.Wait()
	late := openedLog(t, options())
	want := contents(t, stores[0])
	for i, s := range append(stores[1:], late) {
		if diff := cmp.Diff(want, contents(t, s)); diff != "" {
			t.Errorf("copy %d: %s", i+1, diff)
		}
	}
	tail, err := replicaOf(late).Log.Read(t.Context(), dynamolog.Mark{})
	if err != nil || tail.Snapshot == nil || len(want) < 1000 {
		t.Errorf("no snapshot, or next to nothing was written: %v\n%s", err, want)
	}
}

// step does something at random.
func step(t *testing.T, s *Store, leases *Leases, random *rand.Rand) (n uint64, err error) {
	t.Helper()
	ctx, in := t.Context(), Lane{Pipeline: "p", ID: fmt.Sprint(random.IntN(3))}
	switch random.IntN(6) {
	case 0:
		return s.Next(ctx, "s")
	case 1:
		return 0, s.SaveNote(ctx, "p", in.ID, []byte{0, byte(random.IntN(256)), 0xff})
	case 2:
		key := LaneLease(in)
		_, err := leases.Take(ctx, key, nil)
		return 0, errors.Join(err, leases.Want(ctx, key), leases.Release(ctx, key))
	case 3:
		_, err := leases.Look(ctx)
		return 0, err
	}
	st, err := s.Acquire(ctx, in)
	if err != nil {
		return 0, err
	}
	group := Intent{Group: st.Group + 1, To: record.Position(fmt.Sprint("\x00\xff", st.Group)), Rows: 3, Memory: map[string]Memory{"dedupe": {Block: []byte{1, 2, 0}, Newest: 5}}}
	if random.IntN(2) == 0 {
		group.DeadLetters = []DeadLetter{{Stream: "s", Position: group.To, Step: "cast", Reason: "ñ \xff \x00", Raw: []byte("\x00\xff"), At: time.Now()}}
	}
	return 0, s.SaveCheckpoint(ctx, in, st.Epoch, group)
}

// TestFrozenProcess stands still while another takes its lane over and the log goes on by several snapshots: nothing that it writes counts.
func TestFrozenProcess(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, moto.Settings)
	frozen := openedLog(t, sharedOptions(t, moto.Settings, table))
	st, err := frozen.Acquire(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	o := sharedOptions(t, moto.Settings, table)
	o.every = 5
	other := openedLog(t, o)
	if _, err := other.Acquire(t.Context(), lane); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := other.Next(t.Context(), "s"); err != nil {
			t.Fatal(err)
		}
		replicaOf(other).saves.Wait()
	}
	if err := frozen.SaveIntent(t.Context(), lane, st.Epoch, Intent{Group: 1}); !errors.Is(err, ErrFenced) {
		t.Error(err)
	}
	if n, err := frozen.Next(t.Context(), "s"); n != 21 || err != nil {
		t.Error(n, err)
	}
	if diff := cmp.Diff(contents(t, other), contents(t, frozen)); diff != "" {
		t.Error(diff)
	}
}

// flaky is a log that cannot be reached for a time, or loses the answer to an entry.
type flaky struct {
	Log
	mu            sync.Mutex
	down, forgets error
}

func (f *flaky) set(down, forgets error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down, f.forgets = down, forgets
}

func (f *flaky) now() (down, forgets error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down, f.forgets
}

func (f *flaky) Read(ctx context.Context, after dynamolog.Mark) (dynamolog.Tail, error) {
	if down, _ := f.now(); down != nil {
		return dynamolog.Tail{}, down
	}
	return f.Log.Read(ctx, after)
}

func (f *flaky) Append(ctx context.Context, after dynamolog.Mark, entry []byte) (dynamolog.Mark, error) {
	mark, err := f.Log.Append(ctx, after, entry)
	if _, forgets := f.now(); forgets != nil && err == nil {
		return dynamolog.Mark{}, forgets
	}
	return mark, err
}

func TestLogIsAway(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, moto.Settings)
	o := sharedOptions(t, moto.Settings, table)
	f := &flaky{Log: o.Log}
	o.Log = f
	s := openedLog(t, o)
	away := fault.Retry(errors.New("no answer"))
	f.set(away, nil)
	if _, err := s.Next(t.Context(), "s"); !errors.Is(err, away) || fault.Of(err) != fault.Retryable {
		t.Error(err)
	}
	if _, err := s.Note(t.Context(), "p", "k"); !errors.Is(err, away) {
		t.Error("what may be old was read", err)
	}
	f.set(nil, away)
	if _, err := s.Next(t.Context(), "s"); !errors.Is(err, away) {
		t.Error(err)
	}
	f.set(nil, nil)
	if n, err := s.Next(t.Context(), "s"); n != 2 || err != nil { // the first was written
		t.Error(n, err)
	}
}

// TestTableIsMadeAnew has the table of a process that runs emptied: it neither reads its old copy nor writes.
func TestTableIsMadeAnew(t *testing.T) {
	t.Parallel()
	o := sharedOptions(t, moto.Settings, dynamologtest.Table(t, moto.Settings))
	other, err := dynamolog.Open(t.Context(), moto.Settings, dynamologtest.Table(t, moto.Settings))
	if err != nil {
		t.Fatal(err)
	}
	s := openedLog(t, o)
	if err := s.SaveNote(t.Context(), "p", "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	replicaOf(s).Log = other // empty
	if v, err := s.Note(t.Context(), "p", "k"); fault.Code(err) != "ACQ-STATE-012" {
		t.Errorf("%q was read, %v", v, err)
	}
	if err := s.SaveNote(t.Context(), "p", "k", nil); fault.Code(err) != "ACQ-STATE-012" {
		t.Error(err)
	}
	if err := o.Log.Close(); err != nil {
		t.Error(err)
	}
}

// TestOldCopies are removed, but those in use.
func TestOldCopies(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, moto.Settings)
	o := sharedOptions(t, moto.Settings, table)
	left := filepath.Join(o.Dir, "replica-killed")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := o.Dir
	a := openedLog(t, o)
	o = sharedOptions(t, moto.Settings, table)
	o.Dir = dir
	b := openedLog(t, o)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error("it is left", err)
	}
	if found, err := filepath.Glob(filepath.Join(dir, "replica-*")); len(found) != 2 || err != nil {
		t.Error(found, err)
	}
	if n, err := a.Next(t.Context(), "s"); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := b.Next(t.Context(), "s"); n != 2 || err != nil {
		t.Error(n, err)
	}
}

// TestCopyIsOther has a copy that somebody has changed: an entry that does something else on it is told of.
func TestCopyIsOther(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, moto.Settings)
	a, b := openedLog(t, sharedOptions(t, moto.Settings, table)), openedLog(t, sharedOptions(t, moto.Settings, table))
	if err := a.SaveNote(t.Context(), "p", "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if v, err := b.Note(t.Context(), "p", "k"); string(v) != "v" || err != nil {
		t.Fatal(v, err)
	}
	other, err := sql.Open("sqlite", filepath.Join(replicaOf(b).copyDir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.ExecContext(t.Context(), "delete from note"); err != nil {
		t.Fatal(err)
	}
	if err := a.SaveNote(t.Context(), "p", "k", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Note(t.Context(), "p", "k"); fault.Code(err) != "ACQ-STATE-012" {
		t.Error(err)
	}
}

// TestStateIsNewer has a state that a newer program has upgraded, before and while this one has it open.
func TestStateIsNewer(t *testing.T) {
	t.Parallel()
	table := dynamologtest.Table(t, moto.Settings)
	if _, err := OpenSharedToRead(t.Context(), sharedOptions(t, moto.Settings, table)); !errors.Is(err, ErrNoState) {
		t.Error(err)
	}
	a, b := openedLog(t, sharedOptions(t, moto.Settings, table)), openedLog(t, sharedOptions(t, moto.Settings, table))
	err := a.run(t.Context(), "upgrade", func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, "pragma user_version = 99")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Next(t.Context(), "s"); fault.Code(err) != "ACQ-STATE-002" {
		t.Error(err)
	}
	if _, err := OpenShared(t.Context(), sharedOptions(t, moto.Settings, table)); fault.Code(err) != "ACQ-STATE-002" {
		t.Error(err)
	}
}

// What is read from the log is what was written, and anything else is an error.
func FuzzDecodeEntry(f *testing.F) {
	args, err := arguments([]any{int64(1), "text", []byte{0, 1}, nil, true})
	if err != nil {
		f.Fatal(err)
	}
	changed := int64(2)
	data, err := encodeEntry([]statement{{SQL: "UPDATE t SET a = ?", Args: args, Changed: &changed}, {SQL: "INSERT INTO t VALUES (1) RETURNING a", Gives: true}})
	if err != nil {
		f.Fatal(err)
	}
	text, err := decompress(data)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"v":1,"statements":[{"sql":"","args":[{"i":1,"t":"x"}]}]}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, _ = decodeEntry(text) // it is hardly ever compressed; it must not panic
		done, err := decodeEntry(compress(text))
		if err != nil {
			return
		}
		data, err := encodeEntry(done)
		if err != nil {
			t.Fatal("what was decoded cannot be encoded:", err)
		}
		again, err := decodeEntry(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(done, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal("read again it is another one:", diff)
		}
	})
}
