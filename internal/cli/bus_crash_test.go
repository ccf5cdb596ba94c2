package cli

import (
	"bytes"
	"cmp"
	"context"
	random "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/broker/brokertest"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/routers"
)

// A pipeline that a bus cuts in two: the first part is called as the one over files, so that its groups are small.
const (
	sendingPipeline   = "lines"
	receivingPipeline = "received"
)

const sendingProject = `version: 1
sources:
  lines: { type: file, path: "*.csv", stream: lines, key: [id], schema: { id: int64, name: string } }
sinks:
  bus: { type: bus, url: "%s", topic: %s, max_bytes: 32KiB }
pipelines:
  lines: { from: lines, to: [bus] }
`

const receivingProject = `version: 1
sources:
  bus: { type: bus, url: "%s", topic: %s, ack_wait: 1s, in_flight: 8 }
sinks:
  lake: { type: lake, url: lake, roll: { every: 200ms } }
  items: { type: items }
pipelines:
  received: { from: bus, to: [lake, items] }
`

// cutRun is a project in two parts, each in a folder of its own, with a bus between them.
type cutRun struct {
	sender, receiver string
	files, rows      int
	kills            int
}

// newCutRun has a NATS server of its own, if ACEQUIA_BUS names no other broker.
func newCutRun(t *testing.T) *cutRun {
	t.Helper()
	server, err := brokertest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &cutRun{sender: t.TempDir(), receiver: t.TempDir()}
	url, topic := cmp.Or(os.Getenv("ACEQUIA_BUS"), server.URL), "lines-"+random.Text()
	put(t, r.sender, "p.yaml", fmt.Sprintf(sendingProject, url, topic))
	put(t, r.receiver, "p.yaml", fmt.Sprintf(receivingProject, url, topic))
	return r
}

// add gives the sender one more file.
func (r *cutRun) add(t *testing.T, rows int) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("id,name\n")
	for range rows {
		fmt.Fprintf(&b, "%d,name %d\n", r.rows, rand.IntN(1_000_000))
		r.rows++
	}
	r.files++
	put(t, r.sender, fmt.Sprintf("part-%03d.csv", r.files), b.String())
}

func put(t *testing.T, folder, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// part runs a part until it is killed or has nothing to do.
func (r *cutRun) part(ctx context.Context, folder string, o order, life time.Duration) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	o.Dir = folder
	cmd := exec.CommandContext(ctx, self, "run", "p.yaml", "--until-idle", "--idle", "3s")
	cmd.Dir, cmd.Env = folder, o.environment()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	if life > 0 {
		death := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
		defer death.Stop()
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if status, _ := exit.Sys().(syscall.WaitStatus); status.Signaled() {
			r.kills++
			return nil
		}
		return fmt.Errorf("%+v: exit code %d\n%s", o, exit.ExitCode(), out.String())
	}
	return err
}

// drain runs the receiver until all is there, or a run brings nothing more: on a busy machine one may end between two groups. It
// gives what is missing or wrong then.
func (r *cutRun) drain(ctx context.Context) error {
	before := ""
	for {
		if err := r.part(ctx, r.receiver, order{}, 0); err != nil {
			return err
		}
		damage := r.damage(ctx)
		if damage == nil || damage.Error() == before {
			return damage
		}
		before = damage.Error()
	}
}

// damage says what is missing or wrong in the lake, its latest view and the items. Rows may be there twice, as copies.
func (r *cutRun) damage(ctx context.Context) error {
	type line struct {
		ID      int64  `parquet:"id"`
		Version string `parquet:"_version"`
		Event   string `parquet:"_event_id"`
	}
	seen, copies, differ := map[int64]line{}, 0, 0
	err := filepath.WalkDir(filepath.Join(r.receiver, "lake", "lines"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rows, err := parquet.ReadFile[line](path)
		for _, l := range rows {
			if first, again := seen[l.ID]; again {
				if copies++; first != l {
					differ++
				}
			}
			seen[l.ID] = l
		}
		return err
	})
	if len(seen) != r.rows || differ > 0 {
		err = errors.Join(err, fmt.Errorf("lake lost: %d of %d rows are there, %d of %d copies differ", len(seen), r.rows, differ, copies))
	}
	return errors.Join(err, r.latest(ctx), r.items(ctx))
}

// latest wants each row once in the view of the newest versions.
func (r *cutRun) latest(ctx context.Context) error {
	engine, err := query.New(query.Config{Lake: filepath.Join(r.receiver, "lake")})
	if err != nil {
		return err
	}
	rows, err := engine.Query(ctx, query.Request{SQL: "select count(*), count(distinct id) from lines_latest"})
	switch {
	case fault.Code(err) == noSQL:
		err = nil
	case err == nil:
		for rows.Next() {
			if n := rows.Row(); n[0].Text != fmt.Sprint(r.rows) || n[1].Text != n[0].Text {
				err = fmt.Errorf("latest: %s rows, %s ids, want %d", n[0].Text, n[1].Text, r.rows)
			}
		}
		err = errors.Join(err, rows.Err())
	}
	return errors.Join(err, engine.Close())
}

func (r *cutRun) items(ctx context.Context) error {
	store, err := itemstore.Open(ctx, filepath.Join(r.receiver, ".acequia", "items.db"), itemstore.Options{})
	if err != nil {
		return err
	}
	n, after := 0, ""
	for {
		page, err := store.List(ctx, "lines", 10_000, after)
		if err != nil || len(page) == 0 {
			if n != r.rows {
				err = errors.Join(err, fmt.Errorf("items lost: %d of %d are there", n, r.rows))
			}
			return errors.Join(err, store.Close())
		}
		n, after = n+len(page), page[len(page)-1].Key
	}
}

// TestCutPipelineIsKilled kills both parts at each point of the commit protocol and at random, then lets them end.
func TestCutPipelineIsKilled(t *testing.T) {
	t.Parallel()
	r := newCutRun(t)
	try := func(folder string, o order, life time.Duration) {
		if err := r.part(t.Context(), folder, o, life); err != nil {
			t.Fatal(err)
		}
	}
	for i, point := range routers.Points() {
		r.add(t, 3000)
		try(r.sender, order{KillAt: sendingPipeline + "/" + point + ":1"}, 10*time.Second)
		try(r.receiver, order{KillAt: receivingPipeline + "/" + point + ":1"}, 10*time.Second)
		if i%3 == 0 {
			r.add(t, 3000)
			try(r.sender, order{}, time.Duration(20+rand.IntN(200))*time.Millisecond)
			try(r.receiver, order{}, time.Duration(100+rand.IntN(600))*time.Millisecond)
		}
	}
	try(r.sender, order{}, 0)
	if err := r.drain(t.Context()); err != nil {
		t.Error(err)
	}
	t.Logf("%d kills", r.kills)
	if r.kills < 2*len(routers.Points())-4 { // there may be nothing to recover
		t.Errorf("only %d runs were killed", r.kills)
	}
}

// TestCutPipelineNeedsItsProtections takes each out once and wants to see the damage.
func TestCutPipelineNeedsItsProtections(t *testing.T) {
	t.Parallel()
	for without, kill := range map[protection]string{
		durableConfirms: receivingPipeline + "/before-intent:1",
		recoveryPublish: sendingPipeline + "/after-intent:1",
	} {
		for _, without := range []protection{"", without} {
			r := newCutRun(t)
			for range 3 {
				r.add(t, 6000)
			}
			folder := r.sender
			if strings.HasPrefix(kill, receivingPipeline) {
				folder = r.receiver
				if err := r.part(t.Context(), r.sender, order{}, 0); err != nil {
					t.Fatal(err)
				}
			}
			for _, o := range []order{{KillAt: kill, Without: without}, {Without: without}} {
				if err := r.part(t.Context(), folder, o, 0); err != nil {
					t.Fatal(err)
				}
			}
			damage := r.drain(t.Context())
			if r.kills != 1 || (damage != nil) != (without != "") {
				t.Errorf("%s, without %q: %d kills, damage: %v", kill, without, r.kills, damage)
			}
			t.Logf("%s, without %q: %v", kill, without, damage)
		}
	}
}
