package app

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/internal/web"
	"github.com/acequia-io/acequia/routers"
)

// site makes what a service shows: its forms, the query page over its lakes, the state of its pipelines, metrics. The
// engine is the caller's to close.
func (s *Service) site(version string) (http.Handler, *query.Engine, error) {
	engine, err := s.engine()
	if err != nil {
		return nil, nil, err
	}
	registry := obs.NewRegistry(version)
	if err := registry.Register(newMetrics(s.Status)); err != nil {
		return nil, nil, err
	}
	health := s.newHealth()
	if s.jobs != nil {
		if err := registry.Register(newJobMetrics(s.jobs, health)); err != nil {
			return nil, nil, err
		}
	}
	pages, err := web.New(web.Config{
		Query: engine, Status: s.shown, Metrics: obs.Handler(registry), Letters: s.desk, CountLetters: s.state.SomeDeadLetters, Log: s.Log,
	})
	if err != nil {
		return nil, nil, err
	}
	site := pages.Routes(s.served...)
	if s.jobs == nil {
		return site, engine, nil
	}
	return api.New(api.Config{
		Version: version, Jobs: s.jobs, Work: s, Items: itemTables{s}, Backups: s, Health: health.look, Log: s.Log, Access: s.project.access(), Schedules: s.schedule,
		Pipelines: func(ctx context.Context) []api.Pipeline { return s.readiness(s.shown(ctx)) },
	}, site), engine, nil
}

// readiness is what /readyz says of the pipelines. What a job does with one, or failed to do, the job says.
func (s *Service) readiness(all []web.Pipeline) []api.Pipeline {
	out := make([]api.Pipeline, len(all))
	for i, p := range all {
		out[i] = api.Pipeline{Name: p.Name, State: string(p.State), Reason: p.Reason, Ready: p.State.Ready() || s.turns[i] != nil && s.turns[i].works()}
	}
	return out
}

// engine makes the engine that asks the lakes. A project without one has no tables.
func (s *Service) engine() (*query.Engine, error) {
	lakes, err := s.project.Lakes()
	if err != nil {
		return nil, err
	}
	if local := slices.DeleteFunc(slices.Clone(lakes), func(l LakePart) bool { // the others cannot be asked: the engine says so
		_, _, remote := blob.ParseURL(l.Root)
		return remote
	}); len(local) > 0 {
		lakes = local
	}
	c := query.Config{Lake: s.dir.Lake()}
	for i, l := range lakes {
		if i == 0 {
			c.Lake = l.Root
			continue
		}
		root, err := filepath.Abs(l.Root)
		if err != nil {
			return nil, err
		}
		c.Also = append(c.Also, root)
	}
	if len(lakes) > 1 {
		c.Catalog = func(ctx context.Context, first string) ([]query.LakeTable, error) {
			return tablesOfLakes(ctx, append([]string{first}, c.Also...))
		}
	}
	return query.New(c)
}

// tablesOfLakes gives the tables of several lakes. Of two with one name the first lake's is given.
func tablesOfLakes(ctx context.Context, lakes []string) ([]query.LakeTable, error) {
	var out []query.LakeTable
	for _, lake := range lakes {
		tables, err := query.DescribedTables(ctx, lake)
		if err != nil {
			return nil, err
		}
		for _, t := range tables {
			if slices.ContainsFunc(out, func(o query.LakeTable) bool { return o.Name == t.Name }) {
				continue
			}
			t.Folder = filepath.Join(lake, t.Name)
			out = append(out, t)
		}
	}
	return out, nil
}

// shown gives the status of the runs as the pages show it, with the dead letters of all time.
func (s *Service) shown(ctx context.Context) []web.Pipeline {
	out := make([]web.Pipeline, len(s.runs))
	for i := range s.runs {
		out[i] = shown(s.status(i))
		if t := s.turns[i]; t != nil && t.rests() {
			out[i].State = web.Resting
		}
		if n, err := s.state.CountDeadLetters(ctx, out[i].Name); err == nil {
			out[i].DeadLetters = n
		}
	}
	return out
}

func shown(s routers.Status) web.Pipeline {
	p := web.Pipeline{
		Name: s.Pipeline, State: web.State(s.State), Holder: s.Holder, Reason: s.Reason, Rows: s.RowsCommitted, RowsPerSecond: s.RowsPerSecond,
		LastCommit: s.LastCommit, DeadLetters: s.DeadLetters, Unrouted: s.Unrouted,
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
	if loss := s.Loss(); loss > 0 {
		p.Loss = &loss
	}
	p.Source = s.Source
	for _, l := range s.Lanes {
		lane := web.Lane{
			ID: l.ID, State: web.State(l.State), Reason: l.Reason, Code: l.Code, Since: l.Since, Rows: l.RowsCommitted, RowsPerSecond: l.RowsPerSecond,
			LastCommit: l.LastCommit, Holder: l.Holder,
		}
		if l.Lag != nil {
			lane.Lag, lane.LagRows = &l.Lag.Age, &l.Lag.Records
		}
		p.Lanes = append(p.Lanes, lane)
	}
	return p
}
