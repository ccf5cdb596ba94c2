package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/internal/api"
)

type jobsCmd struct {
	List   jobsListCmd   `cmd:"" help:"List the jobs, the newest first."`
	Show   jobsShowCmd   `cmd:"" help:"Show one, table by table."`
	Cancel jobsCancelCmd `cmd:"" help:"Stop one in order."`
}

const jobsCodes = `

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 no process answers.`

type jobsListCmd struct {
	spoken
	File  string `arg:"" optional:"" help:"Configuration file; default ./acequia.yaml."`
	State string `help:"Only those in this state: ${enum}." enum:"queued,running,succeeded,partial,failed,canceled," default:""`
	Limit int    `help:"How many at most." default:"20"`
	JSON  bool   `help:"Write JSON."`
}

// Help shows examples.
func (jobsListCmd) Help() string {
	return `Asks the acequia serve that runs on the file for its jobs: what was asked for through the API, by the schedule or by acequia schedule run.

Examples:
  acequia jobs list cinema.yaml
  acequia jobs list cinema.yaml --state partial --json` + jobsCodes
}

// Run lists them.
func (c jobsListCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.file(ctx, t, c.File)
	if err != nil {
		return err
	}
	query := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	if c.State != "" {
		query.Set("state", c.State)
	}
	var list api.JobList
	if err := c.holder(project).ask(ctx, http.MethodGet, "/v1/jobs?"+query.Encode(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, list)
	}
	return showJobs(t, c.spoken, list.Jobs)
}

func showJobs(t terminal, s spoken, all []api.Job) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.out, s.say("There are no jobs.", "No hay trabajos."))
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, s.say("job\tkind\tstate\tasked by\tcreated\ttook", "trabajo\tclase\testado\tpedido por\tcreado\ttardó"))
	for _, j := range all {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", j.ID, j.Kind, stateIn(s, j.State), caller(s, j.By), j.Created.Local().Format(time.DateTime), tookOf(j))
	}
	return w.Flush()
}

func tookOf(j api.Job) string {
	if j.Started == nil {
		return ""
	}
	end := time.Now()
	if j.Ended != nil {
		end = *j.Ended
	}
	return end.Sub(*j.Started).Round(100 * time.Millisecond).String()
}

// oneJob names a job.
type oneJob struct {
	spoken
	File string `arg:"" help:"Configuration file."`
	ID   string `arg:"" help:"ID of the job."`
	JSON bool   `help:"Write JSON."`
}

func (c oneJob) ask(ctx context.Context, t terminal, method, more string) (err error) {
	defer func() { err = c.told(t, err) }()
	project, err := c.file(ctx, t, c.File)
	if err != nil {
		return err
	}
	var job api.Job
	if err := c.holder(project).ask(ctx, method, "/v1/jobs/"+url.PathEscape(c.ID)+more, nil, &job); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, job)
	}
	return showJob(t, c.spoken, job)
}

func showJob(t terminal, s spoken, j api.Job) error {
	say := s.translation()
	_, _ = fmt.Fprintf(t.out, s.say("%s %s: %s\nasked by %s at %s", "%s %s: %s\npedido por %s el %s"), j.Kind, j.ID, stateIn(s, j.State), caller(s, j.By), j.Created.Local().Format(time.DateTime))
	if took := tookOf(j); took != "" {
		_, _ = fmt.Fprintf(t.out, s.say(", took %s", ", tardó %s"), took)
	}
	_, _ = fmt.Fprintln(t.out)
	if e := j.Trouble; e != nil {
		_, _ = fmt.Fprintf(t.out, "✗ %s %s\n  %s\n  → %s\n", e.Code, e.Place, say(e.Reason), say(e.Remedy))
	}
	if j.Report == nil {
		return nil
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, s.say("database\ttable\tstate\trows\tdead letters\tseconds\t", "base de datos\ttabla\testado\tfilas\tcartas muertas\tsegundos\t"))
	for _, d := range j.Report.Databases {
		_, _ = fmt.Fprintf(w, "%s\t\t%s\t%s\t%s\t%.1f\t\n", d.SourceDB, stateIn(s, d.State), thousands(d.Rows), thousands(d.DeadLetters), d.Seconds)
		for _, one := range j.Report.Tables {
			if one.Pipeline == d.Pipeline && one.Source == d.Source {
				_, _ = fmt.Fprintf(w, "\t%s\t%s\t%s\t%s\t%.1f\t\n", one.Table, stateIn(s, one.State), thousands(one.Rows), thousands(one.DeadLetters), one.Seconds)
			}
		}
	}
	err := w.Flush()
	for _, d := range j.Report.Databases {
		if d.Backup != "" {
			_, _ = fmt.Fprintf(t.out, s.say("✓ %s: backup %s\n", "✓ %s: copia %s\n"), d.Source, d.Backup)
		}
		if e := d.Trouble; e != nil {
			_, _ = fmt.Fprintf(t.out, s.say("✗ %s of %s: %s %s: %s\n", "✗ %s de %s: %s %s: %s\n"), d.SourceDB, cmp.Or(d.Pipeline, d.Source), e.Code, e.Place, say(e.Reason))
		}
	}
	for _, n := range j.Report.Notes {
		_, _ = fmt.Fprintln(t.out, "· "+say(n))
	}
	return err
}

type jobsShowCmd struct{ oneJob }

// Help shows examples.
func (jobsShowCmd) Help() string {
	return `Shows how far a job is, or what became of it, table by table.

Examples:
  acequia jobs show cinema.yaml 01a2325d-b832-7491-9695-9e52954ad129` + jobsCodes
}

// Run shows it.
func (c jobsShowCmd) Run(ctx context.Context, t terminal) error {
	return c.ask(ctx, t, http.MethodGet, "")
}

type jobsCancelCmd struct{ oneJob }

// Help shows examples.
func (jobsCancelCmd) Help() string {
	return `Stops a job in order: what it has made durable stays.

Examples:
  acequia jobs cancel cinema.yaml 01a2325d-b832-7491-9695-9e52954ad129` + jobsCodes
}

// Run cancels it.
func (c jobsCancelCmd) Run(ctx context.Context, t terminal) error {
	return c.ask(ctx, t, http.MethodPost, "/cancel")
}
