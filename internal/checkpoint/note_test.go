package checkpoint

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
)

// A file of version 3 gets the notes, and keeps its lanes.
func TestUpgradeBringsNotes(t *testing.T) {
	t.Parallel()
	path := statePath(t)
	old, err := open(t.Context(), path, migrations[:3])
	if err != nil {
		t.Fatal(err)
	}
	mustAcquire(t, old, 1)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s := opened(t, path)
	if _, err := os.Stat(path + ".v3"); err != nil {
		t.Error(err)
	}
	if err := s.SaveNote(t.Context(), "p", "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	mustAcquire(t, s, 2)
}

func TestNotes(t *testing.T) {
	t.Parallel()
	onAll(t, notes)
}

func notes(t state) {
	s := t.open()
	ctx := t.Context()
	for _, n := range []struct {
		pipeline, key string
		value         []byte
	}{
		{"p", "a", []byte("1")},
		{"p", "a", []byte("\xff\x00")},
		{"q", "a", []byte("other")},
		{"p", "empty", []byte{}},
		{"p", "gone", []byte("x")},
		{"p", "gone", nil},
		{"p", "never", nil},
	} {
		if err := s.SaveNote(ctx, n.pipeline, n.key, n.value); err != nil {
			t.Fatal(err)
		}
	}
	if swapped, err := s.SwapNote(t.Context(), "p", "swapped", nil, []byte("1")); !swapped || err != nil {
		t.Error(swapped, err)
	}
	if swapped, err := s.SwapNote(t.Context(), "p", "swapped", nil, []byte("2")); swapped || err != nil {
		t.Error("a note was made twice", err)
	}
	if swapped, err := s.SwapNote(t.Context(), "p", "swapped", []byte("0"), []byte("2")); swapped || err != nil {
		t.Error("a note was changed that was not as it was read", err)
	}
	if swapped, err := s.SwapNote(t.Context(), "p", "swapped", []byte("1"), []byte("2")); !swapped || err != nil {
		t.Error(swapped, err)
	}
	if err := s.SaveNote(t.Context(), "p", "swapped", nil); err != nil {
		t.Error(err)
	}
	again := t.open() // what was saved is durable, and seen by others
	for key, want := range map[string][]byte{"a": []byte("\xff\x00"), "empty": {}, "gone": nil, "never": nil} {
		got, err := again.Note(ctx, "p", key)
		if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %q, %v, want %q", key, got, err, want)
		}
	}
	notes, err := again.Notes(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"a": []byte("\xff\x00"), "empty": {}}, notes); diff != "" {
		t.Error(diff)
	}
}

func TestRewind(t *testing.T) {
	t.Parallel()
	onAll(t, rewind)
}

func rewind(t state) {
	s := t.open()
	ctx := t.Context()
	commit := func(id string, in Intent) Lane {
		l := Lane{"p", id}
		st, err := s.Acquire(ctx, l)
		if err == nil {
			in.Group = st.Group + 1
			in.Memory = map[string]Memory{"dedupe": {Block: []byte(id), Newest: 1}}
			err = s.SaveCheckpoint(ctx, l, st.Epoch, in)
		}
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	commit("a", Intent{To: "9", Ended: true, Rows: 5})
	commit("b", Intent{To: "7", Rows: 3})
	half := commit("half", Intent{To: "1"})
	if err := s.SaveIntent(ctx, half, 1, Intent{Group: 2, To: "2", Manifests: map[string]json.RawMessage{"lake": json.RawMessage("{}")}}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"x", "y"} {
		if err := s.SaveNote(ctx, "p", key, []byte(key)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Next(ctx, "p/a"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	picture := func() []string {
		t.Helper()
		lanes, err := s.Lanes(ctx, "p")
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, l := range lanes {
			out = append(out, fmt.Sprintf("%s e%d g%d %q ended %v rows %d", l.ID, l.Epoch, l.Group, l.Position, l.Ended, l.Rows))
		}
		for b, err := range s.Remembered(ctx, "p", "dedupe", "") {
			out = append(out, fmt.Sprintf("remembers %s %v", b.Lane, err))
		}
		notes, err := s.Notes(ctx, "p")
		return append(out, fmt.Sprint(len(notes), err))
	}
	before := picture()
	if err := s.Rewind(ctx, "p", []string{"a", "half"}, []string{"x"}); fault.Code(err) != "ACQ-STATE-009" {
		t.Error(err)
	}
	if err := s.Rewind(ctx, "p", []string{"a", "none"}, []string{"x"}); fault.Code(err) != "ACQ-STATE-010" {
		t.Error(err)
	}
	if diff := cmp.Diff(before, picture()); diff != "" {
		t.Errorf("what was refused has changed something:\n%s", diff)
	}
	if err := s.Rewind(ctx, "p", []string{"a"}, []string{"x"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`a e2 g1 "" ended false rows 0`, `b e1 g1 "7" ended false rows 3`, `half e1 g1 "1" ended false rows 0`,
		"remembers b <nil>", "remembers half <nil>", "1 <nil>",
	}
	if diff := cmp.Diff(want, picture()); diff != "" {
		t.Error(diff)
	}
	if err := s.SaveCheckpoint(ctx, Lane{"p", "a"}, 1, Intent{Group: 2}); fault.Code(err) != "ACQ-STATE-004" {
		t.Error("an owner of before may still write:", err)
	}
	if n, err := s.Next(ctx, "p/a"); n != 2 || err != nil {
		t.Error("the counter does not go on:", n, err)
	}
}

// TestOtherRecordInAPlace: a lane that was rewound may refuse another record where it refused one before: both are kept.
func TestOtherRecordInAPlace(t *testing.T) {
	t.Parallel()
	onAll(t, otherRecordInAPlace)
}

func otherRecordInAPlace(t state) {
	ctx := t.Context()
	s := t.open()
	mustAcquire(t.T, s, 1)
	letter := func(row string) []DeadLetter {
		return []DeadLetter{{Stream: "s", Position: "p", Index: 1, Step: "x", Row: []byte(row)}}
	}
	save := func(epoch, group int64, row string) {
		t.Helper()
		if err := s.SaveCheckpoint(ctx, lane, epoch, Intent{Group: group, To: "p", DeadLetters: letter(row)}); err != nil {
			t.Fatal(err)
		}
	}
	save(1, 1, `{"a":1}`)
	for n, row := range []string{`{"a":1}`, `{"a":2}`, `{"a":2}`} {
		if err := s.Rewind(ctx, lane.Pipeline, []string{lane.ID}, nil); err != nil {
			t.Fatal(err)
		}
		save(int64(n)+2, int64(n)+2, row)
	}
	var rows []string
	all, err := s.DeadLetters(ctx, "", 0, 10)
	for _, d := range all {
		rows = append(rows, string(d.Row))
	}
	if diff := cmp.Diff([]string{`{"a":1}`, `{"a":2}`}, rows); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
