package routers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// logBuffer is a log that tests read back.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// rig is what a test of one pipeline needs: a state store, a folder and a log.
type rig struct {
	store *checkpoint.Store
	out   *folder
	log   *logBuffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	store, err := checkpoint.Open(t.Context(), filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{store: store, out: newFolder(filepath.Join(dir, "out")), log: &logBuffer{}}
}

func (r *rig) pipeline(source sources.Source) Pipeline {
	return Pipeline{
		Name: "p", Source: source, Sinks: []NamedSink{{"out", r.out}},
		Limits: Limits{Rows: 50, Age: 10 * time.Millisecond}, Retry: Retry{Initial: time.Millisecond, Longest: 5 * time.Millisecond},
	}
}

func (r *rig) run(t *testing.T, p Pipeline) *Run {
	t.Helper()
	run, err := New(p, Options{Store: r.store, Log: r.log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// mustRun runs to the end and wants no error.
func (r *rig) mustRun(t *testing.T, p Pipeline) *Run {
	t.Helper()
	run := r.run(t, p)
	if err := run.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestRunToTheEnd(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var told settlements
	g := &generator{lanes: 3, chunks: 20, rows: 10, successor: true, onSettle: told.add}
	run := r.run(t, r.pipeline(g))
	watched := make(chan struct{})
	done := make(chan struct{})
	go func() { // status may be asked at any time
		defer close(watched)
		for !isClosed(done) {
			_ = run.Status().Fault()
		}
	}()
	err := run.Run(t.Context())
	close(done)
	<-watched
	if err != nil {
		t.Fatal(err)
	}
	check(t, r.out.root, g)
	s := run.Status()
	if s.State != Ended || s.RowsRead != 800 || s.RowsCommitted != 800 || s.Fault() != "" || len(s.Lanes) != 4 || s.Held != 0 {
		t.Errorf("status %+v", s)
	}
	for _, l := range s.Lanes {
		if l.State != Ended || l.Position != "20" || l.Epoch != 1 || len(l.LastFiles) == 0 || l.RowsPerSecond == 0 {
			t.Errorf("lane %+v", l)
		}
		var mine []string
		for _, line := range told.all {
			if strings.HasPrefix(line, l.ID+":") {
				mine = append(mine, line)
			}
		}
		var want []string
		for i := range g.chunks {
			want = append(want, fmt.Sprintf("%s:%d durable", l.ID, i+1))
		}
		if diff := cmp.Diff(want, mine); diff != "" {
			t.Errorf("lane %s was not settled once a chunk, in order:\n%s", l.ID, diff)
		}
	}
	if text := r.log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("an orderly run complains:\n%s", text)
	}
	again := r.mustRun(t, r.pipeline(g))
	if s := again.Status(); s.State != Ended || s.RowsRead != 0 {
		t.Errorf("ended lanes ran again: %+v", s)
	}
}

func TestTwoSinksGetTheSame(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := newFolder(filepath.Join(filepath.Dir(r.out.root), "second"))
	failures := 0
	second.onPublish = func(sinks.Manifest) error { // after the first sink has published
		if failures++; failures%3 == 1 {
			return fault.Retry(errors.New("not now"))
		}
		return nil
	}
	g := &generator{lanes: 1, chunks: 20, rows: 10}
	p := r.pipeline(g)
	p.Sinks = append(p.Sinks, NamedSink{"second", second})
	run := r.mustRun(t, p)
	check(t, r.out.root, g)
	check(t, second.root, g)
	if s := run.Status(); s.Lanes[0].Epoch == 1 {
		t.Error("nothing failed")
	}
}

// refuse makes a handler or a sink refuse the rows whose id fits.
func refuse(bad func(id int64) bool) func(b *record.Batch) error {
	return func(b *record.Batch) error {
		rows := &fault.Rows{}
		for i := range b.Rows {
			if id := b.Columns[0].Int(i); bad(id) && len(rows.Bad) < 2 { // two at a time: the rest comes in the next round
				err := &fault.Error{Class: fault.Poison, Code: "TEST-1", Err: fmt.Errorf("id %d", id)}
				rows.Bad = append(rows.Bad, fault.Row{Index: i, Column: "id", Err: err})
			}
		}
		return rows.Or()
	}
}

func refusing(bad func(id int64) bool) handlers.Handler {
	judge := refuse(bad)
	return handlers.Func(func(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
		if err := judge(b); err != nil {
			return nil, err
		}
		return []*record.Batch{b.Retain()}, nil
	})
}

// TestDeadLettersHaveCodes lets a step of somebody else refuse records with a reason alone.
func TestDeadLettersHaveCodes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 1, rows: 10}
	p := r.pipeline(g)
	p.Steps = []Step{{"judge", handlers.Func(func(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
		if b.Rows == 10 {
			return nil, &fault.Rows{Bad: []fault.Row{{Index: 3, Err: errors.New("not that one")}}}
		}
		return []*record.Batch{b.Retain()}, nil
	})}}
	r.mustRun(t, p)
	letters, err := r.store.DeadLetters(t.Context(), "p", 0, 100)
	if err != nil || len(letters) != 1 || letters[0].Code != "ACQ-RUN-009" || letters[0].Reason != "not that one" {
		t.Errorf("got %+v, %v", letters, err)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := newFolder(filepath.Join(filepath.Dir(r.out.root), "second"))
	second.onWrite = refuse(func(id int64) bool { return id == 33 })
	g := &generator{lanes: 1, chunks: 10, rows: 10}
	p := r.pipeline(g)
	p.Steps = []Step{{"judge", refusing(func(id int64) bool { return id%10 >= 5 && id < 20 })}}
	p.Sinks = append(p.Sinks, NamedSink{"second", second})
	run := r.mustRun(t, p)
	letters, err := r.store.DeadLetters(t.Context(), "p", 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range letters {
		got = append(got, fmt.Sprintf("%s %s %d %s %s %s %s", l.Stream, l.Position, l.Index, l.Step, l.Column, l.Code, l.Reason))
		if !bytes.Contains(l.Row, fmt.Appendf(nil, "%s", strings.TrimPrefix(l.Reason, "TEST-1: id "))) {
			t.Errorf("the row %s is not that of %q", l.Row, l.Reason)
		}
	}
	var want []string
	for chunk := range 2 {
		for i := 5; i < 10; i++ {
			want = append(want, fmt.Sprintf("gen %d %d judge id TEST-1 TEST-1: id %d", chunk+1, i, chunk*10+i))
		}
	}
	want = append(want, "gen 4 3 second id TEST-1 TEST-1: id 33")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first, err1 := verify(r.out.root, g)
	other, err2 := verify(second.root, g)
	if err1 != nil || err2 != nil || first.lost != 10 || other.lost != 11 || first.doubled+other.doubled > 0 {
		t.Errorf("first %+v, second %+v, %v %v", first, other, err1, err2)
	}
	if s := run.Status(); s.DeadLetters != 11 || s.RowsRefused != 11 || s.RowsRead != 100 {
		t.Errorf("status %+v", s)
	}
}

// A record that two sinks refuse is two dead letters of one record, whatever else the sinks get.
func TestRecordsThatTwoSinksRefuse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	second := newFolder(filepath.Join(filepath.Dir(r.out.root), "second"))
	r.out.onWrite = refuse(func(id int64) bool { return id%4 == 0 })
	second.onWrite = refuse(func(id int64) bool { return id%5 == 0 })
	p := r.pipeline(&generator{lanes: 1, chunks: 10, rows: 30})
	p.Steps = []Step{{"route", handlers.Func(func(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
		to := make([]uint64, b.Rows)
		for row := range to {
			to[row] = uint64(1 + b.Columns[0].Int(row)%3) // the first, the second, both
		}
		return []*record.Batch{b.Routed(record.Routes{Sinks: []string{"second", "out"}, Rows: to})}, nil
	})}}
	p.Sinks = append(p.Sinks, NamedSink{"second", second})
	run := r.mustRun(t, p)
	letters, records := int64(0), int64(0)
	for id := range 300 {
		byOut := id%3 > 0 && id%4 == 0
		bySecond := id%3 != 1 && id%5 == 0
		if byOut {
			letters++
		}
		if bySecond {
			letters++
		}
		if byOut || bySecond {
			records++
		}
	}
	if s := run.Status(); s.DeadLetters != letters || s.RowsRefused != records || letters == records {
		t.Errorf("%d dead letters of %d records, want %d of %d", s.DeadLetters, s.RowsRefused, letters, records)
	}
}

func TestBadPlugins(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"rows out of range": &fault.Rows{Bad: []fault.Row{{Index: 10}}},
		"rows twice":        &fault.Rows{Bad: []fault.Row{{Index: 1}, {Index: 1}}},
		"no rows":           &fault.Rows{},
		"poison, no rows":   fault.Poisoned(errors.New("something")),
		"not classified":    errors.New("something"),
	} {
		r := newRig(t)
		p := r.pipeline(&generator{lanes: 1, chunks: 2, rows: 10})
		p.Steps = []Step{{"bad", handlers.Func(func(context.Context, *record.Batch) ([]*record.Batch, error) { return nil, err })}}
		run := r.run(t, p)
		if got := run.Run(t.Context()); got == nil || fault.Of(got) != fault.Fatal {
			t.Errorf("%s: %v", name, got)
		}
		if s := run.Status(); s.State != Failed || s.Fault() == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestPoisonedSingleRow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.pipeline(&generator{lanes: 1, chunks: 3, rows: 1})
	p.Steps = []Step{{"bad", handlers.Func(func(context.Context, *record.Batch) ([]*record.Batch, error) {
		return nil, fault.Poisoned(errors.New("something"))
	})}}
	r.mustRun(t, p)
	if n, err := r.store.CountDeadLetters(t.Context(), "p"); n != 3 || err != nil {
		t.Error(n, err)
	}
}

func TestStopAfterTooManyDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := r.pipeline(&generator{lanes: 1, chunks: 400, rows: 10})
	p.Steps = []Step{{"judge", refusing(func(id int64) bool { return id < 90 || id >= 1500 && id%2 == 0 })}}
	p.StopAfter = 0.1
	run := r.run(t, p)
	err := run.Run(t.Context())
	if fault.Code(err) != "ACQ-RUN-002" {
		t.Fatal(err)
	}
	s := run.Status()
	if s.State != Failed || s.Code != "ACQ-RUN-002" || s.RowsRead < 1500 || s.RowsRead > 2000 {
		t.Errorf("%+v", s)
	}
	if !strings.HasPrefix(s.Fault(), "pipeline p, lane 0 is failed: ") {
		t.Error(s.Fault())
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	once := func(always bool) {
		if n := calls.Add(1); n == 3 || always {
			panic("seeded")
		}
	}
	for name, set := range map[string]func(p *Pipeline, out *folder, g *generator, always bool){
		"handler": func(p *Pipeline, _ *folder, _ *generator, always bool) {
			p.Steps = []Step{{"panics", handlers.Func(func(_ context.Context, b *record.Batch) ([]*record.Batch, error) {
				once(always)
				return []*record.Batch{b.Retain()}, nil
			})}}
		},
		"stage": func(_ *Pipeline, out *folder, _ *generator, always bool) {
			out.onStage = func(context.Context) error { once(always); return nil }
		},
		"read": func(_ *Pipeline, _ *folder, g *generator, always bool) {
			g.readErr = func(string, int) error { once(always); return nil }
		},
		"settle": func(_ *Pipeline, _ *folder, g *generator, always bool) {
			g.onSettle = func(string, record.Position, error) { once(always) }
		},
	} {
		for _, always := range []bool{false, true} {
			calls.Store(0)
			r := newRig(t)
			g := &generator{lanes: 1, chunks: 20, rows: 10}
			p := r.pipeline(g)
			set(&p, r.out, g, always)
			run := r.run(t, p)
			err := run.Run(t.Context())
			switch {
			case always && name == "settle": // it gets on all the same: each restart commits a group
			case always && (fault.Code(err) != "ACQ-RUN-003" || run.Status().State != Failed):
				t.Errorf("%s: %v", name, err)
			case !always && err != nil:
				t.Errorf("%s: %v", name, err)
			case !always:
				check(t, r.out.root, g)
			}
			if text := r.log.String(); !strings.Contains(text, "engine_test.go") {
				t.Errorf("%s: no stack in the log:\n%s", name, text)
			}
		}
	}
}

// A group whose commit fails is refused, chunk by chunk and once each, with all that was read behind it.
func TestRefusedChunks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var told settlements
	const chunks = 5 + 5 + 2 // a group that is committed, a full one behind it, two prefetched
	g := &generator{lanes: 1, chunks: chunks, rows: 10, onSettle: told.add}
	last := make(chan struct{})
	readAll := sync.OnceFunc(func() { close(last) })
	g.readErr = func(_ string, chunk int) error {
		if chunk == chunks-1 {
			readAll()
		}
		return nil
	}
	failed := false
	r.out.onStage = func(context.Context) error {
		if failed {
			return nil
		}
		failed = true
		<-last
		return fault.Retry(errors.New("no space"))
	}
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
	var want []string
	for _, word := range []string{"refused", "durable"} {
		for i := range chunks {
			want = append(want, fmt.Sprintf("0:%d %s", i+1, word))
		}
	}
	if diff := cmp.Diff(want, told.all); diff != "" {
		t.Error(diff)
	}
}

func TestFailedReadCommitsWhatWasAccepted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	reads := 0
	g := &generator{lanes: 1, chunks: 12, rows: 10}
	g.readErr = func(string, int) error {
		if reads++; reads%3 == 0 {
			return fault.Retry(errors.New("connection reset"))
		}
		return nil
	}
	p := r.pipeline(g)
	p.Limits = Limits{Rows: 1000, Age: time.Hour}
	p.Retry.Max = 3
	r.mustRun(t, p)
	check(t, r.out.root, g)
}

func TestFatalStopsOneLane(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 3, chunks: 12, rows: 10, successor: true}
	g.readErr = func(lane string, chunk int) error {
		if lane == "1" && chunk == 7 {
			return &fault.Error{Class: fault.Fatal, Code: "TEST-2", Err: errors.New("the table is gone")}
		}
		return nil
	}
	run := r.run(t, r.pipeline(g))
	if err := run.Run(t.Context()); fault.Code(err) != "TEST-2" {
		t.Fatal(err)
	}
	var states []State
	for _, l := range run.Status().Lanes {
		states = append(states, l.State)
	}
	if diff := cmp.Diff([]State{Ended, Failed, Ended, Waiting}, states); diff != "" {
		t.Error(diff)
	}
	if f := run.Status().Fault(); f != "pipeline p, lane 1 is failed: TEST-2: the table is gone" {
		t.Error(f)
	}
	g.readErr = nil
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
}

// A replaceable store counts what the engine asks of it.
type countingStore struct {
	Store
	intents, checkpoints atomic.Int64
}

func (c *countingStore) SaveIntent(ctx context.Context, lane checkpoint.Lane, epoch int64, in checkpoint.Intent) error {
	c.intents.Add(1)
	return c.Store.SaveIntent(ctx, lane, epoch, in)
}
