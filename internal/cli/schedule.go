package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/jobs"
)

type scheduleCmd struct {
	List   scheduleListCmd   `cmd:"" help:"Show when each job of the schedule begins next."`
	Run    scheduleRunCmd    `cmd:"" help:"Begin one of them now."`
	Pause  schedulePauseCmd  `cmd:"" help:"Let one begin no more."`
	Resume scheduleResumeCmd `cmd:"" help:"Let one that is paused begin again."`
}

const scheduleCodes = `

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 no process answers.`

type scheduleListCmd struct {
	spoken
	File string `arg:"" optional:"" help:"Configuration file; default ./acequia.yaml."`
	JSON bool   `help:"Write JSON."`
}

// Help shows examples.
func (scheduleListCmd) Help() string {
	return `Shows the jobs under schedule: of a file, which begin by themselves under acequia serve: what they do, when they begin next, whether
they are paused, and the job that each has last begun. It can be asked for while acequia serve runs and when it does not.

Examples:
  acequia schedule list cinema.yaml
  acequia schedule list --json` + scheduleCodes
}

// Run shows the schedule.
func (c scheduleListCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.file(ctx, t, c.File)
	if err != nil {
		return err
	}
	entries, err := project.Timetable(ctx)
	if err != nil {
		return err
	}
	return showSchedule(t, c.spoken, entries, c.JSON)
}

func showSchedule(t terminal, s spoken, entries []jobs.Entry, asJSON bool) error {
	if asJSON {
		return writeJSON(t.out, api.ScheduleList{Schedules: entries})
	}
	if len(entries) == 0 {
		_, err := fmt.Fprintln(t.out, s.say("The file has no schedule.", "El fichero no tiene horario."))
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, s.say("name\tdoes\twhen\ttime zone\tnext\tlast job", "nombre\thace\tcuándo\tzona horaria\tsiguiente\túltimo trabajo"))
	for _, e := range entries {
		next := s.say("paused", "en pausa")
		if e.Next != nil {
			next = e.Next.Format(time.DateTime)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Name, e.Do, e.Cron, e.Zone, next, e.Last)
	}
	return w.Flush()
}

// timedJob names a job of the schedule of a file.
type timedJob struct {
	spoken
	File string `arg:"" help:"Configuration file."`
	Name string `arg:"" help:"Name of the job in its schedule."`
	JSON bool   `help:"Write JSON."`
}

func (c timedJob) timed(ctx context.Context, t terminal) (*app.Project, error) {
	project, err := c.file(ctx, t, c.File)
	if err != nil {
		return nil, err
	}
	_, err = jobs.FindTimed(project.Schedule, c.Name)
	return project, err
}

type scheduleRunCmd struct{ timedJob }

// Help shows examples.
func (scheduleRunCmd) Help() string {
	return `Has the acequia serve that runs on the file begin a job of its schedule now, whatever its time; a job that is paused, too.

Examples:
  acequia schedule run cinema.yaml sync` + scheduleCodes
}

// Run begins it.
func (c scheduleRunCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.timed(ctx, t)
	if err != nil {
		return err
	}
	var job api.Job
	if err := c.holder(project).ask(ctx, http.MethodPost, "/v1/schedules/"+url.PathEscape(c.Name)+"/run", nil, &job); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, job)
	}
	_, err = fmt.Fprintf(t.out, c.say("%s begins as job %s\n→ acequia jobs show %s %s\n", "%s empieza como trabajo %s\n→ acequia jobs show %s %s\n"), c.Name, job.ID, c.File, job.ID)
	return err
}

type schedulePauseCmd struct{ timedJob }

// Help shows examples.
func (schedulePauseCmd) Help() string {
	return `Lets a job of the schedule begin no more, also after a restart, until it is resumed. One that goes on is not stopped. It works while
acequia serve runs on the file and when it does not.

Examples:
  acequia schedule pause cinema.yaml backup` + scheduleCodes
}

// Run pauses it.
func (c schedulePauseCmd) Run(ctx context.Context, t terminal) error { return c.set(ctx, t, true) }

type scheduleResumeCmd struct{ timedJob }

// Help shows examples.
func (scheduleResumeCmd) Help() string {
	return `Lets a job that was paused begin again at its times. What was due while it was paused is not caught up.

Examples:
  acequia schedule resume cinema.yaml backup` + scheduleCodes
}

// Run resumes it.
func (c scheduleResumeCmd) Run(ctx context.Context, t terminal) error { return c.set(ctx, t, false) }

func (c timedJob) set(ctx context.Context, t terminal, paused bool) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.timed(ctx, t)
	if err != nil {
		return err
	}
	verb := "resume"
	if paused {
		verb = "pause"
	}
	var list api.ScheduleList
	err = c.holder(project).ask(ctx, http.MethodPost, "/v1/schedules/"+url.PathEscape(c.Name)+"/"+verb, nil, &list)
	if fault.Code(err) == codeNobody { // nobody runs: the state file is ours
		err = pauseAtRest(ctx, project, c.Name, paused)
		if err == nil {
			list.Schedules, err = project.Timetable(ctx)
		}
	}
	if err != nil {
		return err
	}
	return showSchedule(t, c.spoken, list.Schedules, c.JSON)
}

func pauseAtRest(ctx context.Context, project *app.Project, name string, paused bool) (err error) {
	dir, err := app.OpenDir(project.State)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	store, err := project.StatePlace().Open(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.PauseSchedule(ctx, name, paused, time.Now())
}
