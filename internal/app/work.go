package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/internal/verify"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

// databases gives the turns of the pipelines that read databases, those that are named: by the kind of the database, the source or
// the pipeline; no names: all.
func (s *Service) databases(only []string) (out []*turn, err error) {
	var known []string
	missing := slices.Clone(only)
	for _, t := range s.turns {
		if t == nil {
			continue
		}
		names := []string{serverOf(t.declared.Source), t.declared.Source.Name, t.declared.Name}
		known = append(known, names...)
		if len(only) > 0 && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(only, n) }) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(n string) bool { return slices.Contains(names, n) })
		out = append(out, t)
	}
	slices.Sort(known)
	switch {
	case len(missing) > 0:
		return nil, &fault.Error{
			Code: "ACQ-API-004", Place: missing[0], Err: errors.New("no pipeline reads such a database"),
			Remedy: "name one of: " + cmp.Or(strings.Join(slices.Compact(known), ", "), "none is read here"),
		}
	case len(out) == 0:
		return nil, &fault.Error{
			Code: "ACQ-API-005", Place: "pipelines", Err: errors.New("no pipeline reads a database"), Remedy: "add one to the configuration file",
		}
	}
	return out, nil
}

// Migrate is the job that reads the tables of databases anew as they stand, through their pipelines, and follows nothing.
func (s *Service) Migrate(r jobs.MigrateRequest) (jobs.Order, error) {
	turns, err := s.databases(r.Only)
	if err != nil {
		return jobs.Order{}, err
	}
	return jobs.Order{
		Kind: jobs.KindMigrate, Work: workOf(jobs.KindMigrate, r), Request: r,
		Do: func(ctx context.Context, t *jobs.Task) (bool, error) {
			e := s.newErrand(t, turns)
			began := time.Now()
			partial, err := e.each(ctx, func(ctx context.Context, p *part) error {
				return e.visit(ctx, p, func(ctx context.Context, of *routers.Pipeline) (<-chan struct{}, error) {
					b, ok := of.Source.(sources.Backfiller)
					if !ok {
						return nil, fmt.Errorf("source %s cannot be read as it stands", p.turn.declared.Source.Name)
					}
					if _, err := b.Rewind(ctx, r.Tables); err != nil {
						return nil, err
					}
					b.Backfill(r.Tables, 0)
					return nil, nil //nolint:nilnil // it ends by itself
				})
			})
			if ctx.Err() != nil {
				return partial, err
			}
			return e.migrated(ctx, began, r, partial, err)
		},
	}, nil
}

// migrated writes the report of a migration, also of one that failed. That it cannot be written is told, and undoes nothing.
func (e *errand) migrated(ctx context.Context, began time.Time, r jobs.MigrateRequest, partial bool, failed error) (bool, error) {
	report := e.report()
	choose := Tables{Patterns: r.Tables, Choose: e.read(report)}
	if _, err := e.service.WriteMigration(ctx, began, &report, &choose); err != nil {
		report.Notes, partial = append(report.Notes, err.Error()), true
	}
	if err := e.task.Tell(ctx, report); err != nil {
		return partial, err
	}
	return partial, failed
}

// read chooses the tables that a migration has read.
func (*errand) read(r jobs.Report) func([]string, string) (bool, error) {
	return func(_ []string, stream string) (bool, error) {
		return slices.ContainsFunc(r.Tables, func(t jobs.Table) bool { return t.Table == stream && t.State == jobs.Succeeded }), nil
	}
}

// scheduled is the job of a kind that begins by itself.
func (s *Service) scheduled(ctx context.Context, kind string) (jobs.Order, error) {
	switch kind {
	case jobs.KindSync:
		return s.Sync(ctx, jobs.SyncRequest{})
	case jobs.KindBackup:
		return s.Backup(ctx, jobs.BackupRequest{Prune: s.project.Backup.Prune})
	}
	return s.Migrate(jobs.MigrateRequest{}) // there are no others
}

// workOf names work in full.
func workOf(kind string, request any) string {
	text, _ := json.Marshal(request) // texts and times
	return kind + " " + string(text)
}

// Sync is the job that brings a table, or all tables, to where the database is now: from the checkpoint on, or what was changed since a
// time.
func (s *Service) Sync(ctx context.Context, r jobs.SyncRequest) (jobs.Order, error) {
	var turns []*turn
	var err error
	if r.Table == "" {
		turns, err = s.databases(nil)
	} else {
		turns, err = s.carriers(ctx, &r)
	}
	if err != nil {
		return jobs.Order{}, err
	}
	return jobs.Order{
		Kind: jobs.KindSync, Work: workOf(jobs.KindSync, r), Request: r,
		Do: func(ctx context.Context, t *jobs.Task) (bool, error) {
			e := s.newErrand(t, turns)
			return e.each(ctx, func(ctx context.Context, p *part) error {
				if r.Since != nil {
					return e.changed(ctx, p, r)
				}
				return e.visit(ctx, p, func(_ context.Context, of *routers.Pipeline) (<-chan struct{}, error) {
					drainer, ok := of.Source.(sources.Drainer)
					if !ok {
						return nil, fmt.Errorf("source %s has no end to which it could be read", p.turn.declared.Source.Name)
					}
					drainer.Drain()
					if r.Table != "" {
						of.Source = narrowed{of.Source, func(stream string) (bool, error) { return stream == r.Table, nil }}
					}
					return nil, nil //nolint:nilnil // it ends by itself
				})
			})
		},
	}, nil
}

// changed reads the rows of a table again that were changed since a time. Where nothing tells that, the table is swept: every row is
// compared, and what differs is sent again.
func (e *errand) changed(ctx context.Context, p *part, r jobs.SyncRequest) error {
	err := e.visit(ctx, p, func(ctx context.Context, of *routers.Pipeline) (<-chan struct{}, error) {
		tables, stream, err := streamOf(ctx, of.Source, r.Table)
		if err != nil {
			return nil, err
		}
		since, ok := tables.(sources.Since)
		if !ok {
			return nil, sources.ErrNoTimes
		}
		from := verify.Changed(since, stream.Schema, *r.Since)
		retry := of.Retry
		*of = verify.Again(*of, from)
		of.Retry = retry
		return from.Drained(), nil
	})
	if !errors.Is(err, sources.ErrNoTimes) {
		return err
	}
	p.runs(nil)
	return e.sweep(ctx, p, r.Table)
}

// sweep compares all rows of a table with what the sinks hold, and sends what differs again.
func (e *errand) sweep(ctx context.Context, p *part, table string) (err error) {
	release, err := p.turn.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	leave, err := e.service.takeForJob(ctx, p.turn.declared.Name)
	if err != nil {
		return err
	}
	defer leave()
	of, closed, err := e.service.own(ctx, p.turn.declared)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	found, err := e.service.mend(ctx, VerifyOptions{
		Pipeline: p.turn.declared.Name, Tables: Tables{Patterns: []string{table}, Choose: func(_ []string, stream string) (bool, error) { return stream == table, nil }},
	}, func(*Declared) (routers.Pipeline, error) { return of, nil })
	if err != nil {
		return err
	}
	t := jobs.Table{Table: table, State: jobs.Succeeded}
	if !found.Equal {
		err = &fault.Error{Code: "ACQ-API-007", Place: table, Err: errors.New("some rows still differ after they were sent again"), Remedy: "see which: acequia verify FILE --tables " + table}
	}
	if found.Found != nil {
		found = found.Found
	}
	for i := range found.Tables {
		of := &found.Tables[i]
		t.Rows, t.Seconds = t.Rows+of.Repaired, t.Seconds+of.Seconds
		e.note(fmt.Sprintf("%s has no column of times, so it was swept: in %s %d rows were missing, %d too many, %d different; %d were sent again",
			table, of.Sink, of.Missing, of.Extra, of.Different, of.Repaired))
	}
	for _, u := range found.Unchecked {
		e.note(fmt.Sprintf("%s was not swept in %s: %s", table, u.Sink, u.Reason))
	}
	p.counted(t)
	return err
}

// streamOf finds a stream that can be read as it stands. It must have a key: of a row that is read again nothing else says that it is
// there already.
func streamOf(ctx context.Context, source sources.Source, name string) (sources.Tables, sources.Stream, error) {
	tables, ok := source.(sources.Tables)
	if !ok {
		return nil, sources.Stream{}, errors.New("the source cannot be read as it stands")
	}
	streams, err := tables.Streams(ctx)
	if err != nil {
		return nil, sources.Stream{}, err
	}
	i := slices.IndexFunc(streams, func(s sources.Stream) bool { return s.Schema.Stream == name })
	if i < 0 {
		return nil, sources.Stream{}, &fault.Error{Code: "ACQ-API-006", Place: name, Err: errors.New("the table is not there any more")}
	}
	return tables, streams[i], allKeyed(streams[i : i+1])
}
