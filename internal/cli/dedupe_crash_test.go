package cli

import (
	"bytes"
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

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/routers"
)

const copiesProject = `version: 1
sources:
  lines: { type: file, path: "*.csv", stream: lines, schema: { id: int64, at: timestamp, name: string } }
sinks:
  lake: { type: lake, url: lake, partition: [tens] }
pipelines:
  lines:
    from: lines
    steps: [ { dedupe: { key: [id], window: 240h, by: at } }, { derive: { tens: 'row.id % 3' } } ]
    to: [lake]
`

// copiedEvents are the events that each of the files of a copies run holds, in an order of its own.
const copiedEvents = 40_000

// newCopiesRun makes files of events, all of which are in each of them; a tenth are twice in a file.
func newCopiesRun(t *testing.T) *fileRun {
	t.Helper()
	r := &fileRun{dir: t.TempDir(), rows: map[int64]bool{}, bad: map[int64]bool{}}
	for f := range int64(fileCount) {
		var ids []int64
		for i := range int64(copiedEvents) {
			id := (i + f*copiedEvents/fileCount) % copiedEvents
			if ids = append(ids, id); id%10 == f {
				ids = append(ids, (id+copiedEvents-1)%copiedEvents)
			}
		}
		r.events(t, fmt.Sprintf("part-%d.csv", f), ids)
	}
	r.next = copiedEvents
	r.write(t, "lines.yaml", []byte(copiesProject))
	return r
}

// events appends events to a file.
func (r *fileRun) events(t *testing.T, name string, ids []int64) {
	t.Helper()
	path := filepath.Join(r.dir, name)
	var b bytes.Buffer
	if _, err := os.Stat(path); err != nil {
		b.WriteString("id,at,name\n")
	}
	for _, id := range ids {
		r.rows[id] = true
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(id) * time.Second)
		fmt.Fprintf(&b, "%d,%s,\"name, %d\"\n", id, at.Format(time.RFC3339), id%977)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b.Bytes()); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
}

// more appends new events and copies of old ones.
func (r *fileRun) more(t *testing.T, name string) {
	t.Helper()
	var ids []int64
	for range 300 {
		ids = append(ids, r.next, rand.Int64N(r.next), r.next)
		r.next++
	}
	r.events(t, name, ids)
}

// TestDedupeIsKilled kills runs over files full of copies, at each point of the commit protocol and at random: each event is in
// the lake once.
func TestDedupeIsKilled(t *testing.T) {
	t.Parallel()
	r, kills := newCopiesRun(t), 0
	try := func(o order, life time.Duration) {
		code, killed, output, err := r.command(t.Context(), o, life, "run", "lines.yaml")
		switch {
		case err != nil || !killed && code != exitOK:
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
		r.more(t, fmt.Sprintf("part-%d.csv", i%fileCount))
		r.more(t, fmt.Sprintf("part-%d.csv", (i+1)%fileCount))
		try(order{KillAt: "lines/" + point + ":1"}, 0)
	}
	try(order{}, 0)
	r.check(t)
	t.Logf("%d kills at random, %d at points", random, kills-random)
	if kills-random < len(routers.Points())-1 { // there may be nothing to roll forward
		t.Errorf("only %d runs were killed at points", kills-random)
	}
}

// TestDedupeProtections kills runs that save what the step remembers in a write of its own, between the two writes: events are
// lost, or there twice, and the comparison finds it.
func TestDedupeProtections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		without       protection
		lost, doubled bool
	}{{memoryNotBefore, true, false}, {memoryNotAfter, false, true}} {
		t.Run(string(c.without), func(t *testing.T) {
			t.Parallel()
			r := newCopiesRun(t)
			for i, kill := range []string{"lines/" + inMemory + ":2", ""} {
				code, killed, output, err := r.command(t.Context(), order{KillAt: kill, Without: c.without}, 0, "run", "lines.yaml")
				if err != nil || killed != (i == 0) || !killed && code != exitOK {
					t.Fatalf("exit code %d, %v\n%s", code, err, output)
				}
			}
			if lost, doubled := r.differences(t); lost > 0 != c.lost || doubled > 0 != c.doubled {
				t.Errorf("lost %d, doubled %d: the test is blind, or the protection is not needed", lost, doubled)
			} else {
				t.Logf("lost %d, doubled %d", lost, doubled)
			}
		})
	}
}

// copiesReplay keeps all copies in one lake, and lets them through the step on their way into another.
const copiesReplay = `version: 1
sources:
  lines: { type: file, path: "*.csv", stream: lines, schema: { id: int64, at: timestamp, name: string } }
sinks:
  raw: { type: lake, url: raw, roll: { rows: 5000 } }
  lake: { type: lake, url: lake, partition: [tens] }
pipelines:
  raw: { from: lines, to: [raw] }
  replayed:
    from: lines
    steps: [ { dedupe: { key: [id], window: 240h, by: at } }, { derive: { tens: 'row.id % 3' } } ]
    to: [lake]
`

// TestDedupeReplayIsKilled replays a lake full of copies through the step, and kills the replay at each point and at random:
// each event comes out once.
func TestDedupeReplayIsKilled(t *testing.T) {
	t.Parallel()
	r := newCopiesRun(t)
	r.write(t, "lines.yaml", []byte(copiesReplay))
	raw, _, _ := strings.Cut(copiesReplay, "  replayed:")
	r.write(t, "raw.yaml", []byte(raw))
	if code, _, output, err := r.command(t.Context(), order{}, 0, "run", "raw.yaml"); err != nil || code != exitOK {
		t.Fatal(code, err, output)
	}
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
	for _, point := range routers.Points()[3:] { // one that does not come to its point ends, and nothing is left to kill
		if replay(order{KillAt: "replayed/" + point + ":1"}, 0) {
			t.Fatalf("the replay did not come to %s", point)
		}
	}
	ended := false
	for i := 0; i < 3 && !ended; i++ {
		ended = replay(order{}, time.Duration(100+rand.IntN(150))*time.Millisecond) || r.replayed(t)
	}
	for !ended {
		ended = replay(order{}, 0)
	}
	r.check(t)
	t.Logf("%d kills", kills)
}

// inMemory is the place between the write of what a step remembers and that of its group.
const inMemory = "in-memory"

// memoryApart saves what steps remember in writes of its own.
type memoryApart struct {
	file  string
	probe func(point string)
	mu    sync.Mutex
	kept  map[checkpoint.Lane]checkpoint.Intent
}

// hold keeps the memory of a group until its checkpoint.
func (m *memoryApart) hold(lane checkpoint.Lane, in checkpoint.Intent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept == nil {
		m.kept = map[checkpoint.Lane]checkpoint.Intent{}
	}
	m.kept[lane] = in
}

func (m *memoryApart) held(lane checkpoint.Lane, in checkpoint.Intent) checkpoint.Intent {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kept, ok := m.kept[lane]; ok {
		in = kept
		delete(m.kept, lane)
	}
	return in
}

// save writes the memory of a group.
func (m *memoryApart) save(ctx context.Context, lane checkpoint.Lane, in checkpoint.Intent) error {
	db, err := sql.Open("sqlite", "file:"+m.file+"?_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return err
	}
	write := func() error {
		for step, memory := range in.Memory {
			_, err := db.ExecContext(ctx, `insert or replace into memory(pipeline, step, lane, grp, newest, block) values(?, ?, ?, ?, ?, ?)`,
				lane.Pipeline, step, lane.ID, in.Group, memory.Newest, memory.Block)
			if err != nil {
				return err
			}
		}
		return nil
	}
	return errors.Join(write(), db.Close())
}
