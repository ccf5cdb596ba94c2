package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
)

// TestUpgradeKeepsDeadLetters begins with a file of version 1, whose letters of two lanes could not tell each other apart.
func TestUpgradeKeepsDeadLetters(t *testing.T) {
	t.Parallel()
	path := statePath(t)
	old, err := open(t.Context(), path, migrations[:1])
	if err = errors.Join(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	execute(t, path, `insert into dead_letter values(7, 'p', 'a', 's', x'78', 0, 'trim', 0, 'c', 'C', 'bad', 'I', 'v', '{"c":1}', null, 5000000)`)
	if s, err := OpenToRead(t.Context(), path); fault.Code(err) != "ACQ-STATE-008" {
		t.Fatal("an old file is read:", s, err)
	}
	s := opened(t, path)
	same := DeadLetter{Stream: "s", Position: "x", Step: "trim", At: time.Unix(6, 0).UTC()}
	for _, id := range []string{"a", "b"} {
		lane := Lane{Pipeline: "p", ID: id}
		if _, err := s.Acquire(t.Context(), lane); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 1, DeadLetters: []DeadLetter{same}}); err != nil {
			t.Fatal(err)
		}
	}
	letters, err := s.DeadLetters(t.Context(), "p", 0, 10)
	if err != nil || len(letters) != 2 || letters[0].ID != 7 || string(letters[0].Row) != `{"c":1}` || letters[1].Lane != "b" {
		t.Fatalf("%+v, %v", letters, err)
	}
}

// TestUpgradeBringsAttempts begins with a file of version 2: its letters were tried once, and their numbers stay taken.
func TestUpgradeBringsAttempts(t *testing.T) {
	t.Parallel()
	path := statePath(t)
	old, err := open(t.Context(), path, migrations[:2])
	if err = errors.Join(err, old.Close()); err != nil {
		t.Fatal(err)
	}
	execute(t, path, `insert into dead_letter(id, pipeline, lane, stream, position, idx, step, grp, col, code, reason, op, version, row, at, event_id, retry)
		values(7, 'p', 'l', 's', x'78', 0, 'trim', 0, 'c', 'C', 'bad', 'I', 'v', '{"c":1}', 5000000, 'e', 3), (9, 'p', 'l', 's', x'78', 1, 'trim', 0, '', '', '', '', '', '', 1, '', 0);
		delete from dead_letter where id = 9`)
	s := opened(t, path)
	if _, err := os.Stat(path + ".v2"); err != nil {
		t.Error("the copy:", err)
	}
	if _, err := s.Acquire(t.Context(), lane); err != nil {
		t.Fatal(err)
	}
	fresh := []DeadLetter{{Stream: "s", Position: "y", Step: "trim", At: time.Unix(6, 0)}, {Stream: "s", Position: "x", Step: "trim", At: time.Unix(6, 0)}}
	if err := s.SaveCheckpoint(t.Context(), lane, 1, Intent{Group: 1, DeadLetters: fresh}); err != nil {
		t.Fatal(err)
	}
	letters, err := s.DeadLetters(t.Context(), "p", 0, 10)
	if err != nil || len(letters) != 2 {
		t.Fatalf("%+v, %v", letters, err)
	}
	first, at := letters[0], time.Unix(5, 0).UTC()
	if first.ID != 7 || first.Attempts != 1 || !first.First.Equal(at) || !first.At.Equal(at) || first.Retry != 3 || first.EventID != "e" {
		t.Errorf("%+v", first)
	}
	if letters[1].ID != 10 || letters[1].Attempts != 1 {
		t.Errorf("a number was given twice: %+v", letters[1])
	}
}

// TestRefusedAgain sends letters again that are refused again: by the same step, by two sinks, and with another letter of
// the same event.
func TestRefusedAgain(t *testing.T) {
	t.Parallel()
	onAll(t, refusedAgain)
}

func refusedAgain(t state) {
	s := t.open()
	if _, err := s.Acquire(t.Context(), lane); err != nil {
		t.Fatal(err)
	}
	trim := Refuser{"p", "s", "trim"}
	letter := func(i int64, event string) DeadLetter {
		return DeadLetter{
			Stream: "s", Position: "x", Index: i, Step: "trim", Code: "C", Reason: "bad", Raw: []byte("raw"), Version: "v", EventID: event,
			Row: []byte(`{"c":1}`), At: time.Unix(6, 0),
		}
	}
	in := Intent{Group: 1, DeadLetters: []DeadLetter{letter(0, "a"), letter(1, "b"), letter(2, ""), letter(3, "same"), letter(4, "same"), letter(5, "passes")}}
	if err := s.SaveCheckpoint(t.Context(), lane, 1, in); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ChooseDeadLetters(t.Context(), LetterFilter{Pipeline: "p"}); err != nil {
		t.Fatal(err)
	}
	again := Lane{Pipeline: "p", ID: "retry/s/trim"}
	if _, err := s.Acquire(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	refusal := func(event, step, row string) DeadLetter {
		return DeadLetter{Stream: "s", Position: "retry/6", Step: step, Reason: "worse", EventID: event, Row: []byte(row), Raw: []byte("new"), At: time.Unix(8, 0)}
	}
	refused := []DeadLetter{
		refusal("a", "trim", ""), refusal("b", "lake", `{"d":2}`), refusal("b", "items", `{"d":3}`), refusal("l/x/2", "lake", ""),
		refusal("same", "trim", `{"s":1}`), refusal("same", "trim", `{"s":2}`),
	}
	if err := s.SaveIntent(t.Context(), again, 1, Intent{Group: 1, To: "retry/6", DeadLetters: refused}); err != nil {
		t.Fatal(err)
	}
	recovered, err := s.Acquire(t.Context(), again) // the first owner has died
	if err != nil {
		t.Fatal(err)
	}
	if err := s.TraceDeadLetters(t.Context(), trim, 6, recovered.Pending.DeadLetters); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveCheckpoint(t.Context(), again, 2, *recovered.Pending); err != nil {
		t.Fatal(err)
	}
	if err := s.SettleDeadLetters(t.Context(), trim, 6); err != nil {
		t.Fatal(err)
	}
	letters, err := s.DeadLetters(t.Context(), "p", 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range letters {
		got = append(got, fmt.Sprintf("%d %s %s %s %d %d %d %q %q", d.ID, d.Step, d.Reason, d.Position, d.Attempts, d.First.Unix(), d.At.Unix(), d.Row, d.Raw))
	}
	want := []string{
		`1 trim worse x 2 6 8 "{\"c\":1}" "raw"`, `2 lake worse x 2 6 8 "{\"d\":2}" "raw"`, `3 lake worse x 2 6 8 "" "raw"`,
		`4 trim worse x 2 6 8 "{\"s\":1}" "raw"`, `5 trim worse x 2 6 8 "{\"s\":2}" "raw"`, `7 items worse retry/6 2 6 8 "{\"d\":3}" "new"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestDeadLettersAreSentAgain chooses, settles and chooses again.
func TestDeadLettersAreSentAgain(t *testing.T) {
	t.Parallel()
	onAll(t, deadLettersAreSentAgain)
}

func deadLettersAreSentAgain(t state) {
	s, lane := t.open(), Lane{Pipeline: "p", ID: "a"}
	if _, err := s.Acquire(t.Context(), lane); err != nil {
		t.Fatal(err)
	}
	in := Intent{Group: 1}
	for i := range 6 {
		in.DeadLetters = append(in.DeadLetters, DeadLetter{Stream: "s", Position: "x", Index: int64(i), Step: []string{"trim", "lake"}[i%2], At: time.Unix(6, 0)})
	}
	if err := s.SaveCheckpoint(t.Context(), lane, 1, in); err != nil {
		t.Fatal(err)
	}
	trim := Refuser{"p", "s", "trim"}
	chosen := func(by Refuser, after int64) (ids []int64, last int64) {
		letters, err := s.ChosenDeadLetters(t.Context(), by, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range letters {
			ids, last = append(ids, d.ID), d.Retry
		}
		return ids, last
	}
	refusers, err := s.ChooseDeadLetters(t.Context(), LetterFilter{Pipeline: "p", IDs: []int64{1, 5}})
	if err != nil || !cmp.Equal(refusers, []Refuser{trim}) {
		t.Fatal(refusers, err)
	}
	ids, last := chosen(trim, 0)
	if !cmp.Equal(ids, []int64{1, 5}) {
		t.Fatal(ids)
	}
	if err := s.SettleDeadLetters(t.Context(), trim, last-1); err != nil {
		t.Fatal(err)
	}
	if refusers, err = s.ChooseDeadLetters(t.Context(), LetterFilter{Pipeline: "p"}); err != nil || !cmp.Equal(refusers, []Refuser{{"p", "s", "lake"}, trim}) {
		t.Fatal(refusers, err)
	}
	if ids, _ := chosen(trim, 0); !cmp.Equal(ids, []int64{5, 3}) { // 5 was chosen before 3
		t.Error(ids)
	}
	if ids, _ := chosen(trim, last); !cmp.Equal(ids, []int64{3}) {
		t.Error(ids, "after", last)
	}
	if found, err := s.EditDeadLetter(t.Context(), 3, []byte(`{"c":2}`)); !found || err != nil {
		t.Error(found, err)
	}
	if d, found, err := s.DeadLetter(t.Context(), 3); string(d.Row) != `{"c":2}` || !found || err != nil {
		t.Error(d, found, err)
	}
	if n, err := s.DropDeadLetters(t.Context(), LetterFilter{IDs: []int64{3, 99}}); n != 1 || err != nil {
		t.Error(n, err)
	}
	if found, err := s.EditDeadLetter(t.Context(), 3, nil); found || err != nil {
		t.Error(found, err)
	}
}
