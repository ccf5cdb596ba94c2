package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/blob/blobtest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/lakefiles"
)

const teamChores = `version: 1
state: { folder: .state-%s, type: postgres, dsn: %q }
sources:
  lines: { type: postgres, dsn: %q, capture: { strategy: xmin, every: 100ms } }
sinks:
  lake:
    type: lake
    %s
    roll: { every: 100ms }
    %s
pipelines:
  lines: { from: lines, to: [lake] }
`

// addLines adds lines: the even ones are of a day that is long over.
const addLines = "insert into lines select i, 'x', case when i %% 2 = 0 then date '2020-01-01' else current_date end from generate_series(%d, %d) i"

// choreRun is a team that keeps a lake.
type choreRun struct {
	*fileRun
	bucket blob.Files
	later  func() // makes the lock of the frozen free: a minute by the clock of S3, or of the file system
	dsn    string
	rows   int
}

func newChoreRun(t *testing.T, place, chore string) *choreRun {
	t.Helper()
	dsn := sharedDatabase(t, "create table lines (id bigint primary key, name text, day date)", fmt.Sprintf(addLines, 0, 99))
	r := &choreRun{fileRun: &fileRun{dir: t.TempDir(), shared: app.SharedState{DSN: config.Secret(dsn)}}, dsn: dsn, rows: 100}
	var lake string
	var err error
	switch place {
	case "S3":
		server := blobtest.New(t)
		lake = fmt.Sprintf("url: s3://bucket/lake\n    aws: { region: eu-west-1, endpoint: %q }", server.URL)
		r.later = func() { server.Later(2 * time.Minute) }
		r.bucket, err = blob.OpenS3(t.Context(), "s3://bucket/lake", server.Settings())
	case "a directory":
		folder := filepath.Join(r.dir, "lake")
		lake = fmt.Sprintf("url: %q", folder)
		r.later = func() {
			then := time.Now().Add(-2 * time.Minute)
			if err := os.Chtimes(filepath.Join(folder, "_swaps", "lines.lock"), then, then); err != nil {
				t.Fatal(err)
			}
		}
		r.bucket, err = blob.Open(folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		r.write(t, name+".yaml", fmt.Appendf(nil, teamChores, name, dsn, dsn, lake, chore))
	}
	return r
}

// more adds rows, and waits until they are in the lake: each time they are a file or more.
func (r *choreRun) more(t *testing.T, c *running) {
	t.Helper()
	r.add(t)
	c.until(t, func() bool { return len(r.counted(t)) >= r.rows })
}

// add adds rows.
func (r *choreRun) add(t *testing.T) {
	t.Helper()
	if err := runSQL(r.dsn, fmt.Sprintf(addLines, r.rows, r.rows+99)); err != nil {
		t.Fatal(err)
	}
	r.rows += 100
}

// counted gives how often each line is in the files that count. All of them are there: a file that is replaced may go while it is read, and
// then the table is read again.
func (r *choreRun) counted(t *testing.T) map[int64]int {
	t.Helper()
	for {
		files, err := lakefiles.List(t.Context(), r.bucket, "lines")
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]int{}
		for _, name := range files {
			file, err := r.bucket.Read(t.Context(), name)
			if errors.Is(err, fs.ErrNotExist) {
				seen = nil
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			type line struct {
				ID int64 `parquet:"id"`
			}
			rows, err := parquet.Read[line](bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range rows {
				seen[l.ID]++
			}
		}
		if seen != nil {
			return seen
		}
		if again, err := lakefiles.List(t.Context(), r.bucket, "lines"); err != nil || slices.Equal(files, again) {
			t.Fatalf("a file that counts is gone: %v, %q", err, files)
		}
	}
}

func (r *choreRun) exact(t *testing.T, when string) {
	t.Helper()
	seen := r.counted(t)
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s: line %d counts %d times", when, id, n)
		}
	}
	if len(seen) != r.rows {
		t.Errorf("%s: %d lines count, want %d", when, len(seen), r.rows)
	}
}

// swaps gives the outputs of compactions that count.
func (r *choreRun) outputs(t *testing.T) []string {
	t.Helper()
	files, err := lakefiles.List(t.Context(), r.bucket, "lines")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(name string) bool { return !lakefiles.IsOutput(name) })
}

// takeOvers does it at each point of a swap, with a lake in S3 and one in a directory.
//
// It is part of make torture until it has run long enough to be called steady.
func takeOvers(t *testing.T, chore string, do func(r *choreRun, t *testing.T, point string)) {
	t.Helper()
	if os.Getenv("ACEQUIA_KILLS") == "" {
		t.Skip("it is part of make torture")
	}
	for _, place := range []string{"S3", "a directory"} {
		for _, point := range []string{lakefiles.BeforePending, lakefiles.AfterPending, lakefiles.AfterPublish, lakefiles.BeforeDelete} {
			t.Run(place+"/"+point, func(t *testing.T) {
				t.Parallel()
				do(newChoreRun(t, place, chore), t, point)
			})
		}
	}
}

// goOn lets the one that was frozen go on, and waits until it says that it has lost the table. Where only what was replaced is left to be
// deleted, it may end that before it finds the table another's.
func goOn(t *testing.T, a *running, point string) {
	t.Helper()
	a.signal(t, syscall.SIGCONT, syscall.SIGCONT) // the program, and the point where it waits
	a.until(t, func() bool {
		said := a.said()
		return strings.Contains(said, "another process has taken") || strings.Contains(said, lakefiles.CodeLocked) ||
			point == lakefiles.BeforeDelete && strings.Contains(said, "lake table is kept")
	})
}

func end(t *testing.T, all ...*running) {
	t.Helper()
	for _, c := range all {
		c.signal(t, syscall.SIGTERM)
		if code := c.until(t, nil); code != exitOK && code != 130 && code != 143 {
			t.Errorf("exit code %d: %s", code, c.said())
		}
	}
}

// TestTeamTakesACompactionOver freezes the process that compacts a lake in the middle of a swap, for longer than its lease. The other takes
// the chore over, compacts the same files and what comes, and then the first goes on: every line counts once, and no file is gone that
// counts. It ends what it was about, and says so.
func TestTeamTakesACompactionOver(t *testing.T) {
	t.Parallel()
	takeOvers(t, "compact: { every: 200ms, older_than: 1ms, grace: 1ms }", (*choreRun).compactOver)
}

func (r *choreRun) compactOver(t *testing.T, point string) {
	t.Helper()
	a := r.start(t, order{HoldAt: "lake/" + point + ":1"}, "run", "a.yaml")
	a.until(t, func() bool { return len(r.counted(t)) == r.rows }) // a row that comes between cursor and snapshot is read by both
	for !r.isHeld() {                                              // files until there is something to compact
		r.more(t, a)
	}
	a.signal(t, syscall.SIGSTOP)
	r.exact(t, "when one is frozen")
	before := r.outputs(t)
	b := r.startBeside(t, "", "run", "b.yaml")
	r.more(t, b)
	b.until(t, func() bool {
		return strings.Contains(b.said(), "ACQ-LAKE-023") || len(r.outputs(t)) > 0 && !slices.Equal(before, r.outputs(t))
	})
	r.later()
	b.until(t, func() bool {
		all, err := lakefiles.List(t.Context(), r.bucket, "lines")
		return err == nil && len(all) == 1 && lakefiles.IsOutput(all[0]) && !slices.Contains(before, all[0])
	})
	r.exact(t, "when it was taken over")
	goOn(t, a, point)
	r.exact(t, "when the frozen has gone on")
	r.more(t, b)
	end(t, a, b)
	r.exact(t, "in the end")
	for owner, keys := range r.leases(t) { // an upload may be left, which who has the lane or the table next aborts
		t.Errorf("%s still has %v", owner, keys)
	}
}
