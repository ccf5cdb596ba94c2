package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
)

// Asking is what every order of work may say.
type Asking struct {
	Prefer string `header:"Prefer" doc:"wait=N: the answer waits up to N seconds, 50 at most, for the end of the job" example:"wait=20"`
	Key    string `header:"Idempotency-Key" maxLength:"255" doc:"Sent again with the same key, the same job is answered, and nothing begins twice"`
}

// ordered is the answer to an order: 202, or 200 with a job that has ended.
type ordered struct {
	Status   int
	Location string `header:"Location" doc:"where the job is"`
	Applied  string `header:"Preference-Applied"`
	Body     Job
}

// mostWait is how long an answer waits for the end of a job, below the time that the server has for an answer.
const mostWait = 50 * time.Second

func (a *API) orders() {
	type migrate struct {
		Asking
		Body *jobs.MigrateRequest `required:"false"`
	}
	register(a, huma.Operation{
		OperationID: "migrate", Method: http.MethodPost, Path: "/migrate", Summary: "Read all tables anew", Tags: []string{"work"}, DefaultStatus: http.StatusAccepted,
		Description: "A job that reads every table of the pipelines that read databases as it stands, the databases side by side. One that does not answer is " +
			"tried again once, and the others go on: then the job ends as partial. Pipelines that follow their database go on when it has ended.",
	}, []int{http.StatusOK}, func(ctx context.Context, in *migrate) (*ordered, error) {
		var r jobs.MigrateRequest
		if in.Body != nil {
			r = *in.Body
		}
		order, err := a.Work.Migrate(r)
		if err != nil {
			return nil, problemOf(err)
		}
		return a.begin(ctx, order, in.Asking)
	})
	type backup struct {
		Asking
		Body *jobs.BackupRequest `required:"false"`
	}
	register(a, huma.Operation{
		OperationID: "backup", Method: http.MethodPost, Path: "/backup", Summary: "Keep all databases as they stand", Tags: []string{"work"}, DefaultStatus: http.StatusAccepted,
		Description: "A job that makes a backup of every database that pipelines read, each at one moment, the databases side by side. Nothing that follows them is " +
			"stopped. One that does not answer is tried again once, and the others go on: then the job ends as partial, as it does where a database is of a kind that cannot be backed up.",
	}, []int{http.StatusOK}, func(ctx context.Context, in *backup) (*ordered, error) {
		var r jobs.BackupRequest
		if in.Body != nil {
			r = *in.Body
		}
		order, err := a.Work.Backup(ctx, r)
		if err != nil {
			return nil, problemOf(err)
		}
		return a.begin(ctx, order, in.Asking)
	})
	a.syncs()
}

func (a *API) syncs() {
	type since struct {
		Since *time.Time `json:"last_sync_time,omitempty" doc:"read again what was changed since; none: go on from the checkpoint"`
	}
	type sync struct {
		Asking
		Table    string `path:"table_name" maxLength:"255" doc:"as the pipeline names it: rooms, or sales.orders of another schema than the usual" example:"rooms"`
		SourceDB string `query:"source_db" doc:"mysql, postgresql, mongodb, or a source by its name: where several databases have a table of this name"`
		Body     *since `required:"false"`
	}
	register(a, huma.Operation{
		OperationID: "sync", Method: http.MethodPost, Path: "/sync/{table_name}", Summary: "Bring one table to where the database is now", Tags: []string{"work"},
		DefaultStatus: http.StatusAccepted,
		Description: "Without last_sync_time the job goes on from the checkpoint. With it rows that were changed since are read again, by the column of times of the " +
			"table; where there is none all rows are compared and those that differ are sent again, which a note of the job says.",
	}, []int{http.StatusOK}, func(ctx context.Context, in *sync) (*ordered, error) {
		r := jobs.SyncRequest{Table: in.Table, SourceDB: in.SourceDB}
		if in.Body != nil {
			r.Since = in.Body.Since
		}
		order, err := a.Work.Sync(ctx, r)
		if err != nil {
			return nil, problemOf(err)
		}
		return a.begin(ctx, order, in.Asking)
	})
}

// begin begins a job and answers with it.
func (a *API) begin(ctx context.Context, order jobs.Order, asked Asking) (*ordered, error) {
	if order.By, order.Key = callerOf(ctx).Name, asked.Key; order.Key != "" {
		sum := sha256.Sum256([]byte(order.Work))
		order.Digest = hex.EncodeToString(sum[:])
	}
	job, begun, err := a.Jobs.Start(ctx, order)
	switch {
	case errors.Is(err, checkpoint.ErrKeyUsed):
		return nil, problem(http.StatusUnprocessableEntity, "ACQ-API-011", "the Idempotency-Key was sent with other work", "send each work with a key of its own")
	case err != nil:
		return nil, problemOf(err)
	}
	out := &ordered{Status: http.StatusAccepted, Location: jobPath + job.ID}
	if !begun && (order.Key == "" || job.Key != order.Key) {
		return nil, goesOn(job)
	}
	if wait := waitOf(asked.Prefer); wait > 0 {
		waiting, done := context.WithTimeout(ctx, wait)
		defer done()
		if job, err = a.Jobs.Wait(waiting, job.ID); err != nil {
			return nil, problemOf(err)
		}
		out.Applied = "wait=" + strconv.Itoa(int(wait/time.Second))
		if job.State.Over() {
			out.Status = http.StatusOK
		}
	}
	out.Body = shown(job)
	return out, nil
}

// goesOn is the answer to an order of work that a job does already.
func goesOn(job checkpoint.Job) error {
	found := shown(job)
	p := problem(http.StatusConflict, "ACQ-API-002", "the same work goes on already", "wait for that job, or cancel it")
	p.Job = &found
	return huma.ErrorWithHeaders(p, http.Header{"Location": {jobPath + job.ID}})
}

// waitOf reads wait=N of a Prefer header (RFC 7240); what it does not understand it leaves out, as that says.
func waitOf(prefer string) time.Duration {
	for p := range strings.SplitSeq(prefer, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		if n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`)); err == nil && n > 0 {
			return min(time.Duration(min(n, 3600))*time.Second, mostWait)
		}
	}
	return 0
}
