package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/blob"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/jobs"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
)

// Project is what configuration files declare: decoded, and checked as far as it can be before anything runs.
type Project struct {
	State     string      // folder of the state
	Shared    SharedState // by which several processes share the state; zero: it is a file in the folder
	Reports   string      // folder of the reports of migrations; "": none are written
	Memory    int64       // target for the process, in bytes
	Pipelines []*Declared
	API       config.API
	Schedule  config.Schedule
	Files     []string // that were read for it, and that its settings name
	Backup    *config.Backup
	backups   string        // folder of the backups
	sources   []*SourcePart // all that are declared
	plugins   catalog.Catalog
	whole     []*Declared // all pipelines, where only some are to run; nil: Pipelines are all
	files     []*config.File
}

// Declared is a pipeline as a file declares it.
type Declared struct {
	Name     string
	Source   *SourcePart
	Sinks    []*SinkPart
	In, Out  []*record.Schema // of the source's streams and of what reaches the sinks; none: not known before it runs
	Steps    []StepPart
	asked    []string            // what the source says of its streams when it is connected to
	surveyed map[string][]string // by sink: what it would make, when it is connected to
	pipeline *config.Pipeline
	half     *SourcePart // the source, when it has mistakes: Source is nil then
}

// SourcePart is a declared source with its settings.
type SourcePart struct {
	Name     string
	Plugin   sources.Plugin
	Settings any
	block    *config.Block
}

// SinkPart is a declared sink with its settings.
type SinkPart struct {
	Name     string
	Plugin   sinks.Plugin
	Settings any
	block    *config.Block
}

// StepPart is a declared step.
type StepPart struct {
	Name string           // its type, with a number from the second of a type on
	Out  []*record.Schema // what it makes of the schemas; none: not known
	Text string           // its settings
	key  bool             // it uses the key of the state directory

	routes []handlers.Route
}

// located is a plugin's configuration that holds paths: those that are relative start at the file's folder.
type located interface{ Locate(folder string) }

// remembering is a plugin's configuration that keeps what it finds out, in a folder of its own in the state directory.
type remembering interface{ Remember(folder string) }

// placeholder stands for the key of the state directory while a pipeline is only checked.
const placeholder = "0123456789abcdef0123456789abcdef"

// LoadProject reads files and folders of files and checks all of it against the plugins there are: the problems hold
// every mistake. The error is of files that cannot be read, or of ctx.
func LoadProject(ctx context.Context, plugins catalog.Catalog, paths []string, lookup func(string) (string, bool)) (*Project, config.Problems, error) {
	files, problems, err := config.Load(paths, lookup)
	if err != nil {
		return nil, nil, err
	}
	project, problems := newProject(ctx, plugins, files, problems)
	if ctx.Err() != nil { // what could not be looked at is no mistake of the files
		return nil, nil, ctx.Err()
	}
	return project, problems, nil
}

func newProject(ctx context.Context, plugins catalog.Catalog, files []*config.File, problems config.Problems) (*Project, config.Problems) {
	c := newChecker(&Project{Memory: memory, plugins: plugins}, problems)
	c.project.files = files
	for _, f := range files {
		c.file(f)
	}
	c.flows(ctx)
	for _, part := range c.sinks {
		if part.Plugin.Check != nil {
			c.add(part.block.PlaceBut(part.Plugin.Check(part.Settings, distinct(c.fed[part])), c.doubts[part].explain)...)
		}
	}
	c.cycles()
	c.shared()
	c.problems.Sort()
	return c.project, c.problems
}

// LakePart is a lake that pipelines feed.
type LakePart struct {
	Sink, Root string
	Config     *lake.Config // nil: the one of the state directory
}

// Bucket is where it is.
func (l LakePart) Bucket(ctx context.Context) (blob.Bucket, error) {
	if l.Config == nil {
		return blob.Within(l.Root), nil
	}
	return l.Config.Bucket(ctx)
}

// Lakes gives the lakes in the order of the files.
func (p *Project) Lakes() ([]LakePart, error) {
	var out []LakePart
	for _, d := range p.Pipelines {
		for _, part := range d.Sinks {
			c, ok := part.Settings.(*lake.Config)
			if !ok || slices.ContainsFunc(out, func(l LakePart) bool { return l.Sink == part.Name }) {
				continue
			}
			root, err := c.Root()
			if err != nil {
				return nil, err
			}
			out = append(out, LakePart{part.Name, root, c})
		}
	}
	return out, nil
}

// ErrNoLake says that no pipeline feeds a lake.
var ErrNoLake = errors.New("no pipeline of the file feeds a lake")

// Lake gives a lake that pipelines feed: of the named sink, or of the only one.
func (p *Project) Lake(sink string) (LakePart, error) {
	lakes, err := p.Lakes()
	if err != nil {
		return LakePart{}, err
	}
	if sink != "" {
		lakes = slices.DeleteFunc(lakes, func(l LakePart) bool { return l.Sink != sink })
	}
	if len(lakes) == 1 {
		return lakes[0], nil
	}
	if len(lakes) == 0 && sink == "" {
		return LakePart{}, &fault.Error{Code: "ACQ-USE-004", Err: ErrNoLake, Remedy: "name a file with a lake, or a demo's directory with --dir"}
	}
	known := names(lakes, func(l LakePart) string { return l.Sink })
	return LakePart{}, &fault.Error{
		Code: "ACQ-USE-004", Place: sink, Err: fmt.Errorf("there are %d lakes: %s", len(lakes), strings.Join(known, ", ")),
		Remedy: "name the one with --sink",
	}
}

// follows says whether a pipeline that reads a database follows it between jobs.
func (p *Project) follows(d *Declared) bool {
	if f := d.pipeline.Follow; f != nil {
		return *f
	}
	return !slices.ContainsFunc(p.Schedule.Jobs, func(e config.Entry[config.Timed]) bool { return e.Value.Do == jobs.KindSync })
}

// find gives a pipeline by its name.
func (p *Project) find(pipeline string) (*Declared, error) {
	known := make([]string, len(p.Pipelines))
	for i, d := range p.Pipelines {
		if d.Name == pipeline {
			return d, nil
		}
		known[i] = d.Name
	}
	return nil, noPipeline(pipeline, known)
}

func noPipeline(name string, known []string) error {
	return &fault.Error{
		Code: "ACQ-USE-005", Place: name, Err: errors.New("there is no pipeline of this name"), Remedy: "use one of: " + strings.Join(known, ", "),
	}
}

// handlers makes the steps of a pipeline that is to run.
func (d *Declared) handlers(plugins catalog.Catalog, key config.Secret) ([]routers.Step, error) {
	out := make([]routers.Step, len(d.Steps))
	for i, b := range d.pipeline.Steps {
		plugin, err := plugins.Handler(b.Type)
		if err != nil {
			return nil, err
		}
		h, _, problems := made(plugin, b, key)
		if problems.Errors() {
			return nil, problems
		}
		out[i] = routers.Step{Name: d.Steps[i].Name, Handler: h}
	}
	return out, nil
}
