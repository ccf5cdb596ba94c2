package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/app"
)

type backfillCmd struct {
	target
	Parallel int  `help:"Parts of tables that are read at the same time; default: as the source says." placeholder:"N"`
	Resume   bool `help:"Go on where a backfill was cut off, and read what was never read; else all of the tables are read anew."`
	Verify   bool `help:"Compare each table with the sinks, for the report of the migration." default:"true" negatable:""`
	JSON     bool `help:"Write progress and result as lines of JSON."`
}

// Help shows examples.
func (backfillCmd) Help() string {
	return `Reads the tables of a database as they stand, and ends; nothing is followed. acequia run does it by itself for tables that it has not
read. Tables that were read before are read anew: their rows get a new epoch, and what is gone from a table goes from the sinks when
all of it was read. Where the file says reports:, a report of the migration is written there: records by database and table, and of
each table time, bytes, retries, dead letters, a hash of its content and whether the sinks hold the same. A backfill that is stopped or killed goes on with --resume, or with acequia run.

Examples:
  acequia backfill shop.yaml
  acequia backfill shop.yaml shop --tables orders --tables 'sales.*' --parallel 4
  acequia backfill shop.yaml --resume
  acequia backfill shop.yaml --json
  acequia backfill cinema.yaml --no-verify

Exit codes: 0 ok, 1 it failed or was interrupted, 2 usage or configuration, 3 environment, 4 some rows are dead letters.`
}

// Run reads the tables.
func (c backfillCmd) Run(ctx context.Context, t terminal) (err error) {
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	if project, err = project.Only(c.Pipeline); err != nil {
		return err
	}
	t.err = onScreen(t.err)
	log, closed, err := t.log()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	service, err := project.Open(ctx, app.ServiceOptions{
		Log: log, Wire: t.wire, Backfill: &app.BackfillOptions{Tables: c.Tables, Parallel: c.Parallel, Resume: c.Resume},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	show := runCmd{JSON: c.JSON}
	began := time.Now()
	watching, done := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		(&progress{t: t, log: log, json: c.JSON, status: service.Status, expected: service.Expected, began: began}).follow(watching)
	})
	runErr := service.Run(ctx, 0)
	done()
	telling.Wait()
	statuses := service.Status()
	told := show.result(t, statuses, time.Since(began))
	if ctx.Err() == nil && project.Reports != "" {
		told = errors.Join(told, c.migrated(ctx, t, service, began))
	}
	if err := errors.Join(told, runErr); err != nil {
		return err
	}
	if ctx.Err() != nil {
		_, _ = t.err.Write([]byte("Interrupted; acequia backfill --resume goes on from there.\n"))
		return toldError{exitFailed}
	}
	for _, s := range statuses {
		if s.DeadLetters > 0 {
			return toldError{exitPartial}
		}
	}
	return nil
}

// migratedEvent is the line of --json that names the report of a migration.
type migratedEvent struct {
	Event  string `json:"event"` // migrated
	Status string `json:"migration_status"`
	Total  int64  `json:"total_records_migrated"`
	Report string `json:"report"` // its file
}

// migrated writes the report.
func (c backfillCmd) migrated(ctx context.Context, t terminal, service *app.Service, began time.Time) error {
	report := service.Backfilled()
	var compare *app.Tables
	if c.Verify {
		compare = &app.Tables{Patterns: c.Tables, Choose: chosen}
	}
	m, err := service.WriteMigration(ctx, began, &report, compare)
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(t.out).Encode(migratedEvent{"migrated", m.Status, m.Total, report.File})
	}
	_, err = fmt.Fprintf(t.out, "%s: %s records. Report: %s\n", m.Status, thousands(m.Total), report.File)
	return err
}
