package app

import (
	"context"
	"net/http"

	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/routers"
)

// handler makes the site: the form, the pages, the metrics.
func (d *demo) handler() (http.Handler, error) {
	registry := obs.NewRegistry(d.Version)
	if err := registry.Register(newMetrics(d.runs)); err != nil {
		return nil, err
	}
	pages, err := web.New(web.Config{Query: d.engine, Status: d.pipelines, Metrics: obs.Handler(registry), Log: d.Log})
	if err != nil {
		return nil, err
	}
	return pages.Routes(d.form), nil
}

// pipelines gives the status of the runs as the pages show it, with the dead letters of all time.
func (d *demo) pipelines(ctx context.Context) []web.Pipeline {
	out := make([]web.Pipeline, len(d.runs))
	for i, run := range d.runs {
		out[i] = shown(run.Status())
		if n, err := d.state.CountDeadLetters(ctx, out[i].Name); err == nil {
			out[i].DeadLetters = n
		}
	}
	return out
}

func shown(s routers.Status) web.Pipeline {
	p := web.Pipeline{
		Name: s.Pipeline, State: web.State(s.State), Reason: s.Reason, Rows: s.RowsCommitted, RowsPerSecond: s.RowsPerSecond,
		LastCommit: s.LastCommit, DeadLetters: s.DeadLetters,
	}
	if s.State == routers.Waiting {
		p.State = web.Starting
	}
	if len(s.LastFiles) > 0 {
		p.LastFile = s.LastFiles[len(s.LastFiles)-1]
	}
	if s.Lag != nil {
		p.Lag, p.LagRows = &s.Lag.Age, &s.Lag.Records
	}
	return p
}
