package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/acequia-io/acequia/internal/jobs"
)

// Health is what /health answers, always with 200.
type Health struct {
	Status  string           `json:"status" enum:"ok,degraded"`
	Version string           `json:"version"`
	Checks  map[string]Check `json:"checks" doc:"by the kind of the server: mysql, postgresql, mongodb, s3, dynamodb, as far as pipelines use them"`
}

// Check is whether a server can be used.
type Check struct {
	Status  string  `json:"status" enum:"ok,error"`
	Latency float64 `json:"latency_ms"`
	Error   string  `json:"error,omitempty"`
	Code    string  `json:"code,omitempty"`
	Remedy  string  `json:"remedy,omitempty"`
}

// Readiness is what /readyz answers: 200, or 503 with what is not well.
type Readiness struct {
	Ready   bool          `json:"ready"`
	AtFault []AtFaultLine `json:"at_fault,omitempty" nullable:"false"`
}

// AtFaultLine names a pipeline or a server that is not well.
type AtFaultLine struct {
	Pipeline string `json:"pipeline,omitempty"`
	Server   string `json:"server,omitempty"`
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"`
}

// Alive is what /livez answers.
type Alive struct {
	Alive bool `json:"alive"`
}

type answer[T any] struct{ Body T }

type withStatus[T any] struct {
	Status int
	Body   T
}

func (a *API) health() {
	register(a, huma.Operation{
		OperationID: "health", Method: http.MethodGet, Path: "/health", Summary: "Whether every server that pipelines need can be used", Tags: []string{"health"},
		DefaultStatus: http.StatusOK, Description: "Always 200, within two seconds.",
	}, nil, func(ctx context.Context, _ *struct{}) (*answer[Health], error) {
		out := Health{Status: "ok", Version: a.Version, Checks: map[string]Check{}}
		for name, c := range a.Health(ctx) {
			one := Check{Status: c.Status, Latency: c.Latency}
			if c.Status != jobs.OK {
				out.Status = "degraded"
			}
			if t := c.Trouble; t != nil && callerOf(ctx).Right >= Read { // others are told that, and not why
				one.Error, one.Code, one.Remedy = t.Reason, t.Code, t.Remedy
				if t.Place != "" {
					one.Error = t.Place + ": " + t.Reason
				}
			}
			out.Checks[name] = one
		}
		return &answer[Health]{out}, nil
	})
	register(a, huma.Operation{
		OperationID: "readyz", Method: http.MethodGet, Path: "/readyz", Summary: "Whether all is well", Tags: []string{"health"}, DefaultStatus: http.StatusOK,
		Description: "503 while a pipeline is not well or a server cannot be used, with which and why.",
	}, []int{http.StatusServiceUnavailable}, func(ctx context.Context, _ *struct{}) (*withStatus[Readiness], error) {
		out := &withStatus[Readiness]{Status: http.StatusOK, Body: a.readiness(ctx)}
		if !out.Body.Ready {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	})
	register(a, huma.Operation{
		OperationID: "livez", Method: http.MethodGet, Path: "/livez", Summary: "Whether the process lives", Tags: []string{"health"}, DefaultStatus: http.StatusOK,
	}, nil, func(context.Context, *struct{}) (*answer[Alive], error) { return &answer[Alive]{Alive{true}}, nil })
}

func (a *API) readiness(ctx context.Context) Readiness {
	var at []AtFaultLine
	for _, p := range a.Pipelines(ctx) {
		if !p.Ready {
			at = append(at, AtFaultLine{Pipeline: p.Name, State: p.State, Reason: told(ctx, p.Reason)})
		}
	}
	for name, c := range a.Health(ctx) {
		if c.Status != jobs.OK {
			at = append(at, AtFaultLine{Server: name, State: c.Status, Reason: told(ctx, c.Trouble.Reason)})
		}
	}
	return Readiness{Ready: len(at) == 0, AtFault: at}
}

// told is a reason for who may read; others are told that, and not why.
func told(ctx context.Context, reason string) string {
	if callerOf(ctx).Right < Read {
		return ""
	}
	return reason
}

// Livez answers that the process lives, also where there is no API yet.
func Livez(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte("{\"alive\":true}\n")) // a client that has gone needs no answer
}
