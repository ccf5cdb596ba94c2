package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/routers"
)

// saveEvery is how often the report of a job that goes on is saved.
const saveEvery = 5 * time.Second

var (
	// ErrNoJob is of an ID that no job has.
	ErrNoJob = &fault.Error{Code: "ACQ-JOB-002", Err: errors.New("there is no such job"), Remedy: "look at GET /v1/jobs; the last 1,000 are kept"}

	errInterrupted = &fault.Error{
		Code: "ACQ-JOB-001", Err: errors.New("acequia was stopped before the job had ended"), Remedy: "ask for it again: what is durable is not done twice",
	}
	errCanceled = &fault.Error{Code: "ACQ-JOB-003", Err: errors.New("it was canceled"), Remedy: "ask for it again: what is durable is not done twice"}
)

// Order is what a job is to do.
type Order struct {
	Kind    string
	Work    string // in full: while a job with the same goes on, another is not begun
	By      string // who asks
	Request any    // as the job shows it; nil: nothing more than the kind
	Key     string // Idempotency-Key: asked for again with it, the same job is given; "": none
	Digest  string // of what is asked for with the key
	// Do does it. partial says that some of it was done, and some was not. It calls Task.Begin when it has what it needs.
	Do func(ctx context.Context, t *Task) (partial bool, err error)
}

// Board begins jobs and tells what becomes of them. They outlive the requests that ask for them, and what became of them
// outlives the process.
type Board struct {
	store  *checkpoint.Store
	keeper Keeper // nil: no other process shares the state
	log    *slog.Logger

	mu      sync.Mutex
	live    map[string]*Task
	counts  map[outcome]int64
	seconds map[string]Took // by kind
	life    context.Context //nolint:containedctx // of jobs, which outlive who asks for them
	end     context.CancelCauseFunc
	running sync.WaitGroup
}

// OpenBoard makes a board over the state of a process that holds it: jobs that a process before it has not ended were interrupted,
// and have failed.
func OpenBoard(ctx context.Context, store *checkpoint.Store, log *slog.Logger) (*Board, error) {
	if err := store.EndJobs(ctx, interrupted(checkpoint.Job{})); err != nil {
		return nil, err
	}
	return openBoard(ctx, store, nil, log)
}

// Keeper keeps leases, by which others see that a job goes on: *routers.Team does.
type Keeper interface {
	Keep(ctx context.Context, key string) (bool, error)
	Free(ctx context.Context, key string)
}

// OpenShared makes a board over a state that several processes share: jobs of none of them were interrupted.
func OpenShared(ctx context.Context, store *checkpoint.Store, keeper Keeper, log *slog.Logger) (*Board, error) {
	var open []checkpoint.Job
	for _, state := range []checkpoint.JobState{checkpoint.JobQueued, checkpoint.JobRunning} {
		some, err := store.Jobs(ctx, checkpoint.JobFilter{State: state}, mostOpen)
		if err != nil {
			return nil, err
		}
		open = append(open, some...)
	}
	held, err := store.Held(ctx) // after the jobs were read: who begins one has its lease before
	if err != nil {
		return nil, err
	}
	for _, j := range open {
		if !slices.ContainsFunc(held, func(l checkpoint.Lease) bool { return l.Key == routers.JobPrefix+j.ID }) {
			if err := store.SaveJob(ctx, interrupted(j)); err != nil {
				return nil, err
			}
		}
	}
	return openBoard(ctx, store, keeper, log)
}

// mostOpen is more jobs than go on at once.
const mostOpen = 1000

// Interrupted ends a job of a process that is gone. One that is over stays as it is.
func Interrupted(ctx context.Context, store *checkpoint.Store, id string) error {
	j, err := store.FindJob(ctx, id)
	if err != nil || j == nil {
		return err
	}
	return store.SaveJob(ctx, interrupted(*j))
}

func interrupted(j checkpoint.Job) checkpoint.Job {
	j.State, j.Ended, j.Code, j.Reason, j.Remedy = checkpoint.JobFailed, time.Now(), errInterrupted.Code, errInterrupted.Err.Error(), errInterrupted.Remedy
	return j
}

func openBoard(ctx context.Context, store *checkpoint.Store, keeper Keeper, log *slog.Logger) (*Board, error) {
	b := &Board{keeper: keeper, store: store, log: log, live: map[string]*Task{}, counts: map[outcome]int64{}, seconds: map[string]Took{}}
	for _, kind := range []string{KindMigrate, KindSync, KindBackup} {
		last, err := store.Jobs(ctx, checkpoint.JobFilter{Kind: kind, State: checkpoint.JobSucceeded}, 1)
		if err != nil {
			return nil, err
		}
		if len(last) > 0 {
			b.seconds[kind] = Took{Last: last[0].Ended.Sub(last[0].Started), Succeeded: last[0].Ended}
		}
	}
	b.life, b.end = context.WithCancelCause(context.WithoutCancel(ctx))
	return b, nil
}

// Close interrupts the jobs that go on, and waits until they have stopped in order. None begins any more.
func (b *Board) Close() {
	b.mu.Lock()
	b.end(errInterrupted)
	b.mu.Unlock()
	b.running.Wait()
}

// Start begins a job. begun says that it is a new one: else the same work goes on already, or was asked for with the same key, and
// that job is given. checkpoint.ErrKeyUsed: the key was given with other work.
func (b *Board) Start(ctx context.Context, o Order) (job checkpoint.Job, begun bool, err error) { //nolint:contextcheck // a job outlives who asks for it
	id, err := uuid.NewV7()
	if err != nil {
		return job, false, fmt.Errorf("name job: %w", err)
	}
	job = checkpoint.Job{
		ID: id.String(), Kind: o.Kind, Work: o.Work, State: checkpoint.JobQueued, By: o.By, Created: time.Now().UTC(), Key: o.Key, Digest: o.Digest,
	}
	if o.Request != nil {
		if job.Request, err = json.Marshal(o.Request); err != nil {
			return job, false, fmt.Errorf("write request: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.life.Err() != nil {
		return job, false, fault.Retry(errInterrupted)
	}
	// Saved by one at a time, so that who finds a job that goes on finds its task too.
	lease := routers.JobPrefix + job.ID
	if b.keeper != nil { // before others can see the job
		if kept, err := b.keeper.Keep(ctx, lease); err != nil || !kept {
			return job, false, errors.Join(err, fault.Retry(errors.New("the lease of the job is not given")))
		}
	}
	if job, begun, err = b.store.AddJob(ctx, job); err != nil || !begun {
		b.free(ctx, lease)
		if t := b.live[job.ID]; t != nil && err == nil {
			job, _ = t.look()
		}
		return job, false, err
	}
	life, cancel := context.WithCancelCause(b.life)
	t := &Task{board: b, job: job, changed: make(chan struct{}), cancel: cancel, saved: time.Now()}
	b.live[job.ID] = t
	b.running.Go(func() {
		defer cancel(nil)
		partial, err := o.Do(life, t)
		t.over(life, partial, err)
		b.free(life, lease)
	})
	return job, true, nil
}

func (b *Board) free(ctx context.Context, lease string) {
	if b.keeper != nil {
		b.keeper.Free(ctx, lease)
	}
}

// Look gives a job as it is now, and a channel that is closed when it has changed; nil: it is over.
func (b *Board) Look(ctx context.Context, id string) (checkpoint.Job, <-chan struct{}, error) {
	b.mu.Lock()
	t := b.live[id]
	b.mu.Unlock()
	if t != nil {
		job, changed := t.look()
		return job, changed, nil
	}
	job, err := b.store.FindJob(ctx, id)
	switch {
	case err != nil:
		return checkpoint.Job{}, nil, err
	case job == nil:
		return checkpoint.Job{}, nil, ErrNoJob
	}
	return *job, nil, nil
}

// Wait gives a job when it is over, or as it is when ctx ends.
func (b *Board) Wait(ctx context.Context, id string) (checkpoint.Job, error) {
	for {
		job, changed, err := b.Look(context.WithoutCancel(ctx), id)
		if err != nil || changed == nil {
			return job, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return job, nil
		}
	}
}

// List gives jobs, the newest first, at most limit.
func (b *Board) List(ctx context.Context, f checkpoint.JobFilter, limit int) ([]checkpoint.Job, error) {
	jobs, err := b.store.Jobs(ctx, f, limit)
	for i := range jobs {
		b.mu.Lock()
		t := b.live[jobs[i].ID]
		b.mu.Unlock()
		if t != nil {
			jobs[i], _ = t.look()
		}
	}
	return jobs, err
}

// Cancel asks a job to stop in order, and gives it as it is now. One that is over stays as it is.
func (b *Board) Cancel(ctx context.Context, id string) (checkpoint.Job, error) {
	b.mu.Lock()
	t := b.live[id]
	b.mu.Unlock()
	if t != nil {
		t.cancel(errCanceled)
	}
	job, _, err := b.Look(ctx, id)
	return job, err
}

// outcome is what jobs are counted by.
type outcome struct {
	kind  string
	state checkpoint.JobState
}

// Took is how long the jobs of a kind take.
type Took struct {
	Sum, Last time.Duration // of those that this process has ended; of the newest that ended, or succeeded before this process
	Succeeded time.Time     // when one last did; zero: none has
}

func (b *Board) ended(j checkpoint.Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.live, j.ID)
	b.counts[outcome{j.Kind, j.State}]++
	took := b.seconds[j.Kind]
	if !j.Started.IsZero() { // else it was canceled while it waited
		took.Last = j.Ended.Sub(j.Started)
		took.Sum += took.Last
	}
	if j.State == checkpoint.JobSucceeded {
		took.Succeeded = j.Ended
	}
	b.seconds[j.Kind] = took
}

// Each tells of the kinds of jobs: how many are in each state, of those that are over since this process began, and how long they took.
func (b *Board) Each(counted func(kind string, state checkpoint.JobState, n int64), took func(kind string, t Took)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := maps.Clone(b.counts)
	for _, t := range b.live {
		job, _ := t.look()
		counts[outcome{job.Kind, job.State}]++
	}
	for o, n := range counts {
		counted(o.kind, o.state, n)
	}
	for kind, t := range b.seconds {
		took(kind, t)
	}
}

// Task is a job that goes on, for what does its work.
type Task struct {
	board  *Board
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	job     checkpoint.Job
	changed chan struct{} // closed and replaced at each change; nil: the job is over
	saved   time.Time
}

func (t *Task) look() (checkpoint.Job, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.job, t.changed
}

// change makes a change known, and saves it first if it must last.
func (t *Task) change(ctx context.Context, last bool, do func(j *checkpoint.Job)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	do(&t.job)
	if last || time.Since(t.saved) >= saveEvery {
		t.saved = time.Now()
		if err := t.board.store.SaveJob(context.WithoutCancel(ctx), t.job); err != nil {
			t.board.log.ErrorContext(ctx, "job is not saved", slog.String("job", t.job.ID), slog.String("error", err.Error()))
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
	if t.job.State.Over() {
		t.changed = nil
	}
}

// Begin says that the job has what it needs.
func (t *Task) Begin(ctx context.Context) {
	t.change(ctx, true, func(j *checkpoint.Job) {
		if j.State == checkpoint.JobQueued {
			j.State, j.Started = checkpoint.JobRunning, time.Now().UTC()
		}
	})
}

// Tell says how far the job is.
func (t *Task) Tell(ctx context.Context, report any) error {
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	t.change(ctx, false, func(j *checkpoint.Job) { j.Report = text })
	return nil
}

// over ends the job.
func (t *Task) over(ctx context.Context, partial bool, err error) {
	state := checkpoint.JobSucceeded
	cause := context.Cause(ctx)
	switch {
	case err == nil && partial:
		state = checkpoint.JobPartial
	case err == nil:
	case errors.Is(cause, errCanceled):
		state, err = checkpoint.JobCanceled, errCanceled
	case cause != nil:
		state, err = checkpoint.JobFailed, cause
	default:
		state = checkpoint.JobFailed
	}
	t.change(ctx, true, func(j *checkpoint.Job) {
		j.State, j.Ended = state, time.Now().UTC()
		if err != nil {
			trouble := TroubleOf(err)
			j.Code, j.Place, j.Reason, j.Remedy = trouble.Code, trouble.Place, trouble.Reason, trouble.Remedy
		}
	})
	t.board.ended(t.job)
	log := t.board.log.With(slog.String("job", t.job.ID), slog.String("kind", t.job.Kind), slog.String("state", string(state)))
	if err != nil {
		log.WarnContext(ctx, "job is over", slog.String("error", err.Error()))
		return
	}
	log.InfoContext(ctx, "job is over")
}

// Trouble is why something failed, for who reads a report.
type Trouble struct {
	Code   string `json:"code,omitempty" doc:"stable, such as ACQ-PG-002"`
	Place  string `json:"place,omitempty" doc:"table, database or setting"`
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty" doc:"what to do"`
}

// TroubleOf takes an error apart: the first coded one in its chain.
func TroubleOf(err error) *Trouble {
	for e, ok := errors.AsType[*fault.Error](err); ok; e, ok = errors.AsType[*fault.Error](e.Err) {
		if e.Code != "" && e.Err != nil {
			return &Trouble{Code: e.Code, Place: e.Place, Reason: oneLine(e.Err), Remedy: e.Remedy}
		}
	}
	return &Trouble{Reason: oneLine(err)}
}

// oneLine says it in one line: drivers write several.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
