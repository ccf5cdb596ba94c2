package routers

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

func (c *countingStore) SaveCheckpoint(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	c.checkpoints.Add(1)
	return c.Store.SaveCheckpoint(ctx, lane, epoch, in)
}

// mailbox is a source like a form: it waits for what is put in, and its position never moves.
type mailbox struct {
	in      chan int64
	settled chan error
}

func newMailbox() *mailbox { return &mailbox{in: make(chan int64), settled: make(chan error, 100)} }

func (m *mailbox) Lanes(context.Context) ([]sources.Lane, error) {
	return []sources.Lane{{ID: "box"}}, nil
}

func (m *mailbox) Open(context.Context, sources.Lane, record.Position) (sources.Reader, error) {
	return m, nil
}

func (m *mailbox) Read(ctx context.Context) (record.Chunk, error) {
	select {
	case id := <-m.in:
		b := record.NewBuilder(rowSchema, 1)
		b.Int(0, id)
		b.Next()
		return record.Chunk{Batches: []*record.Batch{b.Batch(nil)}}, nil
	case <-ctx.Done():
		return record.Chunk{}, ctx.Err()
	}
}

func (m *mailbox) Settle(_ context.Context, _ record.Position, err error) error {
	m.settled <- err
	return nil
}

func (m *mailbox) Close() error { return nil }

func (m *mailbox) put(t *testing.T, id int64) error {
	t.Helper()
	m.in <- id
	return <-m.settled
}

// table is a sink like items: it writes in Stage, and has no files.
type table struct {
	mu      sync.Mutex
	rows    []int64
	stageOK func() error
}

type tableWriter struct {
	*table
	open []int64
}

func (s *table) Open(context.Context, sinks.Lane) (sinks.Writer, error) {
	return &tableWriter{table: s}, nil
}
func (s *table) Close(context.Context) error { return nil }

func (w *tableWriter) Write(_ context.Context, b *record.Batch) error {
	for i := range b.Rows {
		w.open = append(w.open, b.Columns[0].Int(i))
	}
	return nil
}

type tableStaging struct {
	*table
	rows []int64
}

func (w *tableWriter) Cut(sinks.Group) sinks.Staging {
	s := &tableStaging{w.table, w.open}
	w.open = nil
	return s
}

func (s *tableStaging) Stage(context.Context) (sinks.Manifest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stageOK != nil {
		if err := s.stageOK(); err != nil {
			return sinks.Manifest{}, err
		}
	}
	s.table.rows = append(s.table.rows, s.rows...)
	return sinks.Manifest{}, nil
}

func (w *tableWriter) Publish(context.Context, sinks.Manifest) error {
	return errors.New("there is nothing to publish")
}
func (w *tableWriter) Close(context.Context) error { return nil }

// What makes a form fast: a group that moves nothing costs no write of the state. Its dead letters are kept all the same,
// each of them, though every one has the same position.
func TestFormNeedsNoCheckpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	box, items := newMailbox(), &table{}
	p := r.pipeline(box)
	p.Sinks = []NamedSink{{"items", items}}
	p.Limits = Limits{}
	p.Steps = []Step{{"judge", refusing(func(id int64) bool { return id < 0 })}}
	store := &countingStore{Store: r.store}
	run, err := New(p, Options{Store: store, Log: r.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- run.Run(t.Context()) }()
	if err := box.put(t, -100); err != nil {
		t.Error(err)
	}
	before := store.checkpoints.Load()
	for id := range int64(50) {
		if err := box.put(t, id); err != nil {
			t.Error(err)
		}
	}
	if store.checkpoints.Load() != before || store.intents.Load() > 0 {
		t.Errorf("%d intents, %d checkpoints", store.intents.Load(), store.checkpoints.Load())
	}
	for id := range int64(3) {
		if err := box.put(t, -1-id); err != nil {
			t.Error(err)
		}
	}
	items.mu.Lock()
	items.stageOK = func() error {
		items.stageOK = nil
		return fault.Retry(errors.New("no space"))
	}
	items.mu.Unlock()
	if err := box.put(t, 50); err == nil {
		t.Error("durable on a full disk")
	}
	if err := box.put(t, -9); err != nil { // the first of its incarnation, as -100 was
		t.Error(err)
	}
	if err := box.put(t, 51); err != nil {
		t.Error(err)
	}
	run.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, err := r.store.CountDeadLetters(t.Context(), "p"); n != 5 || err != nil {
		t.Errorf("%d dead letters, %v", n, err)
	}
	if len(items.rows) != 51 {
		t.Errorf("%d items", len(items.rows))
	}
	if s := run.Status(); s.State != Stopped || s.RowsCommitted != 56 {
		t.Errorf("%+v", s)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		limits Limits
		want   []int // rows of the groups; nil: only that there is more than one
	}{
		"rows":     {Limits{Rows: 40, Age: time.Hour}, []int{40, 40, 20}},
		"messages": {Limits{Messages: 3, Age: time.Hour}, []int{30, 30, 30, 10}},
		"bytes":    {Limits{Bytes: 500, Age: time.Hour}, []int{30, 30, 30, 10}},
		"nothing":  {Limits{Age: time.Hour}, []int{100}},
		"age":      {Limits{Age: 20 * time.Millisecond}, nil},
		"idle":     {Limits{Age: time.Hour, Idle: 2 * time.Millisecond}, nil},
		"free":     {Limits{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			g := &generator{lanes: 1, chunks: 10, rows: 10}
			if test.want == nil {
				g.pace = 10 * time.Millisecond
			}
			var groups []int
			r.out.onPublish = func(m sinks.Manifest) error {
				rows := 0
				for _, f := range m.Files {
					rows += int(f.Rows)
				}
				groups = append(groups, rows)
				return nil
			}
			p := r.pipeline(g)
			p.Limits = test.limits
			r.mustRun(t, p)
			check(t, r.out.root, g)
			if test.want == nil && len(groups) > 1 {
				return
			}
			if diff := cmp.Diff(test.want, groups); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFullChunkClosesItsGroup has a source that gives no more before all that it gave is settled, and groups that would wait for
// an hour.
func TestFullChunkClosesItsGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	settled := make(chan struct{}, 100)
	g := &generator{lanes: 1, chunks: 12, rows: 10, full: func(n int) bool { return n%3 == 0 }}
	g.onSettle = func(string, record.Position, error) { settled <- struct{}{} }
	g.readErr = func(_ string, chunk int) error {
		for range 3 {
			if chunk == 0 || chunk%3 != 0 {
				break
			}
			select {
			case <-settled:
			case <-time.After(20 * time.Second):
				return errors.New("the group is not closed")
			}
		}
		return nil
	}
	p := r.pipeline(g)
	p.Limits = Limits{Age: time.Hour}
	r.mustRun(t, p)
	check(t, r.out.root, g)
}

func TestHungStepIsRetried(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 10, rows: 10}
	hung := false
	r.out.onStage = func(ctx context.Context) error {
		if hung {
			return nil
		}
		hung = true
		<-ctx.Done()
		return ctx.Err()
	}
	p := r.pipeline(g)
	p.StepTimeout = 100 * time.Millisecond
	r.mustRun(t, p)
	check(t, r.out.root, g)
	if !strings.Contains(r.log.String(), "ACQ-RUN-001") {
		t.Error(r.log.String())
	}
}

// leavePending leaves an intent pending whose files are staged, and gives the manifest.
func leavePending(t *testing.T, r *rig, g *generator) sinks.Manifest {
	t.Helper()
	var left sinks.Manifest
	r.out.onPublish = func(m sinks.Manifest) error {
		left = m
		return errors.New("seeded")
	}
	if err := r.run(t, r.pipeline(g)).Run(t.Context()); err == nil {
		t.Fatal("nothing failed")
	}
	r.out.onPublish = nil
	if len(left.Files) != 2 {
		t.Fatalf("%+v", left)
	}
	return left
}

func TestRollForwardSettlesFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	var told settlements
	g.onSettle = told.add
	leavePending(t, r, g)
	if len(told.all) > 0 && told.all[0] != "0:6 refused" {
		t.Error("a chunk was refused that recovery will make durable:", told.all)
	}
	told.all = nil
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
	if told.all[0] != "0:5 durable" || told.all[1] != "0:6 durable" {
		t.Error(told.all)
	}
}

func TestVanishedPartIsReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	left := leavePending(t, r, g)
	if err := os.Remove(filepath.Join(r.out.root, left.Files[0].Staged)); err != nil {
		t.Fatal(err)
	}
	run := r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
	if s := run.Status(); s.Lanes[0].Group != s.Lanes[0].Commits+1 { // one was taken back: its ordinal is not used again
		t.Errorf("%+v", s.Lanes[0])
	}
}

func TestVanishedPartOfAVisibleGroupStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	left := leavePending(t, r, g)
	err1 := os.Rename(filepath.Join(r.out.root, left.Files[0].Staged), filepath.Join(r.out.root, left.Files[0].Name))
	err2 := os.Remove(filepath.Join(r.out.root, left.Files[1].Staged))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	run := r.run(t, r.pipeline(g))
	err := run.Run(t.Context())
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || fault.Of(err) != fault.Fatal || e.Code != "ACQ-RUN-006" || e.Remedy == "" {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(r.out.root, left.Files[0].Name)); err != nil { // the remedy
		t.Fatal(err)
	}
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
}

func TestConflictStops(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	left := leavePending(t, r, g)
	name := filepath.Join(r.out.root, left.Files[0].Name)
	if err := os.WriteFile(name, []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.run(t, r.pipeline(g)).Run(t.Context()); fault.Code(err) != "ACQ-RUN-005" {
		t.Fatal(err)
	}
	if err := os.Remove(name); err != nil { // the remedy
		t.Fatal(err)
	}
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
}

func TestSinkOfAnIntentIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	leavePending(t, r, g)
	p := r.pipeline(g)
	p.Sinks[0].Name = "renamed"
	if err := r.run(t, p).Run(t.Context()); fault.Code(err) != "ACQ-RUN-004" {
		t.Fatal(err)
	}
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	good := r.pipeline(&generator{})
	for name, spoil := range map[string]func(p *Pipeline, o *Options){
		"no name":   func(p *Pipeline, _ *Options) { p.Name = "" },
		"no source": func(p *Pipeline, _ *Options) { p.Source = nil },
		"no sink":   func(p *Pipeline, _ *Options) { p.Sinks = nil },
		"two names": func(p *Pipeline, _ *Options) { p.Sinks = append(p.Sinks, p.Sinks[0]) },
		"step":      func(p *Pipeline, _ *Options) { p.Steps = []Step{{Name: "x"}} },
		"share":     func(p *Pipeline, _ *Options) { p.StopAfter = 2 },
		"no store":  func(_ *Pipeline, o *Options) { o.Store = nil },
	} {
		p, o := good, Options{Store: r.store, Log: r.log.logger()}
		spoil(&p, &o)
		if _, err := New(p, o); err == nil {
			t.Error(name, "was accepted")
		}
	}
}
