package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/routers"
)

// fileLines are the lines of each of the files: every hundredth has a year that is no number, every seventh is dropped.
const (
	fileLines = 60_000
	fileCount = 3
)

const fileProject = `version: 1
sources:
  lines: { type: file, path: "*.csv", stream: lines, key: [id], schema: { id: int64, year: int32, name: string } }
sinks:
  lake: { type: lake, url: lake, partition: [century] }
pipelines:
  lines:
    from: lines
    steps: [ { filter: 'row.id % 7 != 0' }, { derive: { century: 'row.year / 100' } } ]
    to: [lake]
`

// fileRun is a folder with files and a project over them.
type fileRun struct {
	dir    string
	next   int64           // id of the next line
	rows   map[int64]bool  // that the lake must hold
	bad    map[int64]bool  // that must be dead letters
	shared app.SharedState // of the state, where it is not in the folder
}

func (r *fileRun) state() app.StatePlace {
	return app.StatePlace{Dir: filepath.Join(r.dir, ".acequia"), SharedState: r.shared}
}

func newFileRun(t *testing.T) *fileRun {
	t.Helper()
	r := &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}}
	for f := range fileCount {
		r.grow(t, fmt.Sprintf("part-%d.csv", f), fileLines)
	}
	r.write(t, "lines.yaml", []byte(fileProject))
	return r
}

// grow appends lines to a file, which it makes if need be.
func (r *fileRun) grow(t *testing.T, name string, lines int) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if at, err := f.Seek(0, io.SeekEnd); at == 0 && err == nil {
		b.WriteString("id,year,name\n")
	}
	for range lines {
		id := r.next
		r.next++
		year := strconv.FormatInt(1900+id%200, 10)
		switch {
		case id%100 == 1:
			year, r.bad[id] = "N/A", true
		case id%7 != 0:
			r.rows[id] = true
		}
		fmt.Fprintf(&b, "%d,%s,\"name, %d\"\n", id, year, id%977)
	}
	_, err = f.Write(b.Bytes())
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func (r *fileRun) write(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// command runs the program on the project; killed says that it died by SIGKILL. Groups are small, so that deaths hit one.
func (r *fileRun) command(ctx context.Context, o order, life time.Duration, args ...string) (code int, killed bool, output string, err error) {
	o.Dir = r.dir
	self, err := os.Executable()
	if err != nil {
		return 0, false, "", err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Dir, cmd.Env = r.dir, o.environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, false, "", err
	}
	if life > 0 {
		death := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		defer death.Stop()
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status, _ := exit.Sys().(syscall.WaitStatus)
		return exit.ExitCode(), status.Signaled(), out.String(), nil
	}
	return 0, false, out.String(), err
}

// ids counts the ids in the files of the lake.
func (r *fileRun) ids(t *testing.T) map[int64]int {
	t.Helper()
	seen := map[int64]int{}
	err := filepath.WalkDir(filepath.Join(r.dir, "lake", "lines"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		type line struct {
			ID int64 `parquet:"id"`
		}
		rows, err := parquet.ReadFile[line](path)
		for _, l := range rows {
			seen[l.ID]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// differences says how many of the rows that must be in the lake are not, and how many are more than once.
func (r *fileRun) differences(t *testing.T) (lost, doubled int) {
	t.Helper()
	seen := r.ids(t)
	for id := range r.rows {
		if seen[id] == 0 {
			lost++
		}
	}
	for id, n := range seen {
		if n > 1 {
			doubled++
		}
		if !r.rows[id] {
			t.Errorf("%d should not be there", id)
		}
	}
	return lost, doubled
}

// check compares lake and dead letters with what must be there, each once.
func (r *fileRun) check(t *testing.T) {
	t.Helper()
	lost, doubled := r.differences(t)
	letters, doubledLetters := map[string]int{}, 0
	store, err := r.state().OpenToRead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = app.EachLetter(t.Context(), store, "", 0, func(d *checkpoint.DeadLetter) error {
		id, _, _ := strings.Cut(string(d.Raw), ",")
		if letters[id]++; letters[id] > 1 {
			doubledLetters++
		}
		return nil
	})
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	if lost > 0 || doubled > 0 || doubledLetters > 0 || len(letters) != len(r.bad) {
		t.Errorf("%d rows lost, %d doubled; %d dead letters of %d, %d doubled", lost, doubled, len(letters), len(r.bad), doubledLetters)
	}
}

// checkAttempts wants the dead letters to be some of the first ones, tried again.
func (r *fileRun) checkAttempts(t *testing.T, first []string) {
	t.Helper()
	store, err := r.state().OpenToRead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = app.EachLetter(t.Context(), store, "", 0, func(d *checkpoint.DeadLetter) error {
		if d.Attempts < 2 || !d.First.Before(d.At) || !slices.Contains(first, strconv.FormatInt(d.ID, 10)) {
			t.Errorf("it lost its history: %+v", d)
		}
		return nil
	})
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFileRunIsKilled kills runs over files at each point of the commit protocol and at random, then lets one end.
func TestFileRunIsKilled(t *testing.T) {
	t.Parallel()
	r, kills := newFileRun(t), 0
	try := func(o order, life time.Duration) {
		code, killed, output, err := r.command(t.Context(), o, life, "run", "lines.yaml")
		switch {
		case err != nil || !killed && code != exitOK && code != exitPartial:
			t.Fatalf("%+v: exit code %d, %v\n%s", o, code, err, output)
		case killed:
			kills++
		}
	}
	for range 10 {
		try(order{}, time.Duration(20+rand.IntN(150))*time.Millisecond)
	}
	random := kills
	for i, point := range routers.Points() {
		r.grow(t, fmt.Sprintf("part-%d.csv", i%fileCount), 500) // so that each run has something to do
		try(order{KillAt: "lines/" + point + ":1"}, 0)
	}
	try(order{}, 0)
	r.check(t)
	t.Logf("%d kills at random, %d at points", random, kills-random)
	if kills-random < len(routers.Points())-1 { // there may be nothing to roll forward
		t.Errorf("only %d runs were killed at points", kills-random)
	}
}

// TestRetryIsKilled mends dead letters but for one of forty, kills their retry at each point and at random, and wants each
// of the mended in the lake once; the others stay the same letters, which were tried more than once.
func TestRetryIsKilled(t *testing.T) {
	t.Parallel()
	r := newFileRun(t)
	if code, _, output, err := r.command(t.Context(), order{}, 0, "run", "lines.yaml"); err != nil || code != exitPartial {
		t.Fatal(code, err, output)
	}
	store, err := checkpoint.Open(t.Context(), filepath.Join(r.dir, ".acequia", "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	var letters []string
	err = app.EachLetter(t.Context(), store, "", 0, func(d *checkpoint.DeadLetter) error {
		letters = append(letters, strconv.FormatInt(d.ID, 10))
		if len(letters)%40 == 0 {
			return nil
		}
		text, _, _ := strings.Cut(string(d.Raw), ",")
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		delete(r.bad, id)
		if id%7 != 0 {
			r.rows[id] = true
		}
		_, err = store.EditDeadLetter(t.Context(), d.ID, fmt.Appendf(nil, `{"id":%d,"year":2000,"name":"mended"}`, id))
		return err
	})
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	kills := 0
	retry := func(o order, life time.Duration, some ...string) {
		code, killed, output, err := r.command(t.Context(), o, life, append([]string{"dlq", "retry", "-f", "lines.yaml", "lines"}, some...)...)
		if err != nil || !killed && code != exitOK && code != exitPartial {
			t.Fatalf("%+v: exit code %d, %v\n%s", o, code, err, output)
		}
		if killed {
			kills++
		}
	}
	const some = 40 // at a time: each death has letters of its own, and the next retry goes on with them
	for i, point := range routers.Points() {
		retry(order{KillAt: "lines/" + point + ":1"}, 0, letters[i*some:(i+1)*some]...)
		retry(order{}, 0, letters[i*some])
	}
	for range 4 {
		retry(order{}, time.Duration(10+rand.IntN(150))*time.Millisecond)
	}
	retry(order{}, 0) // this one may have nothing to do but to end what was committed when the last one died
	if code, _, output, err := r.command(t.Context(), order{}, 0, "dlq", "retry", "-f", "lines.yaml", "lines"); err != nil || code != exitPartial {
		t.Fatal(code, err, output)
	}
	r.check(t)
	r.checkAttempts(t, letters)
	if kills < len(routers.Points())-2 { // there may be nothing to recover
		t.Errorf("only %d retries were killed", kills)
	}
}
