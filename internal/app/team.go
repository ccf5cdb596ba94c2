package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// team is how this process shares the work with others on the same state.
type team struct {
	*routers.Team
	leases  *checkpoint.Leases
	all     *routers.Whole
	whole   map[string]bool // pipelines of which one process reads all lanes, but those of assists
	assists []*assistance   // by run; nil: one process reads all
	had     []func()        // ends what haveAll has

	mu sync.Mutex // of Service.runs
}

// openTeam begins to share the work, where the state is one that others may share.
func (s *Service) openTeam(ctx context.Context) {
	leases := s.state.Leases(processName())
	if leases == nil {
		return
	}
	s.team = &team{leases: leases, whole: map[string]bool{}}
	s.team.Team = routers.OpenTeam(ctx, routers.TeamOptions{Leases: leases, Owner: leases.Owner(), Log: s.Log, Orphan: s.interrupted})
	s.team.all = routers.NewWhole(s.team.Team)
}

// closeTeam gives all leases up. Nothing runs any more.
func (s *Service) closeTeam(ctx context.Context) {
	if s.team == nil {
		return
	}
	for _, leave := range s.team.had {
		leave()
	}
	s.team.all.Leave()
	s.team.Close(ctx)
}

// shared refuses the embedded item store where processes share a state.
func (c *checker) shared() {
	if c.project.Shared == (SharedState{}) {
		return
	}
	err := &fault.Error{
		Class: fault.Fatal, Code: "ACQ-USE-073", Err: errors.New("items in a file are one process's, and this state is shared by several"),
		Remedy: "keep the items in DynamoDB (url: dynamodb://), or the state in a file: leave state: out",
	}
	for _, part := range c.sinks {
		if part.embedsItems() {
			c.add(part.block.Place(err)...)
		}
	}
	for _, part := range c.project.sources {
		if part.Plugin.Items {
			c.add(part.block.Place(err)...)
		}
	}
}

// interrupted ends a job of a process that has died.
func (s *Service) interrupted(ctx context.Context, key string) error {
	if id, ok := strings.CutPrefix(key, routers.JobPrefix); ok {
		return jobs.Interrupted(ctx, s.state, id)
	}
	return nil
}

// shareOut decides how the work of a pipeline is shared: lane by lane, or as a whole.
func (s *Service) shareOut(d *Declared, p routers.Pipeline) {
	if s.team == nil {
		return
	}
	stateful := slices.ContainsFunc(p.Steps, func(step routers.Step) bool {
		_, ok := step.Handler.(handlers.Stateful)
		return ok
	})
	var a *assistance
	if !d.Source.Plugin.Shared || stateful {
		s.team.whole[d.Name] = true
		if d.Source.Plugin.Assisted && !stateful {
			a = &assistance{}
		}
	}
	s.team.assists = append(s.team.assists, a)
}

// leads is the role of the source of a pipeline where this process has it.
func (s *Service) leads(d *Declared) sources.Role {
	if s.team == nil || !d.Source.Plugin.Assisted {
		return sources.Alone
	}
	return sources.Leader
}

func (t *team) assistsWith(i int) bool { return t != nil && t.assists[i] != nil }

func (s *Service) isWhole(pipeline string) bool { return s.team != nil && s.team.whole[pipeline] }

// shared has a run take part in the sharing. What a job reads beside the pipeline's lanes, such as dead letters, is its own.
func (s *Service) shared(pipeline, job string, o *routers.Options) {
	switch {
	case s.team == nil:
	case s.team.whole[pipeline] && (job == "" || job == migrateJob):
		store := s.team.leases.Under(checkpoint.PipelineLease(pipeline))
		o.Store = store
		if s.isAssisted(pipeline) {
			o.Team, o.Offers = s.team.Team, offers{store, pipeline}
		}
	case job == "", job == assistJob:
		o.Team = s.team.Team
	}
}

// isAssisted says whether other processes may read lanes of a pipeline that this one has.
func (s *Service) isAssisted(pipeline string) bool {
	i := slices.IndexFunc(s.project.Pipelines, func(d *Declared) bool { return d.Name == pipeline })
	return i >= 0 && s.team.assistsWith(i)
}

// running is the run of a pipeline that goes on, or went on last.
func (s *Service) running(i int) *routers.Run {
	if s.team == nil {
		return s.runs[i]
	}
	s.team.mu.Lock()
	defer s.team.mu.Unlock()
	return s.runs[i]
}

// keepWhole runs a pipeline whenever this process may, until it has ended, ctx ends, or it fails for good.
func (s *Service) keepWhole(ctx, background context.Context, i int) error {
	d := s.project.Pipelines[i]
	for first := true; ; first = false {
		grant, ok := s.team.all.Take(ctx, d.Name, false)
		if !ok {
			return nil
		}
		err := s.runWhole(background, i, grant, first && s.Backfill != nil)
		grant.Done(background)
		if ctx.Err() != nil || err != nil && !grant.Gone() && !errors.Is(err, checkpoint.ErrFenced) || err == nil && !grant.Gone() {
			return err
		}
	}
}

// runWhole runs a pipeline under a grant: with a source of its own, which knows nothing of what was before, unless the one that was
// made first is prepared.
func (s *Service) runWhole(ctx context.Context, i int, grant *routers.Grant, prepared bool) (err error) {
	if !prepared {
		p, done, err := s.own(ctx, s.project.Pipelines[i])
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
		if d, ok := p.Source.(sources.Drainer); ok && s.draining != nil {
			d.Drain()
		}
		run, err := s.runOf(p, "")
		if err != nil {
			return err
		}
		s.team.mu.Lock()
		s.runs[i] = run
		s.team.mu.Unlock()
	}
	run := s.running(i)
	return whileGranted(grant, run, func() error { return run.Run(ctx) })
}

// whileGranted stops a run in order when its pipeline is to be another process's. A nil grant is for good.
func whileGranted(grant *routers.Grant, run *routers.Run, do func() error) error {
	if grant == nil {
		return do()
	}
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-grant.Left():
		case <-grant.Lost():
		case <-over:
			return
		}
		run.Stop()
	})
	err := do()
	close(over)
	watch.Wait()
	return err
}

// takeToFollow waits until this process may follow a database.
func (s *Service) takeToFollow(ctx context.Context, pipeline string) (grant *routers.Grant, leave func(), ok bool) {
	if !s.isWhole(pipeline) {
		return nil, func() {}, true
	}
	if grant, ok = s.team.all.Take(ctx, pipeline, false); !ok {
		return nil, nil, false
	}
	return grant, func() { grant.Done(context.WithoutCancel(ctx)) }, true
}

// takeForJob waits until a job of this process may have a pipeline: who follows it elsewhere is asked to stop.
func (s *Service) takeForJob(ctx context.Context, pipeline string) (leave func(), err error) {
	if !s.isWhole(pipeline) {
		return func() {}, nil
	}
	grant, ok := s.team.all.Take(ctx, pipeline, true)
	if !ok {
		return nil, context.Cause(ctx)
	}
	return func() { grant.Done(context.WithoutCancel(ctx)) }, nil
}

// haveAll takes all pipelines that are read as a whole, until Close: what their sources remember is going to be changed. Processes that
// follow them stop at a checkpoint, and go on afterwards with what is remembered then.
func (s *Service) haveAll(ctx context.Context) error {
	for _, d := range s.project.Pipelines {
		leave, err := s.takeForJob(ctx, d.Name)
		if err != nil {
			return err
		}
		if s.isWhole(d.Name) {
			s.team.had = append(s.team.had, leave)
		}
	}
	return nil
}

// elsewhere tells who has a pipeline that this process does not run.
func (s *Service) elsewhere(st routers.Status) routers.Status {
	if !s.isWhole(st.Pipeline) || len(st.Lanes) > 0 && st.State == routers.Running {
		return st
	}
	if holder := s.team.all.Holder(st.Pipeline); holder != "" {
		st.State, st.Reason, st.Code, st.Holder = routers.Elsewhere, "", "", holder
	}
	return st
}

// maskNote is the key under which the key of masks is kept in a state that several share.
const maskNote = "mask.key"

// key is that of the masks which name none: every process of a team has the same.
func (s *Service) key(ctx context.Context) (config.Secret, error) {
	own, err := s.dir.key()
	if err != nil || s.team == nil {
		return own, err
	}
	if _, err := s.state.SwapNote(ctx, "", maskNote, nil, []byte(own)); err != nil {
		return "", err
	}
	text, err := s.state.Note(ctx, "", maskNote)
	if err == nil && text == nil {
		err = fmt.Errorf("the state keeps no %s", maskNote)
	}
	return config.Secret(text), err
}

// openBoard makes the board of the jobs.
func (s *Service) openBoard(ctx context.Context) (*jobs.Board, error) {
	if s.team == nil {
		return jobs.OpenBoard(ctx, s.state, s.Log)
	}
	return jobs.OpenShared(ctx, s.state, s.team.Team, s.Log)
}

// choreLater is when a chore that another process does is looked at again: it may be gone by then.
const choreLater = time.Minute

// doesChore says whether a chore is this process's: of several one does it, for as long as it is there.
func (s *Service) doesChore(ctx context.Context, c *chore) bool {
	if s.team == nil {
		return true
	}
	mine, err := s.team.Keep(ctx, c.lease())
	if err != nil {
		s.Log.WarnContext(ctx, "it is not known who does a chore", slog.String("chore", c.name), slog.String("error", err.Error()))
	}
	return mine
}

// whileMine is for a chore that doesChore gave: it ends when another process has taken it over.
func (s *Service) whileMine(ctx context.Context, c *chore) (context.Context, context.CancelFunc) {
	if s.team == nil {
		return context.WithCancel(ctx)
	}
	return s.team.While(ctx, c.lease())
}
