package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/routers"
)

// sequenceProject keeps what was read as it was, beside what the steps make of it. Each of its two pipelines has dead letters.
const sequenceProject = `version: 1
sources:
  lines: { type: file, path: "*.csv", stream: lines, key: [id], schema: { id: int64, year: int32, name: string } }
sinks:
  raw: { type: lake, url: raw }
  lake: { type: lake, url: lake, partition: [century] }
pipelines:
  raw: { from: lines, to: [raw] }
  lines:
    from: lines
    steps: [ { filter: 'row.id % 7 != 0' }, { derive: { century: 'row.year / 100' } } ]
    to: [lake]
`

// sequence is a project to which anything happens, in any order: its latest view stays what the model says.
type sequence struct {
	*fileRun
	t     *rapid.T
	lines int
	want  map[int64]string // century by id, of the latest view
	bad   map[int64]bool   // that are dead letters once all was read
}

// add appends lines to the file; every tenth has a year that is no number.
func (s *sequence) add(n int) {
	var b strings.Builder
	for range n {
		id := int64(s.lines)
		year := strconv.Itoa(1900 + s.lines%200)
		switch {
		case id%10 == 1:
			year, s.bad[id] = "N/A", true
		case id%7 != 0:
			s.want[id] = strconv.Itoa((1900 + s.lines%200) / 100)
		}
		fmt.Fprintf(&b, "%d,%s,name %d\n", id, year, id)
		s.lines++
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "a.csv"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(b.String())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// do runs the program, which may be killed at a point of the commit protocol or at any moment.
func (s *sequence) do(mayDie bool, args ...string) {
	var o order
	var life time.Duration
	if mayDie {
		switch death := rapid.IntRange(0, 2).Draw(s.t, "death"); death {
		case 1:
			o.KillAt = "lines/" + rapid.SampledFrom(routers.Points()).Draw(s.t, "point") + ":1"
		case 2:
			life = time.Duration(rapid.IntRange(5, 120).Draw(s.t, "life")) * time.Millisecond
		}
	}
	code, killed, output, err := s.command(s.t.Context(), o, life, args...)
	if err != nil || !killed && code != exitOK && code != exitPartial {
		s.t.Fatalf("%v %+v: exit code %d, %v\n%s", args, o, code, err, output)
	}
}

// mend gives the dead letters that there are now a year.
func (s *sequence) mend() {
	path := filepath.Join(s.dir, ".acequia", "state.db")
	if _, err := os.Stat(path); err != nil {
		return
	}
	store, err := checkpoint.Open(s.t.Context(), path)
	if err != nil {
		s.t.Fatal(err)
	}
	err = app.EachLetter(s.t.Context(), store, "lines", 0, func(d *checkpoint.DeadLetter) error {
		text, _, _ := strings.Cut(string(d.Raw), ",")
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("dead letter %d holds %q: %w", d.ID, d.Raw, err)
		}
		if id%7 != 0 {
			s.want[id] = "20"
		}
		delete(s.bad, id)
		_, err = store.EditDeadLetter(s.t.Context(), d.ID, fmt.Appendf(nil, `{"id":%d,"year":2000,"name":"mended"}`, id))
		return err
	})
	if err = errors.Join(err, store.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// replay sends what was read through the steps again. There is nothing to replay before the first run.
func (s *sequence) replay() {
	if s.has("raw/_tables/lines.json") {
		s.do(true, "replay", "lines", "-f", "lines.yaml", "--from-lake", "raw")
	}
}

func (s *sequence) has(name string) bool {
	_, err := os.Stat(filepath.Join(s.dir, name))
	return err == nil
}

// check lets all that is under way end and compares the latest view with the model.
func (s *sequence) check() {
	s.do(false, "run", "lines.yaml")
	s.do(false, "dlq", "retry", "-f", "lines.yaml", "lines") // of those that a killed retry has left
	code, _, output, err := s.command(s.t.Context(), order{}, 0, "query", "-f", "lines.yaml", "--sink", "lake", "-o", "csv",
		"select id, century from lines_latest order by id")
	if err != nil || code != exitOK {
		s.t.Fatalf("exit code %d, %v\n%s", code, err, output)
	}
	got := map[int64]string{}
	rows := strings.Split(strings.TrimSpace(output), "\n")[1:]
	for _, row := range rows {
		id, century, _ := strings.Cut(strings.TrimSpace(row), ",")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			s.t.Fatalf("%q: %v", row, err)
		}
		got[n] = century
	}
	if len(got) != len(rows) {
		s.t.Errorf("%d rows of %d keys in the latest view", len(rows), len(got))
	}
	if d := cmp.Diff(s.want, got); d != "" {
		s.t.Error(d)
	}
}

// wantsSQL skips a test in a build without SQL.
func wantsSQL(t *testing.T) {
	t.Helper()
	engine, err := query.New(query.Config{Lake: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	missing := engine.Available()
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	if missing != nil {
		t.Skip(missing)
	}
}

// TestSequences does anything to a project in any order, deaths included: runs over files that grow, dead letters that are
// mended and sent again, replays, compaction.
func TestSequences(t *testing.T) {
	t.Parallel()
	wantsSQL(t)
	checks, steps := "8", "10"
	if os.Getenv("ACEQUIA_KILLS") != "" {
		checks, steps = "100", "20"
	}
	if err := errors.Join(flag.Set("rapid.checks", checks), flag.Set("rapid.steps", steps), flag.Set("rapid.nofailfile", "true")); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "") //nolint:usetesting // one for each sequence
		if err != nil {
			rt.Fatal(err)
		}
		s := &sequence{fileRun: &fileRun{dir: dir}, t: rt, want: map[int64]string{}, bad: map[int64]bool{}}
		s.write(t, "a.csv", []byte("id,year,name\n"))
		s.write(t, "lines.yaml", []byte(sequenceProject))
		s.add(500)
		rt.Repeat(map[string]func(*rapid.T){
			"run":    func(*rapid.T) { s.do(true, "run", "lines.yaml") },
			"append": func(rt *rapid.T) { s.add(rapid.IntRange(1, 300).Draw(rt, "lines")) },
			"mend":   func(*rapid.T) { s.mend() },
			"retry":  func(*rapid.T) { s.do(true, "dlq", "retry", "-f", "lines.yaml", "lines") },
			"replay": func(*rapid.T) { s.replay() },
			"compact": func(rt *rapid.T) {
				grace := rapid.SampledFrom([]string{"0s", "1h"}).Draw(rt, "grace")
				if !s.has("lake/_tables/lines.json") {
					return // nothing has run yet
				}
				s.do(true, "tables", "compact", "-f", "lines.yaml", "--sink", "lake", "--older-than", "0s", "--grace", grace)
			},
		})
		s.check()
	})
}
