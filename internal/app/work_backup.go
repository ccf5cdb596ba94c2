package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/backup"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
)

// Backup is the job that keeps databases as they stand, as acequia backup create does. It takes no turns: what follows them goes on.
func (s *Service) Backup(ctx context.Context, r jobs.BackupRequest) (jobs.Order, error) {
	parts, err := s.project.kept(ctx, r.Only)
	if err != nil {
		return jobs.Order{}, err
	}
	return jobs.Order{
		Kind: jobs.KindBackup, Work: workOf(jobs.KindBackup, r), Request: r,
		Do: func(ctx context.Context, t *jobs.Task) (bool, error) {
			return (&keeping{project: s.project, task: t, parts: parts, began: time.Now()}).do(ctx, r, BackupOptions{Format: r.Format, Tables: r.Tables, Log: s.Log, Probe: s.Probe})
		},
	}, nil
}

// kept gives the databases that a job backs up: those that are named, by the kind of the database, the source or a pipeline; no names: all.
func (p *Project) kept(ctx context.Context, only []string) ([]*SourcePart, error) {
	all, err := p.databases(ctx, nil)
	if err != nil || len(only) == 0 {
		return all, err
	}
	var out []*SourcePart
	var known []string
	missing := slices.Clone(only)
	for _, part := range all {
		names := []string{serverOf(part), part.Name}
		for _, d := range p.Pipelines {
			if d.Source == part {
				names = append(names, d.Name)
			}
		}
		known = append(known, names...)
		if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(only, n) }) {
			out = append(out, part)
		}
		missing = slices.DeleteFunc(missing, func(n string) bool { return slices.Contains(names, n) })
	}
	if len(missing) > 0 {
		slices.Sort(known)
		return nil, &fault.Error{
			Code: "ACQ-API-004", Place: missing[0], Err: errors.New("no such database is backed up"),
			Remedy: cmp.Or(config.Suggest(missing[0], known), "name one of: "+strings.Join(slices.Compact(known), ", ")),
		}
	}
	return out, nil
}

// keeping is a job that makes backups.
type keeping struct {
	project  *Project
	task     *jobs.Task
	parts    []*SourcePart
	began    time.Time
	progress BackupProgress
}

// do makes them. The error is of a job of which nothing was done.
func (k *keeping) do(ctx context.Context, r jobs.BackupRequest, o BackupOptions) (partial bool, err error) {
	k.task.Begin(ctx)
	for _, part := range k.parts {
		o.Sources = append(o.Sources, part.Name)
		k.progress.of(part.Name) // in this order
	}
	o.Progress = &k.progress
	stop := telling(ctx, k.task, k.report)
	results, err := k.project.CreateBackups(ctx, o)
	stop()
	if err != nil {
		return false, err
	}
	report, failed := k.made(ctx, results)
	if r.Prune && len(failed) == 0 && ctx.Err() == nil {
		var note string
		if note, err = k.prune(ctx, o); err != nil { // the backups are there all the same
			note, partial = "old backups were not removed: "+err.Error(), true
		}
		report.Notes = append(report.Notes, note)
	}
	err = k.task.Tell(ctx, report)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case len(failed) == len(results):
		return false, errors.Join(append(failed, err)...)
	}
	return partial || len(failed) > 0, err
}

// report tells how far it is.
func (k *keeping) report() jobs.Report {
	out := jobs.Report{Databases: []jobs.Database{}, Tables: []jobs.Table{}}
	for _, part := range k.parts {
		db := k.database(part)
		db.State, db.Seconds = jobs.Running, jobs.Since(k.began)
		for _, t := range k.progress.of(part.Name).Tables() {
			state := jobs.Running
			switch {
			case t.Parts <= 0:
				state = jobs.Succeeded
			case !t.Begun:
				state = jobs.Waiting
			}
			db.Rows += t.Rows
			out.Tables = append(out.Tables, jobs.Table{Source: db.Source, SourceDB: db.SourceDB, Table: t.Table, State: state, Rows: t.Rows, Bytes: t.Bytes})
		}
		out.Databases = append(out.Databases, db)
	}
	return out
}

func (*keeping) database(part *SourcePart) jobs.Database {
	return jobs.Database{Source: part.Name, SourceDB: serverOf(part)}
}

// made tells what became of each database, and why some have no backup.
func (k *keeping) made(ctx context.Context, results []BackupResult) (out jobs.Report, failed []error) {
	out = jobs.Report{Databases: []jobs.Database{}, Tables: []jobs.Table{}}
	for _, r := range results {
		db := k.database(k.parts[slices.IndexFunc(k.parts, func(part *SourcePart) bool { return part.Name == r.Source })])
		db.Attempts = r.Attempts
		switch {
		case r.Err == nil:
			db.State, db.Backup, db.Rows, db.Seconds = jobs.Succeeded, r.Backup.ID, r.Backup.Rows, r.Backup.Seconds
			for _, t := range r.Backup.Tables {
				out.Tables = append(out.Tables, jobs.Table{
					Source: db.Source, SourceDB: db.SourceDB, Table: t.Name, State: jobs.Succeeded, Rows: t.Rows, Bytes: t.Bytes, Hash: t.Digest, Seconds: db.Seconds,
				})
			}
			out.Notes = append(out.Notes, notesOf(r.Backup)...)
		case ctx.Err() != nil:
			db.State, db.Seconds = jobs.Canceled, jobs.Since(k.began)
		default:
			db.State, db.Seconds, db.Trouble = jobs.Failed, jobs.Since(k.began), jobs.TroubleOf(r.Err)
		}
		if r.Err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", r.Source, r.Err))
		}
		out.Databases = append(out.Databases, db)
	}
	return out, failed
}

// notesOf says what a restore of a backup would not bring.
func notesOf(b *backup.Backup) (out []string) {
	if !b.Consistent {
		out = append(out, b.Source+" is not of one moment: the database cannot show one")
	}
	const most = 5
	for _, one := range b.NotKept[:min(most, len(b.NotKept))] {
		out = append(out, fmt.Sprintf("%s: not kept: %s", b.Source, one))
	}
	if more := len(b.NotKept) - most; more > 0 {
		out = append(out, fmt.Sprintf("%s: %d more are not kept; GET /backups has all", b.Source, more))
	}
	return out
}

// prune removes what the rules do not keep, and says what that was.
func (k *keeping) prune(ctx context.Context, o BackupOptions) (note string, err error) {
	o.Progress = nil
	p, err := k.project.PruneBackups(ctx, false, o)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d old backups were removed, %d stay", len(p.Removed), len(p.Kept)+len(p.InUse)), nil
}

// ListBackups gives the backups there are, newest first, and the manifests that cannot be read. A table that no backup has and no pipeline
// carries is a *jobs.UnknownError.
func (s *Service) ListBackups(ctx context.Context, f backup.Filter) (out []backup.Backup, bad []backup.Unreadable, err error) {
	store, err := backup.Open(ctx, s.project.backups, backup.Options{S3: s.project.Backup.S3(), Log: s.Log}) // what manifests say needs no key
	if err != nil {
		return nil, nil, err
	}
	if out, bad, err = store.List(ctx, f); err != nil || len(out) > 0 || f.Table == "" {
		return out, bad, err
	}
	all, _, err := store.List(ctx, backup.Filter{})
	if err != nil {
		return nil, nil, err
	}
	var known []string
	for i := range all {
		for _, t := range all[i].Tables {
			known = append(known, t.Name)
		}
	}
	for _, of := range s.tablesNow(ctx) {
		known = append(known, of.names...)
	}
	if slices.Sort(known); slices.Contains(known, f.Table) {
		return nil, bad, nil
	}
	return nil, nil, &jobs.UnknownError{Name: f.Table, Near: config.Nearest(f.Table, known), Known: slices.Compact(known)}
}
