package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/acequia-io/acequia/internal/app"
)

type backfillCmd struct {
	target
	Parallel int  `help:"Parts of tables that are read at the same time; default: as the source says." placeholder:"N"`
	Resume   bool `help:"Go on where a backfill was cut off, and read what was never read; else all of the tables are read anew."`
	JSON     bool `help:"Write progress and result as lines of JSON."`
}

// Help shows examples.
func (backfillCmd) Help() string {
	return `Reads the tables of a database as they stand, and ends; nothing is followed. acequia run does it by itself for tables that it has not
read. Tables that were read before are read anew: their rows get a new epoch, and what is gone from a table goes from the sinks when
all of it was read. A backfill that is stopped or killed goes on with --resume, or with acequia run.

Examples:
  acequia backfill shop.yaml
  acequia backfill shop.yaml shop --tables orders --tables 'sales.*' --parallel 4
  acequia backfill shop.yaml --resume
  acequia backfill shop.yaml --json

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
	if err := errors.Join(show.result(t, statuses, time.Since(began)), runErr); err != nil {
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
