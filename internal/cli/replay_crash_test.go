package cli

import (
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/routers"
)

// rawProject keeps what the source gives.
const rawProject = `version: 1
sources:
  lines: { type: file, path: "part-0.csv", stream: lines, key: [id], schema: { id: int64, year: int32, name: string } }
sinks:
  raw: { type: lake, url: raw, roll: { rows: 3000 } }
pipelines:
  raw: { from: lines, to: [raw] }
`

// replayProject is what the raw records are replayed through.
const replayProject = `version: 1
sources:
  lines: { type: file, path: "part-0.csv", stream: lines, key: [id], schema: { id: int64, year: int32, name: string } }
sinks:
  lake: { type: lake, url: lake, partition: [century] }
  items: { type: items }
pipelines:
  replayed:
    from: lines
    steps: [ { filter: 'row.id % 7 != 0' }, { derive: { century: 'row.year / 100' } } ]
    to: [lake, items]
`

// newReplayRun has the raw records of the first of the files in a lake.
func newReplayRun(t *testing.T) *fileRun {
	t.Helper()
	r := newFileRun(t)
	for _, ids := range []map[int64]bool{r.rows, r.bad} {
		maps.DeleteFunc(ids, func(id int64, _ bool) bool { return id >= fileLines })
	}
	r.write(t, "raw.yaml", []byte(rawProject))
	r.write(t, "lines.yaml", []byte(replayProject))
	if code, _, output, err := r.command(t.Context(), order{}, 0, "run", "raw.yaml"); err != nil || code != exitPartial {
		t.Fatal(code, err, output)
	}
	return r
}

// TestReplayIsKilled kills replays at each point of the commit protocol and at random, and lets one end: every record of
// the raw lake that passes is in the files once, and the items are the same.
func TestReplayIsKilled(t *testing.T) {
	t.Parallel()
	r := newReplayRun(t)
	kills := 0
	replay := func(o order, life time.Duration) (ended bool) {
		code, killed, output, err := r.command(t.Context(), o, life, "replay", "replayed", "-f", "lines.yaml", "--from-lake", "raw")
		if err != nil || !killed && code != exitOK {
			t.Fatalf("%+v: exit code %d, %v\n%s", o, code, err, output)
		}
		if killed {
			kills++
		}
		return !killed
	}
	// A replay that does not come to its point ends, and there is nothing left to kill: recovery is tried where there
	// surely is something to recover.
	for _, point := range routers.Points()[3:] {
		if replay(order{KillAt: "replayed/" + point + ":1"}, 0) {
			t.Fatalf("the replay did not come to %s", point)
		}
	}
	for _, point := range []string{"after-intent", "in-recovery"} {
		replay(order{KillAt: "replayed/" + point + ":1"}, 0)
	}
	ended := false
	for i := 0; i < 3 && !ended; i++ {
		ended = replay(order{}, time.Duration(100+rand.IntN(150))*time.Millisecond) || r.replayed(t)
	}
	for !ended {
		ended = replay(order{}, 0)
	}
	r.check(t)
	r.items(t)
	t.Logf("%d kills", kills)
	if kills < len(routers.Points()) {
		t.Errorf("only %d replays were killed", kills)
	}
}

// replayed says that the replay is done: a kill may come between that and the end of the process, and the next would be
// another replay.
func (r *fileRun) replayed(t *testing.T) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, ".acequia", "replays", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	text, err := os.ReadFile(files[0])
	var run struct {
		Done bool `json:"done"`
	}
	if err = errors.Join(err, json.Unmarshal(text, &run)); err != nil {
		t.Fatal(err)
	}
	return run.Done
}

// items compares the items with the rows that the lake must hold.
func (r *fileRun) items(t *testing.T) {
	t.Helper()
	store, err := itemstore.Open(t.Context(), filepath.Join(r.dir, ".acequia", "items.db"), itemstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.List(t.Context(), "lines", 1<<30, "")
	seen := map[int64]bool{}
	for _, item := range all {
		id, wrong := strconv.ParseInt(strings.Trim(item.Key, "[]\""), 10, 64)
		err = errors.Join(err, wrong)
		seen[id] = true
	}
	if err = errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	for id := range r.rows {
		if !seen[id] {
			t.Fatalf("record %d is no item", id)
		}
	}
	if len(seen) != len(r.rows) {
		t.Errorf("%d items, want %d", len(seen), len(r.rows))
	}
}
