package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// ServiceOptions say how the pipelines of a project run.
type ServiceOptions struct {
	Log *slog.Logger
	// Forms says that the requests of forms are answered; without it a pipeline that begins with one is refused.
	Forms bool
	// Backfill has the sources read their tables as they stand and follow nothing. Nil: they do both.
	Backfill *BackfillOptions
	// Jobs says that jobs may be asked for: pipelines that read databases take turns with them.
	Jobs bool
	// Asked says that databases are read when a job asks for it, and only then: none is followed, and no job begins by itself.
	Asked bool
	// Wire is as in DemoOptions.
	Wire func(p *routers.Pipeline, o *routers.Options)
	// Probe is called at the points of backups that jobs make, and of swaps in lakes; for tests, may be nil.
	Probe func(point string)
}

// Service is the running pipelines of a project.
type Service struct {
	ServiceOptions
	project  *Project
	dir      *Dir
	state    *checkpoint.Store
	items    map[string]*itemstore.Store  // by file; none: no pipeline needs them
	dynamo   map[string]*itemstore.Dynamo // by place
	sinks    map[*SinkPart]sinks.Sink
	runs     []*routers.Run
	sources  []sources.Source // of each run
	turns    []*turn          // of each run; nil: it takes none
	jobs     *jobs.Board      // nil: none may be asked for
	schedule *jobs.Schedule   // of the same
	served   []sources.Served
	closers  []io.Closer // sources that hold connections
	rewinds  []rewinding // what a backfill reads anew
	desk     *letterDesk
	team     *team           // nil: no other process shares the state
	budget   *routers.Budget // of all that runs
	clock    *wallClock

	claiming sync.Mutex         // see claim
	known    map[*turn][]string // tables that databases had when they were last asked; under claiming

	draining []atomic.Bool // by run; nil: no source was told to drain

	estimate  sync.Once
	estimates Expected
}

// Open takes the state directory and makes the pipelines. Nothing flows before Run.
func (p *Project) Open(ctx context.Context, o ServiceOptions) (_ *Service, err error) {
	p.boundHeap()
	s := &Service{ServiceOptions: o, project: p, items: map[string]*itemstore.Store{}, dynamo: map[string]*itemstore.Dynamo{}, sinks: map[*SinkPart]sinks.Sink{}, known: map[*turn][]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	if s.dir, err = OpenDir(p.State); err != nil {
		return nil, err
	}
	s.clock = &wallClock{log: s.Log}
	s.clock.sawLater(ctx, s.dir.file("state.db"))
	if s.state, err = p.StatePlace().Open(ctx, o.Log); err != nil {
		return nil, err
	}
	s.openTeam(ctx)
	if err = s.openItems(ctx); err != nil {
		return nil, err
	}
	key, err := s.key(ctx)
	if err != nil {
		return nil, err
	}
	s.budget = p.budget()
	s.desk = newLetterDesk(s.state, routers.Options{Budget: s.budget, Log: o.Log}, o.Wire)
	for _, d := range p.Pipelines {
		pipeline, err := s.pipeline(ctx, d, key)
		if err != nil {
			return nil, err
		}
		if form, ok := pipeline.Source.(sources.Served); ok {
			s.served = append(s.served, form)
		}
		s.desk.add(pipeline, d.given)
		s.shareOut(d, pipeline)
		run, err := s.runOf(pipeline, "")
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", d.Name, err)
		}
		s.runs, s.sources, s.turns = append(s.runs, run), append(s.sources, pipeline.Source), append(s.turns, s.turnOf(d, pipeline.Source))
	}
	if err = s.rewind(ctx); err != nil {
		return nil, err
	}
	if s.Jobs {
		if s.jobs, err = s.openBoard(ctx); err != nil {
			return nil, err
		}
		s.schedule = jobs.NewSchedule(p.Schedule, s.state, s.jobs, o.Log, s.scheduled)
	}
	return s, nil
}

// Hundredths: what Go's heap and runtime may take of the memory that the program's pages leave; and what batches and open writers may take of
// all of it, a quarter and 35. With less than that the writers of 2,500 partitions close their files early: 13 a day instead of 2.
const (
	goShare     = 97
	budgetShare = 60
)

// storeMemory is what the embedded item store holds beside Go's heap: 37 MiB of cache and 11 MiB of its code were measured.
const storeMemory = 48 << 20

// storesItems says whether a pipeline writes into the embedded item store.
func (p *Project) storesItems() bool {
	return slices.ContainsFunc(p.Pipelines, func(d *Declared) bool {
		return slices.ContainsFunc(d.Sinks, (*SinkPart).embedsItems)
	})
}

// heap is what Go's heap and runtime may take of the memory beside the program, in bytes.
func (p *Project) heap(program int64) int64 {
	limit := (p.Memory - program) * goShare / 100
	if p.storesItems() {
		limit -= storeMemory
	}
	return max(limit, p.Memory/3)
}

func (p *Project) boundHeap() { debug.SetMemoryLimit(p.heap(programMemory())) }

// budget is smaller for items: a store that is slower than its source has all of it filled with batches, and the collector needs room.
func (p *Project) budget() *routers.Budget {
	of := p.Memory
	if p.storesItems() {
		of = p.heap(programMemory())
	}
	return routers.NewBudget(int(of * budgetShare / 100))
}

// leastRows is how many records a group may have, however small a sink wants its files.
const leastRows = 1_000_000

// errForm is of a form that nothing serves.
var errForm = &fault.Error{
	Code: "ACQ-USE-007", Err: errors.New("a form needs a web server, and acequia run has none"), Remedy: "start it with: acequia serve FILE",
}

// pipeline connects the parts of one pipeline, whose source is closed with the service.
func (s *Service) pipeline(ctx context.Context, d *Declared, key config.Secret) (routers.Pipeline, error) {
	out, err := s.connect(ctx, d, s.leads(d), key)
	if err != nil {
		return out, err
	}
	if c, ok := out.Source.(io.Closer); ok {
		s.closers = append(s.closers, c)
	}
	if s.Backfill == nil {
		return out, nil
	}
	err = s.backfill(d, out.Source)
	if l, ok := out.Source.(sources.Limiter); ok { // as the backfill has it
		out.Slots = l.Limit()
	}
	return out, err
}

// connect connects the parts of one pipeline.
func (s *Service) connect(ctx context.Context, d *Declared, role sources.Role, key config.Secret) (routers.Pipeline, error) {
	log := s.Log.With(slog.String("pipeline", d.Name))
	out := routers.Pipeline{
		Name: d.Name, StopAfter: float64(d.pipeline.StopAfter),
		Retry: routers.Retry{Max: d.pipeline.Retry.Max, Initial: d.pipeline.Retry.Initial, Longest: d.pipeline.Retry.Longest},
	}
	if d.Source.Plugin.Type == formType && !s.Forms {
		return out, errForm
	}
	var err error
	var state sources.State = &sourceState{s.state, d.Name}
	if role == sources.Assistant {
		state = lent{state}
	}
	out.Source, err = d.Source.Plugin.New(ctx, d.Source.Settings, sources.Host{
		Pipeline: d.Name, Role: role, Log: log, Items: s.itemsAt(s.project.itemsRead(d)), State: state,
		Claim: func(ctx context.Context, stream string) error { return s.claim(ctx, d, stream) },
	})
	if err != nil {
		return out, fmt.Errorf("source %s: %w", d.Source.Name, err)
	}
	if out.Steps, err = d.handlers(s.project.plugins, key); err != nil {
		return out, err
	}
	for _, part := range d.Sinks {
		sink, err := s.sink(ctx, d, part)
		if err != nil {
			return out, fmt.Errorf("sink %s: %w", part.Name, err)
		}
		if p, ok := sink.(sinks.Pacer); ok {
			out.Limits.Age = max(out.Limits.Age, p.Every())
			out.Limits.Rows = max(out.Limits.Rows, p.Rows(), leastRows)
		}
		out.Sinks = append(out.Sinks, routers.NamedSink{Name: part.Name, Sink: sink})
	}
	if l, ok := out.Source.(sources.Limiter); ok {
		out.Slots = l.Limit()
	}
	if w, ok := out.Source.(sources.Waiter); ok {
		out.Limits.Age = min(out.Limits.Age, w.Patience())
	}
	return out, nil
}

// sink makes a sink once, however many pipelines feed it, and tells it what this one brings.
func (s *Service) sink(ctx context.Context, d *Declared, part *SinkPart) (sinks.Sink, error) {
	sink := s.sinks[part]
	if sink == nil {
		host := sinks.Host{
			Pipeline: d.Name, Log: s.Log, Items: s.itemsAt(s.project.itemsFile(part)), Memory: s.project.Memory * 35 / 100 / int64(s.project.sinks()),
			Dir: s.dir.file(filepath.Join("sinks", part.Name)),
		}
		var err error
		if sink, err = part.Plugin.New(ctx, part.Settings, host); err != nil {
			return nil, err
		}
		s.sinks[part] = sink
	}
	if declarer, ok := sink.(sinks.Describer); ok && len(d.Out) > 0 {
		if err := declarer.Declare(ctx, d.Out); err != nil {
			return nil, err
		}
	}
	return sink, nil
}

// sinks counts the sinks that share the memory of open writers. Items hold only what a group brings.
func (p *Project) sinks() int {
	seen := map[*SinkPart]bool{}
	for _, d := range p.Pipelines {
		for _, part := range d.Sinks {
			if !part.Plugin.Items {
				seen[part] = true
			}
		}
	}
	return max(1, len(seen))
}

// Status tells what the pipelines are doing, in the order of the files.
func (s *Service) Status() []routers.Status {
	out := make([]routers.Status, len(s.runs))
	for i := range s.runs {
		out[i] = s.status(i)
	}
	return out
}

func (s *Service) status(i int) routers.Status {
	var out routers.Status
	if t := s.turns[i]; t != nil {
		out = t.status()
	} else {
		out = s.running(i).Status()
	}
	if out = s.elsewhere(out); s.team.assistsWith(i) {
		out = s.team.assists[i].status(out)
	}
	return out
}

// Run runs the pipelines until all have ended, ctx ends, or, if untilIdle is not 0, nothing has come for so long, except
// that sources which can be drained are, and end their pipelines by themselves. Then it stops them in order. The errors of the pipelines that failed are joined.
func (s *Service) Run(ctx context.Context, untilIdle time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	background := context.WithoutCancel(ctx)
	errs := make([]error, len(s.runs))
	var pipelines, watch sync.WaitGroup
	if untilIdle > 0 {
		s.drain()
	}
	for i := range s.runs {
		pipelines.Go(func() {
			defer s.drained(i)
			if err := s.keep(ctx, background, i); err != nil {
				errs[i] = fmt.Errorf("pipeline %s: %w", s.project.Pipelines[i].Name, err)
			}
		})
	}
	defer context.AfterFunc(ctx, func() {
		for i := range s.runs {
			if s.running(i).Stop(); s.turns[i] != nil {
				s.turns[i].stop()
			}
		}
	})()
	watch.Go(func() { s.keepLakes(ctx) })
	for i := range s.runs {
		if s.team.assistsWith(i) {
			watch.Go(func() { s.assist(ctx, i) })
		}
	}
	watch.Go(func() { s.clock.watch(ctx) })
	if s.schedule != nil && !s.Asked {
		if err := s.schedule.Start(ctx); err != nil {
			cancel()
			pipelines.Wait()
			watch.Wait()
			return errors.Join(slices.Concat(errs, []error{err})...)
		}
	}
	if untilIdle > 0 {
		watch.Go(func() { s.waitIdle(ctx, untilIdle); cancel() })
	}
	pipelines.Wait()
	cancel()
	watch.Wait()
	return errors.Join(errs...)
}

// KeepSchedule begins the jobs of the schedule at their times until ctx ends, and does nothing else: nothing flows but through them.
// ACQ-USE-070: the files have no schedule.
func (s *Service) KeepSchedule(ctx context.Context) error {
	if len(s.project.Schedule.Jobs) == 0 {
		return &fault.Error{
			Code: "ACQ-USE-070", Place: "schedule", Err: errors.New("no job is to begin by itself"), Remedy: `add schedule: to the configuration file, such as { backup: "0 2 * * *" }`,
		}
	}
	if err := s.schedule.Start(ctx); err != nil {
		return err
	}
	entries, err := s.schedule.List(ctx)
	for _, e := range entries {
		s.Log.InfoContext(ctx, "job is scheduled", slog.String("schedule", e.Name), slog.String("does", e.Do), slog.String("cron", e.Cron), slog.String("time_zone", e.Zone), slog.Bool("paused", e.Paused))
	}
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, s.endJobs())
}

// keep runs a pipeline, or follows its database whenever no job has it.
func (s *Service) keep(ctx, background context.Context, i int) error {
	if t := s.turns[i]; t != nil {
		return s.inTurns(ctx, t)
	}
	if s.isWhole(s.project.Pipelines[i].Name) {
		return s.keepWhole(ctx, background, i)
	}
	return s.runs[i].Run(background)
}

// endJobs interrupts the jobs, in order; none begins any more.
func (s *Service) endJobs() error {
	if s.jobs == nil {
		return nil
	}
	err := s.schedule.Stop()
	s.jobs.Close()
	return err
}

// Close closes the sinks and the state. It is called after Run has returned.
func (s *Service) Close(ctx context.Context) error {
	var errs []error
	errs = append(errs, s.endJobs())
	if s.desk != nil {
		s.desk.close()
	}
	for _, c := range s.closers {
		errs = append(errs, c.Close())
	}
	s.closeTeam(ctx)
	for _, sink := range s.sinks {
		errs = append(errs, sink.Close(ctx))
	}
	for _, store := range s.items {
		errs = append(errs, store.Close())
	}
	for _, store := range s.dynamo {
		errs = append(errs, store.Close())
	}
	if s.state != nil {
		errs = append(errs, s.state.Close())
	}
	if s.dir != nil {
		errs = append(errs, s.dir.Close())
	}
	return errors.Join(errs...)
}

// key is the key of the state directory, made when it is first asked for: 32 random bytes, for the masks that name none.
func (d *Dir) key() (config.Secret, error) {
	path := d.file("mask.key")
	text, err := os.ReadFile(path) //nolint:gosec // our own directory
	if err == nil {
		return config.Secret(text), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", dirError(path, err)
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // it never fails: crypto/rand
	text = []byte(hex.EncodeToString(fresh))
	if err := writeDurably(path, text); err != nil {
		return "", dirError(path, err)
	}
	return config.Secret(text), nil
}

// writeDurably makes a file that is there as a whole or not at all.
func writeDurably(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // our own directory
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
