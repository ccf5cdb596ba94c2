package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sinks/lake"
	"github.com/acequia-io/acequia/sources"
)

// Project is what configuration files declare: decoded, and checked as far as it can be before anything runs.
type Project struct {
	State     string // folder of the state
	Memory    int64  // target for the process, in bytes
	Pipelines []*Declared
	Files     []string // that were read for it, and that its settings name
	Backup    *config.Backup
	backups   string        // folder of the backups
	sources   []*SourcePart // all that are declared
	plugins   catalog.Catalog
	whole     []*Declared // all pipelines, where only some are to run; nil: Pipelines are all
}

// Declared is a pipeline as a file declares it.
type Declared struct {
	Name     string
	Source   *SourcePart
	Sinks    []*SinkPart
	In, Out  []*record.Schema // of the source's streams and of what reaches the sinks; none: not known before it runs
	Steps    []StepPart
	asked    []string // what the source says of its streams when it is connected to
	pipeline *config.Pipeline
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
// every mistake. The error is of files that cannot be read.
func LoadProject(ctx context.Context, plugins catalog.Catalog, paths []string, lookup func(string) (string, bool)) (*Project, config.Problems, error) {
	files, problems, err := config.Load(paths, lookup)
	if err != nil {
		return nil, nil, err
	}
	project, problems := newProject(ctx, plugins, files, problems)
	return project, problems, nil
}

func newProject(ctx context.Context, plugins catalog.Catalog, files []*config.File, problems config.Problems) (*Project, config.Problems) {
	c := checker{problems: problems, project: &Project{Memory: memory, plugins: plugins}, fed: map[*SinkPart][]*record.Schema{}}
	for _, f := range files {
		c.file(f)
	}
	c.flows(ctx)
	for _, part := range c.sinks {
		if part.Plugin.Check != nil {
			c.add(part.block.Place(part.Plugin.Check(part.Settings, distinct(c.fed[part])))...)
		}
	}
	c.cycles()
	c.problems.Sort()
	return c.project, c.problems
}

// LakePart is a lake that pipelines feed.
type LakePart struct{ Sink, Root string }

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
			out = append(out, LakePart{part.Name, root})
		}
	}
	return out, nil
}

// ErrNoLake says that no pipeline feeds a lake.
var ErrNoLake = errors.New("no pipeline of the file feeds a lake")

// Lake gives the folder of a lake that pipelines feed: of the named sink, or of the only one.
func (p *Project) Lake(sink string) (string, error) {
	lakes, err := p.Lakes()
	if err != nil {
		return "", err
	}
	if sink != "" {
		lakes = slices.DeleteFunc(lakes, func(l LakePart) bool { return l.Sink != sink })
	}
	if len(lakes) == 1 {
		return lakes[0].Root, nil
	}
	if len(lakes) == 0 && sink == "" {
		return "", &fault.Error{Code: "ACQ-USE-004", Err: ErrNoLake, Remedy: "name a file with a lake, or a demo's directory with --dir"}
	}
	known := names(lakes, func(l LakePart) string { return l.Sink })
	return "", &fault.Error{
		Code: "ACQ-USE-004", Place: sink, Err: fmt.Errorf("there are %d lakes: %s", len(lakes), strings.Join(known, ", ")),
		Remedy: "name the one with --sink",
	}
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

// checker gathers the problems of all files.
type checker struct {
	project  *Project
	problems config.Problems
	sinks    []*SinkPart
	fed      map[*SinkPart][]*record.Schema // what reaches each sink, as far as it is known
}

func (c *checker) add(p ...config.Problem) { c.problems = append(c.problems, p...) }

// file takes in what a file declares. The records are followed later: a pipeline may depend on one of another file.
func (c *checker) file(f *config.File) {
	folder := filepath.Dir(f.Path)
	c.project.Files = append(c.project.Files, f.Path)
	if c.project.State == "" {
		c.project.State = filepath.Join(folder, ".acequia")
		c.backup(config.NewBackup(), folder)
	}
	if f.Backup != nil {
		c.backup(f.Backup, folder)
	}
	if f.State != "" {
		c.project.State = f.State
		if !filepath.IsAbs(f.State) {
			c.project.State = filepath.Join(folder, f.State)
		}
	}
	if f.Memory > 0 {
		c.project.Memory = int64(f.Memory)
	}
	from := map[string]*SourcePart{}
	for _, e := range f.Sources {
		if part := c.source(e.Value, folder); part != nil {
			from[e.Name] = part
			c.project.sources = append(c.project.sources, part)
		}
	}
	to := map[string]*SinkPart{}
	for _, e := range f.Sinks {
		if part := c.sink(e.Value, folder); part != nil {
			to[e.Name] = part
			c.sinks = append(c.sinks, part)
		}
	}
	for _, p := range f.Pipelines {
		d := &Declared{Name: p.Name, Source: from[p.From.Name], pipeline: p}
		for _, r := range p.To {
			if part := to[r.Name]; part != nil {
				d.Sinks = append(d.Sinks, part)
			}
		}
		c.project.Pipelines = append(c.project.Pipelines, d)
	}
}

// backup takes in where backups are kept; a mistake in it was found before.
func (c *checker) backup(b *config.Backup, folder string) {
	if at, err := b.Folder(folder); err == nil {
		c.project.Backup, c.project.backups = b, at
	}
}

// distinct gives one schema a stream.
func distinct(in []*record.Schema) []*record.Schema {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(in), func(s *record.Schema) bool {
		again := seen[s.Stream]
		seen[s.Stream] = true
		return again
	})
}

// decode fills a plugin's settings.
func (c *checker) decode(b *config.Block, settings any, folder string) any {
	problems := b.Decode(settings)
	c.add(problems...)
	if problems.Errors() {
		return nil
	}
	if l, ok := settings.(located); ok {
		l.Locate(folder)
	}
	if n, ok := settings.(interface{ Files() []string }); ok {
		c.project.Files = append(c.project.Files, n.Files()...)
	}
	return settings
}

func (c *checker) source(b *config.Block, folder string) *SourcePart {
	plugin, err := c.project.plugins.Source(b.Type)
	if err != nil {
		c.add(b.UnknownType(names(c.project.plugins.Sources, func(p sources.Plugin) string { return p.Type })))
		return nil
	}
	settings := c.decode(b, plugin.Config(), folder)
	if settings == nil {
		return nil
	}
	if r, ok := settings.(remembering); ok {
		r.Remember(filepath.Join(c.project.State, "sources", b.Name))
	}
	return &SourcePart{Name: b.Name, Plugin: plugin, Settings: settings, block: b}
}

func (c *checker) sink(b *config.Block, folder string) *SinkPart {
	plugin, err := c.project.plugins.Sink(b.Type)
	if err != nil {
		c.add(b.UnknownType(names(c.project.plugins.Sinks, func(p sinks.Plugin) string { return p.Type })))
		return nil
	}
	settings := c.decode(b, plugin.Config(), folder)
	if settings == nil {
		return nil
	}
	return &SinkPart{Name: b.Name, Plugin: plugin, Settings: settings, block: b}
}

func names[P any](plugins []P, name func(P) string) []string {
	out := make([]string, len(plugins))
	for i, p := range plugins {
		out[i] = name(p)
	}
	return out
}

// pipeline checks the steps, and follows the schemas through them as far as they are known.
func (c *checker) pipeline(ctx context.Context, d *Declared) {
	from := d.Source
	if from != nil && from.Plugin.Schemas != nil {
		var err error
		if d.In, err = from.Plugin.Schemas(ctx, from.Settings); err != nil {
			c.add(from.block.Place(err)...)
		}
	}
	c.follow(d, d.In)
}

// follow makes the steps, and takes the schemas of the streams through them to the sinks.
func (c *checker) follow(d *Declared, in []*record.Schema) {
	d.In = in
	flowing := slices.Clone(in)
	for _, b := range d.pipeline.Steps {
		part := StepPart{Name: d.nameStep(b), Text: b.Text()}
		var h handlers.Handler
		var problems config.Problems
		h, part.key, problems = step(c.project.plugins, b, placeholder)
		c.add(problems...)
		if h == nil {
			d.Steps, flowing = append(d.Steps, part), nil // what comes after cannot be told
			continue
		}
		shaped := make([]*record.Schema, 0, len(flowing))
		for _, s := range flowing {
			out, err := shape(h, s)
			c.add(b.Place(err)...)
			if err == nil && out != nil {
				shaped = append(shaped, out)
			}
		}
		flowing = shaped
		part.Out = shaped
		part.routes = c.routes(d.pipeline, b, h)
		d.Steps = append(d.Steps, part)
	}
	d.Out = flowing
	for _, part := range d.Sinks {
		c.fed[part] = append(c.fed[part], d.Out...)
	}
}

// shape gives what a handler makes of a schema; nil without an error: it cannot tell.
func shape(h handlers.Handler, s *record.Schema) (*record.Schema, error) {
	shaper, ok := h.(handlers.Shaper)
	if !ok {
		return nil, nil //nolint:nilnil // said in the comment
	}
	return shaper.Shape(s)
}

// keyed is a handler's configuration that may need the key of the state directory.
type keyed interface {
	NeedsKey() bool
	UseKey(key config.Secret)
}

// step makes the handler of a step, and says whether it uses the key.
func step(plugins catalog.Catalog, b *config.Block, key config.Secret) (h handlers.Handler, usesKey bool, problems config.Problems) {
	plugin, err := plugins.Handler(b.Type)
	if err != nil {
		return nil, false, config.Problems{b.UnknownType(names(plugins.Handlers, func(p handlers.Plugin) string { return p.Type }))}
	}
	settings := plugin.Config()
	if problems = b.Decode(settings); problems.Errors() {
		return nil, false, problems
	}
	if k, ok := settings.(keyed); ok && k.NeedsKey() {
		k.UseKey(key)
		usesKey = true
	}
	if h, err = plugin.New(settings); err != nil {
		return nil, usesKey, append(problems, b.Place(err)...)
	}
	return h, usesKey, problems
}

// nameStep gives a step a name that no earlier one has.
func (d *Declared) nameStep(b *config.Block) string {
	name := b.Type
	for n := 2; slices.ContainsFunc(d.Steps, func(s StepPart) bool { return s.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", b.Type, n)
	}
	return name
}

// handlers makes the steps of a pipeline that is to run.
func (d *Declared) handlers(plugins catalog.Catalog, key config.Secret) ([]routers.Step, error) {
	out := make([]routers.Step, len(d.Steps))
	for i, b := range d.pipeline.Steps {
		h, _, problems := step(plugins, b, key)
		if problems.Errors() {
			return nil, problems
		}
		out[i] = routers.Step{Name: d.Steps[i].Name, Handler: h}
	}
	return out, nil
}
