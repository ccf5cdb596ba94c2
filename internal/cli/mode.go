package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/jobs"
)

// modeCmd is how the original cinema service is started: acequia --mode MODE. Its modes are commands of acequia over ./acequia.yaml, or
// what the environment implies.
type modeCmd struct {
	spoken
	Mode string `help:"What the service does: ${enum}." enum:"api,migrate,backup,scheduler" required:""`
	Host string `help:"Of api: address to listen on; by default only this machine reaches it." default:"127.0.0.1" placeholder:"ADDR"`
	Port int    `help:"Of api: port; 0 takes a free one." default:"3006"`
	JSON bool   `help:"Write what happens as lines of JSON."`
}

// Help shows examples.
func (modeCmd) Help() string {
	return `Starts the cinema service as it always was: api answers requests and reads nothing until it is asked to, migrate reads every table
once and writes its report, backup makes a backup of every database, scheduler begins the jobs of the schedule at their times and does
nothing else. What is read is in ./acequia.yaml, else in the environment (.env.example shows its variables). acequia serve is api and
scheduler in one process: two processes cannot share one state.

Examples:
  acequia --mode api --port 3006
  acequia --mode migrate
  acequia --mode backup
  acequia --mode scheduler

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 environment, 4 partial: some tables or databases failed, or rows are dead letters.`
}

// Run does what the mode says.
func (c modeCmd) Run(ctx context.Context, t terminal) (err error) {
	defer func() { err = c.told(t, err) }()
	switch c.Mode {
	case "api":
		return serveCmd{Port: c.Port, Listen: c.Host, Lang: language(c.Lang), JSON: c.JSON}.serve(ctx, t, true)
	case "backup":
		return backupCreateCmd{backupFlags: backupFlags{spoken: c.spoken, JSON: c.JSON}}.Run(ctx, t)
	case "scheduler":
		return c.opened(ctx, t, func(s *app.Service) error { return s.KeepSchedule(ctx) })
	}
	t.err = onScreen(t.err)
	return c.opened(ctx, t, func(s *app.Service) error { return c.migrate(ctx, t, s) })
}

// opened makes the service, without running its pipelines, and hands it to do.
func (c modeCmd) opened(ctx context.Context, t terminal, do func(*app.Service) error) (err error) {
	log, closed, err := t.log()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	service, err := project.Open(ctx, app.ServiceOptions{Log: log, Wire: t.wire, Probe: t.probe, Forms: true, Jobs: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	return do(service)
}

// migrate does the job that POST /migrate asks for, and tells what became of it.
func (c modeCmd) migrate(ctx context.Context, t terminal, service *app.Service) error {
	began := time.Now()
	watching, over := context.WithCancel(ctx)
	var telling sync.WaitGroup
	if !c.JSON {
		telling.Go(func() {
			(&progress{t: t, log: service.Log, status: service.Status, expected: service.Expected, began: began, lang: language(c.Lang)}).follow(watching)
		})
	}
	done, err := service.MigrateNow(ctx, jobs.MigrateRequest{})
	over()
	telling.Wait()
	if done != nil {
		err = errors.Join(c.show(t, done, began), err)
	}
	switch {
	case err != nil:
		return err
	case done.Partial:
		return toldError{exitPartial}
	}
	return nil
}

// migrationEvent is the line of --json.
type migrationEvent struct {
	Event   string  `json:"event"` // end
	Seconds float64 `json:"seconds"`
	Partial bool    `json:"partial"`
	jobs.Report
}

func (c modeCmd) show(t terminal, done *app.Migrated, began time.Time) error {
	if c.JSON {
		return json.NewEncoder(t.out).Encode(migrationEvent{"end", jobs.Since(began), done.Partial, done.Report})
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, c.say("database\ttable\tstate\trows\tdead letters\tseconds\tverify\t", "base de datos\ttabla\testado\tfilas\tcartas muertas\tsegundos\tcomparación\t"))
	for _, table := range done.Report.Tables {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\t%s\t\n", table.SourceDB, table.Table, stateIn(c.spoken, table.State), thousands(table.Rows), thousands(table.DeadLetters), table.Seconds, verdict(c.spoken, table.Verify))
	}
	err := w.Flush()
	say := c.translation()
	for _, db := range done.Report.Databases {
		if db.Trouble != nil {
			err = errors.Join(err, c.trouble(t, db))
		}
	}
	for _, note := range done.Report.Notes {
		_, _ = fmt.Fprintln(t.out, say(note))
	}
	if done.Report.File != "" {
		_, _ = fmt.Fprintln(t.out, c.say("Report: ", "Informe: ")+done.Report.File)
	}
	return err
}

// trouble says why a database was not read.
func (c modeCmd) trouble(t terminal, db jobs.Database) error {
	say := c.translation()
	_, err := fmt.Fprintf(t.err, "✗ %s: %s %s\n", db.SourceDB, db.Trouble.Code, say(db.Trouble.Reason))
	if db.Trouble.Remedy != "" {
		_, err = fmt.Fprintf(t.err, "  → %s\n", say(db.Trouble.Remedy))
	}
	return err
}
