package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/schemas"
	lakesink "github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources/lake"
)

// ReplayOptions say what is replayed.
type ReplayOptions struct {
	Pipeline string
	Lake     string   // its folder, or file:///dir
	Tables   []string // names or patterns; none: those of the pipeline's streams
	Where    string   // CEL
	From, To string   // times of the events
}

// Replayed tells how a replay went.
type Replayed struct {
	Pipeline    string   `json:"pipeline"`
	ID          string   `json:"id"`
	Run         int      `json:"run"`
	Resumed     bool     `json:"resumed"` // a run that was cut off went on
	Files       int      `json:"files"`
	Read        int64    `json:"rows_read"`    // by this process
	Done        int64    `json:"rows_done"`    // by this process: durable, or left out by a step; no dead letters
	Total       int64    `json:"rows_total"`   // of the run, dead letters among them
	DeadLetters int64    `json:"dead_letters"` // new ones
	Doubled     []string `json:"doubled,omitempty"`
}

// Replay is a pipeline that is about to read a lake in the place of its source.
type Replay struct {
	Doubled []string // tables that are read, and written again: their raw rows double, their latest view stays right

	service  *Service
	state    *blob.Dir
	record   *jobs.ReplayRun
	run      *routers.Run // nil: there is nothing to read
	pipeline string
}

// replaySource makes the source of a replay, and checks that the pipeline's steps can take its records.
func (s *Service) replaySource(ctx context.Context, d *Declared, whole routers.Pipeline, o ReplayOptions) (*lake.Source, error) {
	c := lake.Config{URL: o.Lake, Tables: o.Tables, Where: o.Where, From: o.From, To: o.To}
	if len(c.Tables) == 0 && len(d.In) > 0 {
		var err error
		if c.Tables, err = tablesOf(ctx, c, d.In); err != nil {
			return nil, inFlags(err)
		}
	}
	from, err := lake.New(c)
	if err != nil {
		return nil, inFlags(err)
	}
	from.Rename(d.In)
	in, err := from.Describe(ctx)
	if err != nil {
		return nil, inFlags(err)
	}
	for _, schema := range in {
		for _, step := range whole.Steps {
			out, err := shape(step.Handler, schema)
			if err != nil {
				return nil, &fault.Error{
					Code: "ACQ-USE-010", Place: schema.Stream, Err: fmt.Errorf("step %s cannot take the records of this lake: %w", step.Name, err),
					Remedy: "name a lake that holds what the pipeline's source gives, before its steps",
				}
			}
			if out == nil {
				break
			}
			schema = out
		}
	}
	return from, nil
}

// tablesOf gives the tables of a lake that hold the streams of a pipeline.
func tablesOf(ctx context.Context, of lake.Config, streams []*record.Schema) ([]string, error) {
	from, err := lake.New(lake.Config{URL: of.URL, AWS: of.AWS, Owner: of.Owner})
	if err != nil {
		return nil, err
	}
	tables, err := from.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var names, others []string
	for name, t := range tables {
		if slices.ContainsFunc(streams, func(s *record.Schema) bool { return s.Stream == t.Stream }) {
			names = append(names, name)
		} else {
			others = append(others, name+" (of "+t.Stream+")")
		}
	}
	slices.Sort(names)
	slices.Sort(others)
	if len(names) == 0 {
		return nil, &fault.Error{
			Code: "ACQ-USE-011", Place: from.Root(), Err: fmt.Errorf("the lake has no table of the pipeline's streams, but %s", cmp.Or(strings.Join(others, ", "), "none at all")),
			Remedy: "name another lake, or its tables with --table",
		}
	}
	return names, nil
}

// inFlags says a mistake in the settings of the source as one in the flags that they came from.
func inFlags(err error) error {
	if fault.Code(err) != "" && !strings.HasPrefix(fault.Code(err), "ACQ-LAKE-030") {
		return err
	}
	flags := map[string]string{"url": "--from-lake", "tables": "--table", "where": "--where", "from": "--from", "to": "--to"}
	place := "--from-lake"
	if e, ok := errors.AsType[*config.FieldError](err); ok && len(e.Path) > 0 {
		place = flags[e.Path[0]]
	}
	return &fault.Error{Code: "ACQ-USE-009", Place: place, Err: err, Remedy: "acequia replay --help shows examples"}
}

// Replay prepares one: what it reads is fixed now, or was when a run of the same was cut off.
func (s *Service) Replay(ctx context.Context, o ReplayOptions) (*Replay, error) {
	d, whole, err := s.whole(ctx, o.Pipeline)
	if err != nil {
		return nil, err
	}
	from, err := s.replaySource(ctx, d, whole, o)
	if err != nil {
		return nil, err
	}
	r := &Replay{service: s, pipeline: d.Name}
	if r.Doubled, err = doubled(ctx, d, from); err != nil {
		return nil, err
	}
	if r.state, err = blob.Open(s.project.State); err != nil {
		return nil, err
	}
	root, err := absolute(from.Root())
	if err != nil {
		return nil, err
	}
	asked := append([]string{d.Name, root, o.Where, o.From, o.To}, o.Tables...)
	if r.record, err = jobs.BeginReplay(ctx, r.state, asked, func() ([]lake.File, error) { return from.Files(ctx) }); err != nil {
		return nil, err
	}
	if len(r.record.Files) > 0 {
		r.run, err = s.runOf(jobs.Replay(whole, from, r.record), "replay")
	}
	return r, err
}

// whole connects all parts of a declared pipeline.
func (s *Service) whole(ctx context.Context, name string) (*Declared, routers.Pipeline, error) {
	d, err := s.project.find(name)
	if err != nil {
		return nil, routers.Pipeline{}, err
	}
	key, err := s.key(ctx)
	if err != nil {
		return nil, routers.Pipeline{}, err
	}
	p, err := s.pipeline(ctx, d, key)
	return d, p, err
}

// migrateJob is the job that reads the lanes of a pipeline in its place.
const migrateJob = "migrate"

// runOf prepares a run of a pipeline beside those that the service began with; job is why, "" for its own work.
func (s *Service) runOf(p routers.Pipeline, job string) (*routers.Run, error) {
	options := routers.Options{Store: s.state, Budget: s.budget, Log: s.Log}
	s.shared(p.Name, job, &options)
	if job != "" {
		options.Log = s.Log.With(slog.String("job", job))
	}
	if s.Wire != nil {
		s.Wire(&p, &options)
	}
	return routers.New(p, options)
}

// doubled gives the tables that the pipeline would write to and that are read.
func doubled(ctx context.Context, d *Declared, from *lake.Source) ([]string, error) {
	tables, err := from.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, part := range d.Sinks {
		c, ok := part.Settings.(*lakesink.Config)
		if !ok {
			continue
		}
		if same, err := sameLake(c, from.Root()); err != nil || !same {
			continue
		}
		for name, t := range tables {
			if cmp.Or(c.TableName[t.Stream], schemas.LakeName(t.Stream)) == name {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// loops says that a pipeline from a lake would read what it writes, without an end.
func loops(ctx context.Context, d *Declared) error {
	if d.Source == nil {
		return nil
	}
	c, ok := d.Source.Settings.(*lake.Config)
	if !ok {
		return nil
	}
	from, err := lake.New(*c)
	if err != nil {
		return nil //nolint:nilerr // it was told of the source
	}
	if _, _, remote := blob.ParseURL(from.Root()); remote { // nothing connects yet, so that its tables are not known
		for _, part := range d.Sinks {
			if to, ok := part.Settings.(*lakesink.Config); ok {
				if same, err := sameLake(to, from.Root()); err == nil && same {
					return errors.New("this lake is read and written: acequia replay does that, once")
				}
			}
		}
		return nil
	}
	tables, err := doubled(ctx, d, from)
	if err != nil || len(tables) == 0 {
		return nil //nolint:nilerr // as above
	}
	return fmt.Errorf("%s is read from this lake and written to it: acequia replay does that, once", strings.Join(tables, ", "))
}

// sameLake says whether a sink writes to a lake.
func sameLake(c *lakesink.Config, root string) (bool, error) {
	to, err := c.Root()
	if err != nil {
		return false, err
	}
	a, errA := absolute(to)
	b, errB := absolute(root)
	return a == b, errors.Join(errA, errB)
}

// Status tells how far it is.
func (r *Replay) Status() []routers.Status {
	if r.run == nil {
		return nil
	}
	return []routers.Status{r.run.Status()}
}

// Run reads all there is to read. It may be cut off at any moment: asked for in the same words it goes on where it was,
// and when it had ended it is done once more.
func (r *Replay) Run(ctx context.Context) (Replayed, error) {
	out := Replayed{
		Pipeline: r.pipeline, ID: r.record.ID, Run: r.record.Run, Resumed: r.record.Resumed, Files: len(r.record.Files), Doubled: r.Doubled,
	}
	if r.run != nil {
		err := r.run.Run(ctx)
		status := r.run.Status()
		out.Read, out.DeadLetters, out.Done = status.RowsRead, status.DeadLetters, status.RowsCommitted-status.RowsRefused
		if err = errors.Join(err, ctx.Err()); err != nil {
			return out, err
		}
	}
	lanes, err := r.service.state.Lanes(context.WithoutCancel(ctx), r.pipeline)
	if err != nil {
		return out, err
	}
	for _, l := range lanes {
		if r.record.Of(l.ID) {
			out.Total += l.Rows
		}
	}
	return out, jobs.EndReplay(ctx, r.state, r.record)
}
