package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
)

// leaveLetters puts dead letters into the state of a register that is yet to start: one passes now, and one does not.
func leaveLetters(t *testing.T, r *register) {
	t.Helper()
	store, err := checkpoint.Open(t.Context(), filepath.Join(r.dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	lane := checkpoint.Lane{Pipeline: "videogames-lake", ID: "before"}
	state, err := store.Acquire(t.Context(), lane)
	if err != nil {
		t.Fatal(err)
	}
	in := checkpoint.Intent{Group: 1, To: "1"}
	for i, genre := range []string{"Puzzle", "Puzzel"} {
		id := fmt.Sprintf("0193f0a0-0000-7000-8000-%012d", i)
		in.DeadLetters = append(in.DeadLetters, checkpoint.DeadLetter{
			Stream: "videogames", Position: "1", Index: int64(i), Step: "canonical", Reason: "bad", Op: "I", At: time.Unix(5, 0), EventID: id,
			Version: record.Version{Lo: uint64(i + 1)}.String(), //nolint:gosec // not negative
			Row:     fmt.Appendf(nil, `{"id":"%s","title":"T","developer":"D","genre":"%s","year":1984,"competitive":true}`, id, genre),
		})
	}
	if err := errors.Join(store.SaveCheckpoint(t.Context(), lane, state.Epoch, in), store.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRetryOfARunningProcess asks a register that runs, by its directory.
func TestRetryOfARunningProcess(t *testing.T) {
	t.Parallel()
	r := newRegister(t)
	leaveLetters(t, r)
	c, err := r.start(order{})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"videogames-lake", "2"}, exitPartial, "0 passed, 1 refused again"},
		{[]string{"videogames-lake"}, exitPartial, "1 passed, 1 refused again"},
		{[]string{"videogames-lake", "1"}, exitOK, "0 passed, 0 refused again"},
		{[]string{"videogames-lake", "2", "--json"}, exitPartial, `"refused": 1`},
		{[]string{"gone"}, exitUsage, "ACQ-USE-005"},
	} {
		code, out, err := once(t.Context(), order{}, append([]string{"dlq", "retry", "--dir", r.dir}, one.args...)...)
		if err != nil || code != one.code || !strings.Contains(out, one.want) {
			t.Errorf("%v: want %d and %q: %d, %v\n%s", one.args, one.code, one.want, code, err, out)
		}
	}
	if code, out, err := once(t.Context(), order{}, "dlq", "show", "--dir", r.dir, "2"); err != nil || code != exitOK || !strings.Contains(out, "attempts  4, the first at 1970") {
		t.Errorf("%d, %v\n%s", code, err, out)
	}
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code, out, err := once(t.Context(), order{}, "dlq", "retry", "--dir", r.dir, "videogames-lake"); err != nil || code != exitEnvironment || !strings.Contains(out, "ACQ-ENV-004") {
		t.Errorf("nothing runs: %d, %v\n%s", code, err, out)
	}
}

// TestRetryOfAServedFile asks the process that serves a file.
func TestRetryOfAServedFile(t *testing.T) {
	t.Parallel()
	s := newServed(t, "")
	leaveLetters(t, s.register)
	c := s.start(t)
	code, out, err := once(t.Context(), order{}, "dlq", "retry", "-f", s.file, "videogames-lake")
	if err != nil || code != exitPartial || !strings.Contains(out, "1 passed, 1 refused again") {
		t.Errorf("%d, %v\n%s", code, err, out)
	}
	if err := c.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code, out, err = once(t.Context(), order{}, "dlq", "retry", "-f", s.file, "videogames-lake")
	if err != nil || code != exitPartial || !strings.Contains(out, "0 passed, 1 refused again") {
		t.Errorf("stopped: %d, %v\n%s", code, err, out)
	}
}

// TestRetryOfAHeldState is refused where a process without a web server holds the state.
func TestRetryOfAHeldState(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "lines.yaml")
	if err := os.WriteFile(file, []byte(fileProject), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := app.OpenDir(filepath.Join(folder, ".acequia"))
	if err != nil {
		t.Fatal(err)
	}
	code, out, err := once(t.Context(), order{}, "dlq", "retry", "-f", file, "lines")
	if err != nil || code != exitEnvironment || !strings.Contains(out, "ACQ-ENV-002") || !strings.Contains(out, "no web server that could be asked") {
		t.Errorf("%d, %v\n%s", code, err, out)
	}
	if err := held.Close(); err != nil {
		t.Error(err)
	}
}
