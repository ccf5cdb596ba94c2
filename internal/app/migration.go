package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/routers"
)

// Backfilled is what a backfill has done, as jobs tell of it. It may be asked for when the run has ended.
func (s *Service) Backfilled() jobs.Report {
	var r jobs.Report
	for i, run := range s.runs {
		d := s.project.Pipelines[i]
		status := run.Status()
		p := &part{db: jobs.Database{Pipeline: d.Name, Source: d.Source.Name, SourceDB: serverOf(d.Source), State: jobs.Succeeded}, run: run}
		p.db.Rows, p.db.DeadLetters = rowsOf(status.Progress)+status.Others.Rows, status.DeadLetters+status.Others.DeadLetters
		if status.State != routers.Ended {
			p.db.State, p.db.Trouble = jobs.Failed, &jobs.Trouble{Code: status.Code, Reason: status.Reason}
		}
		r.Databases, r.Tables = append(r.Databases, p.db), append(r.Tables, p.tables()...)
	}
	return r
}

// WriteMigration writes the report of a migration where the project wants its reports, and names the file in r; "": it wants none. The tables that
// were read are compared with the sinks first, unless no choice of tables is given. It may be asked for while pipelines run.
func (s *Service) WriteMigration(ctx context.Context, began time.Time, r *jobs.Report, compare *Tables) (*jobs.Migration, error) {
	if s.project.Reports == "" {
		return nil, nil //nolint:nilnil // said in the comment
	}
	for i := range r.Tables {
		r.Tables[i].Verify = jobs.VerifyNone
	}
	if compare != nil {
		for _, d := range s.project.Pipelines {
			s.compare(ctx, d, *compare, r.Tables)
		}
	}
	m := jobs.NewMigration(began, *r)
	var err error
	if r.File, err = m.Write(ctx, s.project.Reports, s.project.s3Of(s.project.Reports)); err != nil {
		return nil, err
	}
	s.Log.InfoContext(ctx, "report of the migration is written", slog.String("file", r.File), slog.String("status", m.Status), slog.Int64("records", m.Total))
	return m, nil
}

// compare says of each table that a pipeline has read whether the sinks hold what the database does. A database that cannot be asked
// any more is no reason to have no report.
func (s *Service) compare(ctx context.Context, d *Declared, which Tables, tables []jobs.Table) {
	if !slices.ContainsFunc(tables, func(t jobs.Table) bool { return t.Pipeline == d.Name && t.State == jobs.Succeeded }) {
		return
	}
	report, err := s.project.Verify(ctx, VerifyOptions{Pipeline: d.Name, Tables: which}, s.Log)
	if err != nil {
		s.Log.WarnContext(ctx, "tables are not compared", slog.String("pipeline", d.Name), slog.String("error", err.Error()))
		return
	}
	for i := range tables {
		if tables[i].Pipeline == d.Name {
			compared(&tables[i], report)
		}
	}
}

// compared takes over what a comparison says of a table, which may be in several sinks.
func compared(t *jobs.Table, r *verify.Report) {
	for _, found := range r.Tables {
		switch {
		case found.Stream != t.Table:
			continue
		case !found.Equal():
			t.Verify = jobs.VerifyDifferent
		case t.Verify == jobs.VerifyNone:
			t.Verify = jobs.VerifyEqual
		}
		t.Hash = found.Digest
	}
}

// Migrated is what became of a migration.
type Migrated struct {
	Report  jobs.Report
	Partial bool // some of it was done, and some was not
}

// MigrateNow does the job that Migrate orders, and waits for it. A migration of which nothing was done gives its report and an error. When
// ctx ends the job is canceled.
func (s *Service) MigrateNow(ctx context.Context, r jobs.MigrateRequest) (*Migrated, error) {
	order, err := s.Migrate(r)
	if err != nil {
		return nil, err
	}
	job, _, err := s.jobs.Start(ctx, order)
	if err != nil {
		return nil, err
	}
	id := job.ID
	if job, err = s.jobs.Wait(ctx, id); err == nil && ctx.Err() != nil {
		after := context.WithoutCancel(ctx)
		if _, err = s.jobs.Cancel(after, id); err == nil {
			job, err = s.jobs.Wait(after, id)
		}
	}
	if err != nil {
		return nil, err
	}
	done := &Migrated{Partial: job.State == checkpoint.JobPartial}
	if job.Report != nil {
		if err := json.Unmarshal(job.Report, &done.Report); err != nil {
			return nil, fmt.Errorf("read the report of job %s: %w", id, err)
		}
	}
	if job.State != checkpoint.JobSucceeded && !done.Partial {
		return done, &fault.Error{Code: job.Code, Place: job.Place, Err: errors.New(job.Reason), Remedy: job.Remedy}
	}
	return done, nil
}
