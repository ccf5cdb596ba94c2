package routers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/acequia-io/acequia/handlers/dedupe"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// copies is a generator each of whose chunks also holds the records of the chunk before, and of the same chunk of the next
// lane.
type copies struct{ *generator }

type copiesReader struct {
	sources.Reader
	lanes int64
}

func (c copies) Open(ctx context.Context, lane sources.Lane, from record.Position) (sources.Reader, error) {
	r, err := c.generator.Open(ctx, lane, from)
	return &copiesReader{r, int64(c.total() / (c.chunks * c.rows))}, err
}

func (r *copiesReader) Read(ctx context.Context) (record.Chunk, error) {
	c, err := r.Reader.Read(ctx)
	if err != nil {
		return c, err
	}
	own := c.Batches[0]
	b := record.NewBuilder(rowSchema, 2*own.Rows)
	give := func(id int64, row int) {
		b.Int(0, id)
		b.Int(1, own.Columns[1].Int(row))
		b.Int(2, own.Columns[2].Int(row))
		b.Next()
	}
	for row := range own.Rows {
		id := own.Columns[0].Int(row)
		lane, at := id/laneKeys, id%laneKeys
		if before := at - int64(own.Rows); before >= 0 {
			give(lane*laneKeys+before, row)
		}
		give((lane+1)%r.lanes*laneKeys+at, row)
	}
	c.Batches = append(c.Batches, b.Batch(nil))
	return c, nil
}

// giveCopies makes a pipeline read copies, and drop them.
func giveCopies(p *Pipeline, g *generator) error {
	step, err := dedupe.New(dedupe.Config{Key: []string{"id"}, Window: time.Hour, By: "event_time", MaxKeys: 1_000_000})
	p.Source, p.Steps = copies{g}, []Step{{"dedupe", step}}
	return err
}

// checkOnce wants each record once, from whichever lane.
func checkOnce(t *testing.T, root string, g *generator) {
	t.Helper()
	if found, err := verify(root, g); err != nil || found.lost > 0 || found.doubled > 0 || found.leftovers > 0 {
		t.Errorf("lost %d, doubled %d, left over %d, %v", found.lost, found.doubled, found.leftovers, err)
	}
}

// The protections of what steps remember: without them it is saved in a write of its own, before the intent or after the
// checkpoint.
const (
	memoryBefore = "memory-before-intent"
	memoryAfter  = "memory-after-checkpoint"
	inMemory     = "in-memory" // between the two writes
)

// memoryApart is the memory of groups whose intent was saved without it.
type memoryApart struct {
	mu   sync.Mutex
	held map[checkpoint.Lane]map[string]checkpoint.Memory
}

func (w *weakStore) intentApart(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	if w.without == memoryBefore {
		if err := w.rememberApart(ctx, lane, in.Group, in.Memory); err != nil {
			return err
		}
		w.probe(inMemory)
	} else {
		w.apart.mu.Lock()
		if w.apart.held == nil {
			w.apart.held = map[checkpoint.Lane]map[string]checkpoint.Memory{}
		}
		w.apart.held[lane] = in.Memory
		w.apart.mu.Unlock()
	}
	in.Memory = nil
	return w.Store.SaveIntent(ctx, lane, epoch, in)
}

func (w *weakStore) checkpointApart(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	w.apart.mu.Lock()
	memory := w.apart.held[lane]
	delete(w.apart.held, lane)
	w.apart.mu.Unlock()
	if memory == nil {
		memory = in.Memory
	}
	in.Memory = nil
	if err := w.Store.SaveCheckpoint(ctx, lane, epoch, in); err != nil {
		return err
	}
	w.probe(inMemory)
	return w.rememberApart(ctx, lane, in.Group, memory)
}

func (w *weakStore) rememberApart(ctx context.Context, lane checkpoint.Lane, group int64, memory map[string]checkpoint.Memory) error {
	for step, m := range memory {
		if len(m.Block) == 0 {
			continue
		}
		_, err := w.raw.ExecContext(ctx, `insert or replace into memory(pipeline, step, lane, grp, newest, block) values(?, ?, ?, ?, ?, ?)`,
			lane.Pipeline, step, lane.ID, group, m.Newest, m.Block)
		if err != nil {
			return err
		}
	}
	return nil
}

// A kill at any point neither lets a copy through nor drops a record of which no copy was delivered.
func TestCopiesAcrossKills(t *testing.T) {
	t.Parallel()
	for _, point := range allPoints() {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			for nth := 1; nth <= torture(t, 2); nth++ {
				dir := crashDir(t)
				for _, at := range []string{fmt.Sprintf("%s:%d", point, nth), fmt.Sprintf("before-checkpoint:%d", nth), ""} {
					if _, message := runChild(t, dir, order{at: at, copies: true}); message != "" {
						t.Errorf("killed at %q: %s", at, message)
					}
				}
				checkOnce(t, filepath.Join(dir, "out"), crashWorld())
			}
		})
	}
}

// A state store that fails now and then, also after it has saved, is no way in for copies.
func TestCopiesWithAFlakyStore(t *testing.T) {
	t.Parallel()
	for _, flaky := range []int{3, 5} {
		dir := crashDir(t)
		if killed, message := runChild(t, dir, order{copies: true, flaky: flaky}); killed || message != "" {
			t.Error(killed, message)
		}
		checkOnce(t, filepath.Join(dir, "out"), crashWorld())
	}
}

// Saved apart from intent and checkpoint, the memory of a step loses records, or lets copies through: the test sees both.
func TestMemoryApartIsSeen(t *testing.T) {
	t.Parallel()
	for without, seen := range map[string]func(findings) int{
		memoryBefore: func(f findings) int { return f.lost }, memoryAfter: func(f findings) int { return f.doubled },
	} {
		t.Run(without, func(t *testing.T) {
			t.Parallel()
			dir := crashDir(t)
			killed, first := runChild(t, dir, order{at: inMemory + ":2", copies: true, without: without})
			_, second := runChild(t, dir, order{copies: true, without: without})
			if !killed || first != "" || second != "" {
				t.Fatal(killed, first, second)
			}
			if found, err := verify(filepath.Join(dir, "out"), crashWorld()); err != nil || seen(found) == 0 {
				t.Errorf("nothing is found: lost %d, doubled %d, %v", found.lost, found.doubled, err)
			}
		})
	}
}

// What a group that was taken back had remembered is forgotten: its records are read again.
func TestMemoryOfAGroupThatWasTakenBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	pipeline := func() Pipeline {
		p := r.pipeline(g)
		if err := giveCopies(&p, g); err != nil {
			t.Fatal(err)
		}
		return p
	}
	var left sinks.Manifest
	r.out.onPublish = func(m sinks.Manifest) error {
		left = m
		return errors.New("seeded")
	}
	if err := r.run(t, pipeline()).Run(t.Context()); err == nil || len(left.Files) == 0 {
		t.Fatal("nothing failed", left)
	}
	r.out.onPublish = nil
	if err := os.Remove(filepath.Join(r.out.root, left.Files[0].Staged)); err != nil {
		t.Fatal(err)
	}
	r.mustRun(t, pipeline())
	checkOnce(t, r.out.root, g)
}

// A group without files, of a source whose position stands still, keeps its memory too.
func TestStillGroupRemembers(t *testing.T) {
	t.Parallel()
	if g := (&group{remembers: true}); g.still() {
		t.Error("what it remembers would not be saved")
	}
}
