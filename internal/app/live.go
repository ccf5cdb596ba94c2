package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/routers"
)

// LiveOptions say what runs, and how it may change.
type LiveOptions struct {
	Plugins catalog.Catalog
	Paths   []string // of configuration files, and of folders of them
	Lookup  func(name string) (string, bool)
	Service ServiceOptions
	// Watch looks at the files for as long as the pipelines run. A project that was changed and has no mistakes takes the
	// place of the one that runs: that is stopped in order, and the new one goes on at the checkpoints.
	Watch     bool
	UntilIdle time.Duration // as of Service.Run
	Told      func(Reload)  // what became of each change
}

// Reload is what became of a change of the files.
type Reload struct {
	Problems  config.Problems // mistakes and warnings
	Err       error           // with it, or with mistakes, the project of before goes on
	Pipelines []string        // that run now
}

// Refused says that the project of before goes on.
func (r *Reload) Refused() bool { return r.Err != nil || r.Problems.Errors() }

// Live runs the pipelines of a project, and of what its files become.
type Live struct {
	LiveOptions
	project *Project
	watch   fileWatch
	front   front // nil: none

	mu      sync.Mutex
	service *Service
	letters int64 // dead letters of the services that were closed
}

// changedProject has no mistakes.
type changedProject struct {
	*Project
	warnings config.Problems
}

// front stands before the pipelines, as a web server does: it is told when they have begun, and before they stop.
type front interface {
	began(ctx context.Context, s *Service) error
	ending(ctx context.Context)
}

// LoadLive reads the files. The problems and the error are those of LoadProject.
func LoadLive(ctx context.Context, o LiveOptions) (*Live, config.Problems, error) {
	l := &Live{LiveOptions: o}
	l.watch.before(o.Paths, nil)
	project, problems, err := LoadProject(ctx, o.Plugins, o.Paths, o.Lookup)
	if err != nil {
		return nil, nil, err
	}
	l.project = project
	l.watch.after(o.Paths, project.Files)
	return l, problems, nil
}

// Status tells what the pipelines are doing.
func (l *Live) Status() []routers.Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.service == nil {
		return nil
	}
	return l.service.Status()
}

// DeadLetters counts those of all that has run.
func (l *Live) DeadLetters() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.letters
}

// Run runs the pipelines until ctx ends or all of them have ended; those that are watched or served go on until ctx ends.
// The errors are those of the project that ran last.
func (l *Live) Run(ctx context.Context) error {
	service, err := l.project.Open(ctx, l.Service)
	for err == nil {
		l.mu.Lock()
		l.service = service
		l.mu.Unlock()
		next, runErr := l.during(ctx, service)
		l.count(service)
		err = service.Close(context.WithoutCancel(ctx))
		if next == nil || err != nil {
			return errors.Join(runErr, err)
		}
		service, err = l.replace(context.WithoutCancel(ctx), next)
	}
	return err
}

func (l *Live) count(ended *Service) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range ended.Status() {
		l.letters += s.DeadLetters
	}
}

// replace opens a changed project, or else the one of before once more.
func (l *Live) replace(ctx context.Context, next *changedProject) (*Service, error) {
	service, err := next.Open(ctx, l.Service)
	if err != nil {
		l.tell(Reload{Err: err})
		return l.project.Open(ctx, l.Service)
	}
	l.project = next.Project
	l.tell(Reload{Problems: next.warnings, Pipelines: names(next.Pipelines, func(d *Declared) string { return d.Name })})
	return service, nil
}

func (l *Live) tell(r Reload) {
	if l.Told != nil {
		l.Told(r)
	}
}

// during runs a service until it is to be closed; next is what takes its place.
func (l *Live) during(ctx context.Context, service *Service) (next *changedProject, err error) {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	over := make(chan struct{})
	var runErr error
	var run sync.WaitGroup
	run.Go(func() {
		defer close(over)
		runErr = service.Run(background, l.UntilIdle)
	})
	if l.front != nil {
		err = l.front.began(ctx, service)
	}
	if err == nil {
		next = l.wait(ctx, over)
	}
	if l.front != nil {
		l.front.ending(ctx)
	}
	stop()
	run.Wait()
	return next, errors.Join(err, runErr)
}

// wait returns when the service is to be closed.
func (l *Live) wait(ctx context.Context, over <-chan struct{}) *changedProject {
	var looks <-chan time.Time
	if l.Watch {
		ticker := time.NewTicker(watchEvery)
		defer ticker.Stop()
		looks = ticker.C
	}
	stays := l.front != nil || l.Watch && l.UntilIdle == 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-over:
			if !stays {
				return nil
			}
			over = nil
		case <-looks:
			if l.watch.changed(l.Paths, l.project.Files) {
				if next := l.load(ctx); next != nil {
					return next
				}
			}
		}
	}
}

// load reads the changed files; nil: they have mistakes.
func (l *Live) load(ctx context.Context) *changedProject {
	l.watch.before(l.Paths, l.project.Files)
	next, problems, err := LoadProject(ctx, l.Plugins, l.Paths, l.Lookup)
	if err != nil || problems.Errors() {
		l.tell(Reload{Problems: problems, Err: err})
		return nil
	}
	l.watch.after(l.Paths, next.Files)
	return &changedProject{next, problems}
}
