package checkpoint

import (
	"errors"
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

// TestDeadLettersAreSentAgain chooses, settles and chooses again.
func TestDeadLettersAreSentAgain(t *testing.T) {
	t.Parallel()
	s, lane := opened(t, statePath(t)), Lane{Pipeline: "p", ID: "a"}
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
	refusers, err := s.ChooseDeadLetters(t.Context(), "p", 1, 5)
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
	if refusers, err = s.ChooseDeadLetters(t.Context(), "p"); err != nil || !cmp.Equal(refusers, []Refuser{{"p", "s", "lake"}, trim}) {
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
	if n, err := s.DropDeadLetters(t.Context(), 3, 99); n != 1 || err != nil {
		t.Error(n, err)
	}
	if found, err := s.EditDeadLetter(t.Context(), 3, nil); found || err != nil {
		t.Error(found, err)
	}
}
