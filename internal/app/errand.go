package app

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// errand is what a job does with databases, side by side.
type errand struct {
	service *Service
	task    *jobs.Task
	parts   []*part

	mu    sync.Mutex
	notes []string
}

// part is one database of an errand: the source of a pipeline.
type part struct {
	turn *turn

	mu    sync.Mutex
	db    jobs.Database
	began time.Time
	run   *routers.Run           // nil: none yet
	more  map[string]*jobs.Table // of what no run has counted
}

// serverOf names the kind of database that a source reads.
func serverOf(s *SourcePart) string { return cmp.Or(s.Plugin.Server, s.Plugin.Type) }

func (s *Service) newErrand(task *jobs.Task, turns []*turn) *errand {
	e := &errand{service: s, task: task}
	for _, t := range turns {
		e.parts = append(e.parts, &part{
			turn: t, db: jobs.Database{Pipeline: t.declared.Name, Source: t.declared.Source.Name, SourceDB: serverOf(t.declared.Source), State: jobs.Waiting},
			more: map[string]*jobs.Table{},
		})
	}
	return e
}

func (e *errand) note(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.notes = append(e.notes, text)
}

// tellEvery is how often the report of a job that goes on is made anew.
const tellEvery = 250 * time.Millisecond

// telling makes the report of a job anew every now and then, until stop is called.
func telling(ctx context.Context, t *jobs.Task, report func() jobs.Report) (stop func()) {
	until, told := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() {
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = t.Tell(ctx, report()) // texts and numbers
			case <-until.Done():
				return
			}
		}
	})
	return func() { told(); teller.Wait() }
}

// each does a part of the work with every database, and goes on with the others when one fails. The error is of a job of which
// nothing was done.
func (e *errand) each(ctx context.Context, do func(ctx context.Context, p *part) error) (partial bool, err error) {
	stop := telling(ctx, e.task, e.report)
	var work sync.WaitGroup
	errs := make([]error, len(e.parts))
	for i, p := range e.parts {
		work.Go(func() {
			errs[i] = do(ctx, p)
			p.over(ctx, errs[i])
		})
	}
	work.Wait()
	stop()
	report := e.report()
	if err := e.task.Tell(ctx, report); err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	nothing := true
	for _, db := range report.Databases {
		partial = partial || db.State != jobs.Succeeded || db.DeadLetters > 0
		nothing = nothing && db.State == jobs.Failed
	}
	if nothing {
		return false, errors.Join(errs...)
	}
	return partial, nil
}

// visit has one run of a pipeline read its database for a job, from its turn to its end. prepare makes it ready once the database
// has been reached.
func (e *errand) visit(ctx context.Context, p *part, prepare func(ctx context.Context, of *routers.Pipeline) (done <-chan struct{}, err error)) (err error) {
	release, err := p.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	leave, err := e.service.takeForJob(ctx, p.turn.declared.Name)
	if err != nil {
		return err
	}
	defer leave()
	e.task.Begin(ctx)
	p.starts()
	of, closed, err := e.service.own(ctx, p.turn.declared)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	if err := reach(ctx, of.Source, p.attempt); err != nil {
		return err
	}
	if of.Retry == (routers.Retry{}) { // a job ends: three attempts, five seconds apart
		of.Retry = routers.Retry{Max: 2, Initial: 5 * time.Second, Longest: 5 * time.Second}
	}
	done, err := prepare(ctx, &of)
	if err != nil {
		return err
	}
	run, err := e.service.runOf(of, migrateJob)
	if err != nil {
		return err
	}
	if !p.turn.begin(run, true) {
		return context.Cause(ctx)
	}
	defer p.turn.ended()
	p.runs(run)
	return runUntil(ctx, run, done)
}

// reachTimes are how long a database may take to answer, at the first and at the second attempt: one that is loaded has more
// time, and one that is gone has cost twelve seconds.
func reachTimes() []time.Duration { return []time.Duration{3 * time.Second, 8 * time.Second} }

// reachPause is the time between the two.
const reachPause = time.Second

// reach looks whether a database answers. One that does not is tried once more, as a whole; what else is wrong, who reads it is told. attempt
// is called before each.
func reach(ctx context.Context, source sources.Source, attempt func()) (err error) {
	checker, ok := source.(sources.Checker)
	if !ok {
		attempt()
		return nil
	}
	for i, patience := range reachTimes() {
		if i > 0 {
			pause := time.NewTimer(reachPause)
			select {
			case <-pause.C:
			case <-ctx.Done():
				pause.Stop()
				return context.Cause(ctx)
			}
		}
		attempt()
		asked, cancel := context.WithTimeout(ctx, patience)
		err = checker.Check(asked)
		cancel()
		if fault.Of(err) != fault.Retryable {
			return nil // it answers: what its run says is to the point
		}
	}
	return err
}

func (p *part) starts() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.began, p.db.State = time.Now(), jobs.Running
}

func (p *part) attempt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.db.Attempts++
}

func (p *part) runs(run *routers.Run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run = run
}

// counted adds a table that no run has counted.
func (p *part) counted(t jobs.Table) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Pipeline, t.Source, t.SourceDB = p.db.Pipeline, p.db.Source, p.db.SourceDB
	p.more[t.Table] = &t
}

// over says what became of the database.
func (p *part) over(ctx context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	tables := p.tables()
	done := slices.ContainsFunc(tables, func(t jobs.Table) bool { return t.State == jobs.Succeeded })
	switch {
	case ctx.Err() != nil:
		p.db.State = jobs.Canceled
	case err == nil:
		p.db.State = jobs.Succeeded
	case done:
		p.db.State = jobs.Partial
	default:
		p.db.State = jobs.Failed
	}
	if err != nil {
		p.db.Trouble = jobs.TroubleOf(err)
	}
	if !p.began.IsZero() {
		p.db.Seconds = jobs.Since(p.began)
	}
}

// report tells how far it is.
func (e *errand) report() jobs.Report {
	r := jobs.Report{Databases: []jobs.Database{}, Tables: []jobs.Table{}}
	for _, p := range e.parts {
		p.mu.Lock()
		tables := p.tables()
		db := p.db
		if db.State == jobs.Running {
			db.Seconds = jobs.Since(p.began)
		}
		if p.run != nil {
			of := p.run.Status()
			db.Rows, db.DeadLetters = rowsOf(of.Progress)+of.Others.Rows, of.DeadLetters+of.Others.DeadLetters
		}
		for _, t := range p.more {
			db.Rows, db.DeadLetters = db.Rows+t.Rows, db.DeadLetters+t.DeadLetters
		}
		p.mu.Unlock()
		r.Databases, r.Tables = append(r.Databases, db), append(r.Tables, tables...)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Notes = slices.Clone(e.notes)
	return r
}

// rowsOf counts the records that became visible in every sink.
func rowsOf(p routers.Progress) int64 {
	return max(0, p.RowsCommitted-p.RowsRefused-p.Truncates)
}

// tables gives what the lanes of the run have done, by table; a lane of several tables, such as a log, counts for its database alone.
// The caller holds mu.
func (p *part) tables() []jobs.Table {
	byName := map[string]*jobs.Table{}
	maps.Copy(byName, p.more)
	if p.run != nil {
		lanes := map[string][]routers.LaneStatus{}
		for _, l := range p.run.Status().Lanes {
			if len(l.Streams) == 1 {
				lanes[l.Streams[0]] = append(lanes[l.Streams[0]], l)
			}
		}
		for name, of := range lanes {
			t := p.table(name, of)
			byName[name] = &t
		}
	}
	out := make([]jobs.Table, 0, len(byName))
	for _, t := range byName {
		out = append(out, *t)
	}
	slices.SortFunc(out, func(a, b jobs.Table) int { return strings.Compare(a.Table, b.Table) })
	return out
}

func (p *part) table(name string, lanes []routers.LaneStatus) jobs.Table {
	t := jobs.Table{Pipeline: p.db.Pipeline, Source: p.db.Source, SourceDB: p.db.SourceDB, Table: name}
	over, waits := true, true
	var began, ended time.Time
	for _, l := range lanes {
		t.Retries += l.Retries
		if !l.Began.IsZero() && (began.IsZero() || l.Began.Before(began)) {
			began = l.Began
		}
		if l.Since.After(ended) {
			ended = l.Since
		}
		t.Rows += rowsOf(l.Progress) + l.Others.Rows
		t.Bytes += l.BytesRead
		t.DeadLetters += l.DeadLetters + l.Others.DeadLetters
		over = over && l.State == routers.Ended
		waits = waits && l.State == routers.Waiting
		if l.State == routers.Failed {
			t.State, t.Trouble = jobs.Failed, &jobs.Trouble{Code: l.Code, Place: name, Reason: l.Reason}
		}
	}
	switch {
	case t.State == jobs.Failed:
	case over || p.db.State == jobs.Succeeded:
		t.State = jobs.Succeeded
	case p.db.State != jobs.Running:
		t.State = p.db.State
	case waits:
		t.State = jobs.Waiting
	default:
		t.State = jobs.Running
		ended = time.Now()
	}
	if !began.IsZero() {
		t.Seconds = ended.Sub(began).Round(time.Millisecond).Seconds()
	}
	return t
}
