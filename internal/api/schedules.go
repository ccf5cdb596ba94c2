package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/jobs"
)

// Schedules begins jobs at their times.
type Schedules interface {
	List(ctx context.Context) ([]jobs.Entry, error)
	Begin(ctx context.Context, name, by string) (job checkpoint.Job, begun bool, err error)
	Pause(ctx context.Context, name string, paused bool) error
}

// ScheduleList is what /v1/schedules answers.
type ScheduleList struct {
	Schedules []jobs.Entry `json:"schedules" nullable:"false"`
}

type scheduleName struct {
	Name string `path:"name" maxLength:"63" example:"sync"`
}

func (a *API) schedules() {
	register(a, huma.Operation{
		OperationID: "list schedules", Method: http.MethodGet, Path: "/v1/schedules", Summary: "The jobs that begin by themselves", Tags: []string{"jobs"},
		DefaultStatus: http.StatusOK,
	}, nil, func(ctx context.Context, _ *struct{}) (*answer[ScheduleList], error) { return a.listed(ctx) })
	register(a, huma.Operation{
		OperationID: "run schedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/run", Summary: "Begin a scheduled job now", Tags: []string{"jobs"},
		DefaultStatus: http.StatusAccepted,
	}, nil, func(ctx context.Context, in *scheduleName) (*ordered, error) {
		job, begun, err := a.Schedules.Begin(ctx, in.Name, callerOf(ctx).Name)
		if err != nil {
			return nil, problemOf(err)
		}
		if !begun {
			return nil, goesOn(job)
		}
		return &ordered{Status: http.StatusAccepted, Location: jobPath + job.ID, Body: shown(job)}, nil
	})
	for name, paused := range map[string]bool{"pause": true, "resume": false} {
		summary := "Let a scheduled job begin at its times again; what was due meanwhile was not missed"
		if paused {
			summary = "Let a scheduled job begin no more"
		}
		register(a, huma.Operation{
			OperationID: name + " schedule", Method: http.MethodPost, Path: "/v1/schedules/{name}/" + name, Summary: summary, Tags: []string{"jobs"},
			DefaultStatus: http.StatusOK,
		}, nil, func(ctx context.Context, in *scheduleName) (*answer[ScheduleList], error) {
			if err := a.Schedules.Pause(ctx, in.Name, paused); err != nil {
				return nil, problemOf(err)
			}
			return a.listed(ctx)
		})
	}
}

func (a *API) listed(ctx context.Context) (*answer[ScheduleList], error) {
	all, err := a.Schedules.List(ctx)
	if err != nil {
		return nil, problemOf(err)
	}
	return &answer[ScheduleList]{ScheduleList{all}}, nil
}
