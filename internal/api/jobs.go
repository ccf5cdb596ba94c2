package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
)

// jobPath begins the path of a job.
const jobPath = "/v1/jobs/"

// Job is work that was asked for.
type Job struct {
	ID      string         `json:"id" format:"uuid"`
	Kind    string         `json:"kind" example:"migrate"`
	State   string         `json:"state" enum:"queued,running,succeeded,partial,failed,canceled"`
	By      string         `json:"asked_by" doc:"api, the schedule, or who a token is of"`
	Created time.Time      `json:"created_at"`
	Started *time.Time     `json:"started_at,omitempty"`
	Ended   *time.Time     `json:"ended_at,omitempty"`
	Request map[string]any `json:"request,omitempty" doc:"what was asked for"`
	Report  *jobs.Report   `json:"report,omitempty" doc:"how far it is, or what became of it"`
	Trouble *jobs.Trouble  `json:"error,omitempty" doc:"why it failed"`
}

func shown(j checkpoint.Job) Job {
	out := Job{ID: j.ID, Kind: j.Kind, State: string(j.State), By: j.By, Created: j.Created, Started: some(j.Started), Ended: some(j.Ended)}
	if len(j.Request) > 0 {
		_ = json.Unmarshal(j.Request, &out.Request) // it was made by Marshal
	}
	if len(j.Report) > 0 {
		_ = json.Unmarshal(j.Report, &out.Report) // as above
	}
	if j.Reason != "" {
		out.Trouble = &jobs.Trouble{Code: j.Code, Place: j.Place, Reason: j.Reason, Remedy: j.Remedy}
	}
	return out
}

func some(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// JobList is a page of jobs.
type JobList struct {
	Jobs []Job  `json:"jobs" nullable:"false"`
	Next string `json:"next_cursor,omitempty" doc:"for ?cursor=, where there are more"`
}

type jobID struct {
	ID string `path:"id" format:"uuid"`
}

func (a *API) jobs() {
	type list struct {
		Kind   string `query:"kind" enum:"migrate,sync,backup"`
		State  string `query:"state" enum:"queued,running,succeeded,partial,failed,canceled"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
		Cursor string `query:"cursor" format:"uuid"`
	}
	register(a, huma.Operation{
		OperationID: "list jobs", Method: http.MethodGet, Path: "/v1/jobs", Summary: "The jobs, the newest first", Tags: []string{"jobs"}, DefaultStatus: http.StatusOK,
	}, nil, func(ctx context.Context, in *list) (*answer[JobList], error) {
		found, err := a.Jobs.List(ctx, checkpoint.JobFilter{Kind: in.Kind, State: checkpoint.JobState(in.State), Before: in.Cursor}, in.Limit+1)
		if err != nil {
			return nil, problemOf(err)
		}
		out := JobList{Jobs: []Job{}}
		for _, j := range found[:min(len(found), in.Limit)] {
			out.Jobs = append(out.Jobs, shown(j))
		}
		if len(found) > in.Limit {
			out.Next = found[in.Limit-1].ID
		}
		return &answer[JobList]{out}, nil
	})
	register(a, huma.Operation{
		OperationID: "show job", Method: http.MethodGet, Path: jobPath + "{id}", Summary: "One job", Tags: []string{"jobs"}, DefaultStatus: http.StatusOK,
	}, nil, func(ctx context.Context, in *jobID) (*answer[Job], error) {
		job, _, err := a.Jobs.Look(ctx, in.ID)
		if err != nil {
			return nil, problemOf(err)
		}
		return &answer[Job]{shown(job)}, nil
	})
	register(a, huma.Operation{
		OperationID: "cancel job", Method: http.MethodPost, Path: jobPath + "{id}/cancel", Summary: "Stop a job in order", Tags: []string{"jobs"},
		DefaultStatus: http.StatusAccepted, Description: "What it has made durable stays. A job that was canceled is answered with 200, another that is over with 409.",
	}, []int{http.StatusOK}, func(ctx context.Context, in *jobID) (*withStatus[Job], error) {
		job, err := a.Jobs.Cancel(ctx, in.ID)
		if err != nil {
			return nil, problemOf(err)
		}
		out := &withStatus[Job]{Status: http.StatusAccepted, Body: shown(job)}
		switch {
		case job.State == checkpoint.JobCanceled:
			out.Status = http.StatusOK
		case job.State.Over():
			p := problem(http.StatusConflict, "ACQ-API-012", "the job is over: "+string(job.State), "")
			p.Job = &out.Body
			return nil, p
		}
		return out, nil
	})
	a.events()
}

// How often the events of a job come at most, and at least: who waits in between knows that the connection stands.
const (
	eventPause = 200 * time.Millisecond
	eventBeat  = 15 * time.Second
)

func (a *API) events() {
	schemas := a.huma.OpenAPI().Components.Schemas
	register(a, huma.Operation{
		OperationID: "job events", Method: http.MethodGet, Path: jobPath + "{id}/events", Summary: "What becomes of a job, as it happens", Tags: []string{"jobs"},
		DefaultStatus: http.StatusOK,
		Description:   "Server-sent events. Each `progress` is the job as it is then, the first at once; `end` is the job when it is over, and the last.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{
				Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeObject, Required: []string{"event", "data"}, Properties: map[string]*huma.Schema{
					"event": {Type: huma.TypeString, Enum: []any{"progress", "end"}}, "data": huma.SchemaFromType(schemas, reflect.TypeFor[Job]()),
				}},
			}}},
		}},
	}, nil, func(ctx context.Context, in *jobID) (*huma.StreamResponse, error) {
		if _, _, err := a.Jobs.Look(ctx, in.ID); err != nil {
			return nil, problemOf(err)
		}
		return &huma.StreamResponse{Body: func(h huma.Context) {
			_, w := humachi.Unwrap(h)
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("X-Accel-Buffering", "no")
			a.stream(ctx, w, in.ID)
		}}, nil
	})
}

// stream sends a job whenever it has changed, until it is over or who listens has gone.
func (a *API) stream(ctx context.Context, w http.ResponseWriter, id string) {
	control := http.NewResponseController(w)
	send := func(text []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(eventBeat)) // what cannot be set has none
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	beat := time.NewTicker(eventBeat)
	defer beat.Stop()
	for n := 1; ; n++ {
		job, changed, err := a.Jobs.Look(ctx, id)
		if err != nil {
			return
		}
		event := "progress"
		if job.State.Over() {
			event = "end"
		}
		data, err := json.Marshal(shown(job))
		if err != nil || !send(fmt.Appendf(nil, "id: %d\nevent: %s\ndata: %s\n\n", n, event, bytes.TrimSpace(data))) || event == "end" {
			return
		}
		if !rest(ctx, eventPause) {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-changed:
				waiting = false
			case <-beat.C:
				if !send([]byte(": still there\n\n")) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// rest waits; false: ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
