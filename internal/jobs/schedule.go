package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/config"
)

// Schedule begins jobs at their times.
type Schedule struct {
	config config.Schedule
	store  *checkpoint.Store
	board  *Board
	order  func(ctx context.Context, kind string) (Order, error)
	log    *slog.Logger

	mu   sync.Mutex // Stop may come before Start
	over bool
	cron gocron.Scheduler // nil: it was not started
}

// Entry is a scheduled job as it stands.
type Entry struct {
	Name   string     `json:"name"`
	Do     string     `json:"do"`
	Cron   string     `json:"cron"`
	Zone   string     `json:"time_zone"`
	Paused bool       `json:"paused"`
	Next   *time.Time `json:"next,omitempty" doc:"none while it is paused, or where this process begins none by itself"`
	Last   string     `json:"last_job,omitempty" doc:"the ID of the job that it last began"`
}

// NewSchedule makes a schedule; order makes the job of a kind. Nothing begins before Start.
func NewSchedule(c config.Schedule, store *checkpoint.Store, board *Board, log *slog.Logger, order func(ctx context.Context, kind string) (Order, error)) *Schedule {
	return &Schedule{config: c, store: store, board: board, order: order, log: log}
}

// Start begins what was missed while no process looked after it, once, and from then on each job at its time.
func (s *Schedule) Start(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	var err error
	if s.cron, err = gocron.NewScheduler(gocron.WithLocation(s.config.Zone.In())); err != nil {
		return fmt.Errorf("make schedule: %w", err)
	}
	for _, e := range s.config.Jobs {
		now := time.Now().In(s.config.Zone.In())
		stands, err := s.store.WatchSchedule(ctx, e.Name, now)
		if err != nil {
			return err
		}
		_, err = s.cron.NewJob(gocron.CronJob(e.Value.Cron.Text, false), gocron.NewTask(func() { s.due(ctx, e, time.Now().Truncate(time.Minute)) }),
			gocron.WithName(e.Name), gocron.WithSingletonMode(gocron.LimitModeReschedule))
		if err != nil {
			return fmt.Errorf("schedule %s: %w", e.Name, err)
		}
		if missed := e.Value.Cron.Next(stands.Last.In(now.Location())); !missed.After(now) && !stands.Paused {
			s.log.WarnContext(ctx, "a scheduled job was missed, and begins now", slog.String("schedule", e.Name), slog.Time("due", missed))
			s.due(ctx, e, now.Truncate(time.Minute))
		}
	}
	s.cron.Start()
	return nil
}

// Stop lets nothing begin any more. Jobs that were begun go on.
func (s *Schedule) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	cron := s.cron
	if s.cron = nil; cron == nil {
		return nil
	}
	if err := cron.Shutdown(); err != nil {
		return fmt.Errorf("stop schedule: %w", err)
	}
	return nil
}

// due begins a job that is due, unless another process does.
func (s *Schedule) due(ctx context.Context, e config.Entry[config.Timed], at time.Time) {
	log := s.log.With(slog.String("schedule", e.Name), slog.Time("due", at))
	mine, err := s.store.ClaimRun(ctx, e.Name, at)
	if err != nil || !mine {
		if err != nil {
			log.ErrorContext(ctx, "scheduled job is not begun", slog.String("error", err.Error()))
		}
		return
	}
	job, begun, err := s.begin(ctx, e, "schedule "+e.Name)
	switch {
	case err != nil:
		log.ErrorContext(ctx, "scheduled job is not begun", slog.String("error", err.Error()))
	case !begun:
		log.WarnContext(ctx, "scheduled job is left out: the one before goes on", slog.String("job", job.ID))
	default:
		log.InfoContext(ctx, "scheduled job begins", slog.String("job", job.ID))
	}
}

func (s *Schedule) begin(ctx context.Context, e config.Entry[config.Timed], by string) (job checkpoint.Job, begun bool, err error) {
	order, err := s.order(ctx, e.Value.Do)
	if err != nil {
		return job, false, err
	}
	order.By = by
	if job, begun, err = s.board.Start(ctx, order); err == nil && begun {
		err = s.store.SaveRun(ctx, e.Name, job.ID)
	}
	return job, begun, err
}

// List tells how each scheduled job stands, in the order of the configuration.
func (s *Schedule) List(ctx context.Context) ([]Entry, error) {
	out, err := Entries(ctx, s.config, s.store)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cron == nil { // nothing begins by itself here
		for i := range out {
			out[i].Next = nil
		}
	}
	return out, err
}

// Entries tells how the jobs of a schedule stand by the state file alone.
func Entries(ctx context.Context, c config.Schedule, store *checkpoint.Store) ([]Entry, error) {
	out := make([]Entry, 0, len(c.Jobs))
	for _, e := range c.Jobs {
		stands, err := store.Scheduled(ctx, e.Name)
		if err != nil {
			return nil, err
		}
		one := Entry{Name: e.Name, Do: e.Value.Do, Cron: e.Value.Cron.Text, Zone: c.Zone.In().String(), Paused: stands.Paused, Last: stands.Job}
		if next := e.Value.Cron.Next(time.Now().In(c.Zone.In())); !stands.Paused && !next.IsZero() {
			one.Next = &next
		}
		out = append(out, one)
	}
	return out, nil
}

// Begin begins a scheduled job now, whatever its time.
func (s *Schedule) Begin(ctx context.Context, name, by string) (job checkpoint.Job, begun bool, err error) {
	e, err := s.find(name)
	if err != nil {
		return job, false, err
	}
	return s.begin(ctx, e, by)
}

// Pause pauses a scheduled job, or lets it go on.
func (s *Schedule) Pause(ctx context.Context, name string, paused bool) error {
	if _, err := s.find(name); err != nil {
		return err
	}
	return s.store.PauseSchedule(ctx, name, paused, time.Now())
}

func (s *Schedule) find(name string) (config.Entry[config.Timed], error) {
	return FindTimed(s.config, name)
}

// CodeNoTimed is of a name that no job of the schedule has.
const CodeNoTimed = "ACQ-JOB-004"

// FindTimed finds a job of a schedule by its name.
func FindTimed(c config.Schedule, name string) (config.Entry[config.Timed], error) {
	i := slices.IndexFunc(c.Jobs, func(e config.Entry[config.Timed]) bool { return e.Name == name })
	if i < 0 {
		e := &fault.Error{Code: CodeNoTimed, Place: name, Err: errors.New("the schedule has no such job"), Remedy: config.Suggest(name, c.Jobs.Names())}
		if e.Remedy == "" {
			e.Remedy = "add it under schedule: of the configuration file"
		}
		return config.Entry[config.Timed]{}, e
	}
	return c.Jobs[i], nil
}
