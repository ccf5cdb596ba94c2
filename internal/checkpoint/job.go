package checkpoint

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// JobState is what a job is doing, or what became of it.
type JobState string

// The states. Of the first two a job goes on to one of the others, which are for good.
const (
	JobQueued    JobState = "queued" // for what it needs, which another job has
	JobRunning   JobState = "running"
	JobSucceeded JobState = "succeeded"
	JobPartial   JobState = "partial" // some of it was done: tables failed, or records are dead letters
	JobFailed    JobState = "failed"
	JobCanceled  JobState = "canceled" // somebody asked for it
)

// Over says whether the state is for good.
func (s JobState) Over() bool { return s != JobQueued && s != JobRunning }

// Job is work that was asked for, which ends, and what became of it.
type Job struct {
	ID      string // UUIDv7: jobs sort by the time when they were asked for
	Kind    string // migrate, sync, backup
	Work    string // what it does, in full: of jobs with the same, one is queued or running
	State   JobState
	By      string          // who asked
	Request json.RawMessage // what was asked for; nil: nothing more
	Report  json.RawMessage // how far it is, or what became of it; nil: nothing yet
	Created time.Time
	Started time.Time // zero: it is queued, or never began
	Ended   time.Time // zero: it is not over
	Code    string    // why it failed, as a fault.Error says it
	Place   string
	Reason  string
	Remedy  string
	Key     string // with which it was asked for (Idempotency-Key); "": none
	Digest  string // of what was asked for with the key
}

// keptJobs is how many jobs that are over are kept.
const keptJobs = 1000

// ErrKeyUsed means that other work was asked for with the same key.
var ErrKeyUsed = errors.New("other work was asked for with this key")

const jobColumns = `id, kind, work, state, asked_by, request, report, created_at, started_at, ended_at, code, place, reason, remedy, key, digest`

const insertJob = `insert into job(` + jobColumns + `) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// AddJob adds a job. begun says that it was added; else there is one that was asked for with the same key, or that does the same
// work and is not over, which it gives. ErrKeyUsed: the key was given with other work.
func (s *Store) AddJob(ctx context.Context, j Job) (found Job, begun bool, err error) {
	type added struct {
		job     Job
		begun   bool
		refused error // what is refused changes nothing, so that the transaction of other callers stands
	}
	out, err := ask(ctx, s, "add job", func(ctx context.Context, tx session) (out added, err error) {
		had, err := firstJob(tx.QueryContext(ctx, `select `+jobColumns+` from job where key <> '' and key = ?1
			union all select `+jobColumns+` from job where work = ?2 and state in ('queued', 'running') limit 1`, j.Key, j.Work))
		switch {
		case err != nil:
			return out, err
		case had != nil && j.Key != "" && had.Key == j.Key && had.Digest != j.Digest:
			return added{refused: ErrKeyUsed}, nil
		case had != nil:
			return added{job: *had}, nil
		}
		if _, err := tx.ExecContext(ctx, insertJob, j.values()...); err != nil {
			return out, err
		}
		_, err = tx.ExecContext(ctx, `delete from job where state not in ('queued', 'running') and id <= (
			select id from job where state not in ('queued', 'running') order by id desc limit 1 offset ?)`, keptJobs)
		return added{job: j, begun: true}, err
	})
	return out.job, out.begun, cmp.Or(err, out.refused)
}

// SaveJob saves what a job has become. One that is over stays as it is.
func (s *Store) SaveJob(ctx context.Context, j Job) error {
	return s.run(ctx, "save job", func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `update job set state = ?, report = ?, started_at = ?, ended_at = ?, code = ?, place = ?, reason = ?, remedy = ?
			where id = ? and state in ('queued', 'running')`,
			j.State, []byte(j.Report), micros(j.Started), micros(j.Ended), j.Code, j.Place, j.Reason, j.Remedy, j.ID)
		return err
	})
}

// EndJobs ends every job that is not over as failed, for the reason of why: of a process that has died nobody ends them.
func (s *Store) EndJobs(ctx context.Context, why Job) error {
	return s.run(ctx, "end jobs", func(ctx context.Context, tx session) error {
		_, err := tx.ExecContext(ctx, `update job set state = ?, ended_at = ?, code = ?, reason = ?, remedy = ? where state in ('queued', 'running')`,
			JobFailed, micros(why.Ended), why.Code, why.Reason, why.Remedy)
		return err
	})
}

// FindJob gives a job by its ID; nil: there is none.
func (s *Store) FindJob(ctx context.Context, id string) (*Job, error) {
	j, err := firstJob(s.readers.QueryContext(ctx, `select `+jobColumns+` from job where id = ?`, id))
	return j, s.explain("read job", err)
}

// JobFilter chooses jobs: those that agree with every field that is not empty.
type JobFilter struct {
	Kind   string
	State  JobState
	Before string // an ID: only older ones
}

// Jobs gives jobs, the newest first, at most limit.
func (s *Store) Jobs(ctx context.Context, f JobFilter, limit int) ([]Job, error) {
	rows, err := s.readers.QueryContext(ctx, `select `+jobColumns+` from job
		where (?1 = '' or kind = ?1) and (?2 = '' or state = ?2) and (?3 = '' or id < ?3) order by id desc limit ?4`, f.Kind, f.State, f.Before, limit)
	jobs, err := scanJobs(rows, err)
	return jobs, s.explain("read jobs", err)
}

func firstJob(rows *sql.Rows, err error) (*Job, error) {
	jobs, err := scanJobs(rows, err)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	return &jobs[0], nil
}

// scanJobs reads what a query gave, and closes it.
func scanJobs(rows *sql.Rows, err error) (jobs []Job, _ error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		var j Job
		var request, report []byte
		var created, started, ended int64
		err := rows.Scan(&j.ID, &j.Kind, &j.Work, &j.State, &j.By, &request, &report, &created, &started, &ended,
			&j.Code, &j.Place, &j.Reason, &j.Remedy, &j.Key, &j.Digest)
		if err != nil {
			return nil, fmt.Errorf("scan job: %w", err)
		}
		j.Request, j.Report = request, report
		j.Created, j.Started, j.Ended = moment(created), moment(started), moment(ended)
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}

// values are those of jobColumns.
func (j *Job) values() []any {
	return []any{
		j.ID, j.Kind, j.Work, j.State, j.By, []byte(j.Request), []byte(j.Report), micros(j.Created), micros(j.Started), micros(j.Ended),
		j.Code, j.Place, j.Reason, j.Remedy, j.Key, j.Digest,
	}
}

// moment reads what micros wrote.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
