package routers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources"
)

func TestStopCommitsTheOpenGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var told settlements
	g := &generator{lanes: 1, chunks: 1000, rows: 10, pace: time.Millisecond, onSettle: told.add}
	p := r.pipeline(g)
	p.Limits = Limits{Age: time.Hour}
	run := r.run(t, p)
	done := make(chan error)
	go func() { done <- run.Run(t.Context()) }()
	for run.Status().RowsRead < 100 {
		wait(t.Context(), time.Millisecond, nil)
	}
	run.Stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	s := run.Status()
	if s.State != Stopped || s.RowsCommitted != s.RowsRead || s.Commits != 1 || s.Lanes[0].Position == "" {
		t.Errorf("%+v", s)
	}
	durable, refused := 0, 0
	for _, line := range told.all {
		if strings.HasSuffix(line, "durable") {
			durable++
		} else {
			refused++
		}
	}
	if int64(durable*10) != s.RowsCommitted || refused > 3 {
		t.Errorf("%d durable, %d refused, %+v", durable, refused, s)
	}
}

func TestStopGivesUpWhatCanBeReadAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	stopped := make(chan struct{})
	g := &generator{lanes: 1, chunks: 1000, rows: 10}
	g.readErr = func(_ string, chunk int) error {
		if chunk == 15 {
			<-stopped
		}
		return nil
	}
	r.out.onStage = func(ctx context.Context) error {
		wait(ctx, 300*time.Millisecond, nil)
		return nil
	}
	p := r.pipeline(g)
	p.Limits = Limits{Rows: 100, Age: time.Hour}
	p.StopTimeout = 500 * time.Millisecond
	run := r.run(t, p)
	done := make(chan error)
	go func() { done <- run.Run(t.Context()) }()
	for s := run.Status(); s.Commits == 0 || s.RowsRead < 150; s = run.Status() {
		wait(t.Context(), time.Millisecond, nil)
	}
	run.Stop()
	close(stopped)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := run.Status(); s.RowsCommitted != 100 || s.State != Stopped {
		t.Errorf("%+v", s)
	}
}

// unreachable is a source that cannot be connected to.
type unreachable struct {
	*generator
	tried chan struct{}
}

func (u *unreachable) Open(ctx context.Context, _ sources.Lane, _ record.Position) (sources.Reader, error) {
	close(u.tried)
	<-ctx.Done()
	return nil, errors.New("the driver has its own words for this")
}

func TestStopDoesNotWaitForAConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	source := &unreachable{&generator{lanes: 1}, make(chan struct{})}
	run := r.run(t, r.pipeline(source))
	done := make(chan error)
	go func() { done <- run.Run(t.Context()) }()
	<-source.tried
	began := time.Now()
	run.Stop()
	if err := <-done; err != nil || time.Since(began) > 10*time.Second {
		t.Error(err, time.Since(began))
	}
	if s := run.Status(); s.State != Stopped {
		t.Errorf("%+v", s)
	}
}

func TestStopCutsOffAHungSink(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	g := &generator{lanes: 1, chunks: 10, rows: 10}
	staging := make(chan struct{}, 1)
	r.out.onStage = func(ctx context.Context) error {
		staging <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	p := r.pipeline(g)
	p.StopTimeout = 50 * time.Millisecond
	run := r.run(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- run.Run(ctx) }()
	<-staging
	cancel() // as Stop
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if s := run.Status(); s.State != Stopped || s.RowsCommitted != 0 {
		t.Errorf("%+v", s)
	}
	r.out.onStage = nil
	r.mustRun(t, r.pipeline(g))
	check(t, r.out.root, g)
}
