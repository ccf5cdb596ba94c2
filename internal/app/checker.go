package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks"
	"github.com/acequia-io/acequia/sources"
)

// checker gathers the problems of all files.
type checker struct {
	project  *Project
	problems config.Problems
	sinks    []*SinkPart
	fed      map[*SinkPart][]*record.Schema // what reaches each sink, as far as it is known
	doubts   map[*SinkPart]doubts           // the columns of it that mistakes elsewhere leave unclear
}

func newChecker(p *Project, problems config.Problems) checker {
	return checker{
		project: p, problems: problems,
		fed: map[*SinkPart][]*record.Schema{}, doubts: map[*SinkPart]doubts{},
	}
}

// doubts are the words of settings with mistakes: what names one of them later may only follow from that mistake.
type doubts map[string]bool

// add takes the words of a text in, but for numbers and row, which is what expressions call the record.
func (d doubts) add(text string) {
	for _, word := range words(text) {
		if word != "row" && !unicode.IsDigit(rune(word[0])) {
			d[word] = true
		}
	}
}

// explain says whether a mistake of this setting may follow from an earlier one.
func (d doubts) explain(path, text string, _ bool) bool {
	return slices.ContainsFunc(words(path+" "+text), func(word string) bool { return d[word] })
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

func (c *checker) add(p ...config.Problem) { c.problems = append(c.problems, p...) }

// also adds those whose place has no mistake yet.
func (c *checker) also(p config.Problems) { c.add(c.problems.Beside(p)...) }

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
	if at := f.State.Folder; at != "" {
		c.project.State = at
		if !filepath.IsAbs(at) {
			c.project.State = filepath.Join(folder, at)
		}
	}
	if f.State.DSN != "" || f.State.Table != "" {
		c.project.Shared = SharedState{DSN: f.State.DSN, Table: f.State.Table, AWS: f.State.AWS}
	}
	if !reflect.ValueOf(f.API).IsZero() {
		c.project.API = f.API
	}
	if len(f.Schedule.Jobs) > 0 {
		c.project.Schedule = f.Schedule
	}
	if f.Reports != "" {
		c.project.Reports = f.ReportsAt()
	}
	if f.Memory > 0 {
		c.project.Memory = int64(f.Memory)
	}
	from, halves := map[string]*SourcePart{}, map[string]*SourcePart{}
	for _, e := range f.Sources {
		if part, sound := c.source(e.Value, folder); sound {
			from[e.Name] = part
			c.project.sources = append(c.project.sources, part)
		} else {
			halves[e.Name] = part
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
		d := &Declared{Name: p.Name, Source: from[p.From.Name], pipeline: p, half: halves[p.From.Name]}
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

// decode fills a plugin's settings; sound says that they have no mistake.
func (c *checker) decode(b *config.Block, settings any, folder string) (sound bool) {
	problems := b.Decode(settings)
	c.add(problems...)
	if l, ok := settings.(located); ok {
		l.Locate(folder)
	}
	if problems.Errors() {
		return false
	}
	if n, ok := settings.(interface{ Files() []string }); ok {
		c.project.Files = append(c.project.Files, n.Files()...)
	}
	return true
}

// meant gives the plugin of a type, or the one that was probably meant: then exact is false, and the mistake is added.
func meant[P any](c *checker, b *config.Block, all []P, typeOf func(P) string) (plugin P, exact, found bool) {
	known := names(all, typeOf)
	wanted := b.Type
	if exact = slices.Contains(known, wanted); !exact {
		c.add(b.UnknownType(known))
		wanted = config.Nearest(wanted, known)
	}
	at := slices.Index(known, wanted)
	if at < 0 {
		return plugin, false, false
	}
	return all[at], exact, true
}

func (c *checker) source(b *config.Block, folder string) (part *SourcePart, sound bool) {
	plugin, exact, found := meant(c, b, c.project.plugins.Sources, func(p sources.Plugin) string { return p.Type })
	if !found {
		return nil, false
	}
	settings := plugin.Config()
	sound = c.decode(b, settings, folder) && exact
	if r, ok := settings.(remembering); ok {
		r.Remember(filepath.Join(c.project.State, "sources", b.Name))
	}
	return &SourcePart{Name: b.Name, Plugin: plugin, Settings: settings, block: b}, sound
}

func (c *checker) sink(b *config.Block, folder string) *SinkPart {
	plugin, exact, found := meant(c, b, c.project.plugins.Sinks, func(p sinks.Plugin) string { return p.Type })
	if !found {
		return nil
	}
	settings := plugin.Config()
	if !c.decode(b, settings, folder) || !exact {
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
	var in []*record.Schema
	unclear := doubts{}
	if from := cmp.Or(d.Source, d.half); from != nil && from.Plugin.Schemas != nil {
		var err error
		in, err = from.Plugin.Schemas(ctx, from.Settings)
		if d.Source != nil {
			c.add(from.block.Place(err)...)
		} else { // what is missing may be what has a mistake
			c.also(from.block.PlaceBut(err, func(_, _ string, stands bool) bool { return !stands }))
		}
		for _, path := range failed(from.block, err) {
			unclear.add(path[strings.LastIndex(path, ".")+1:])
		}
	}
	c.follow(d, in, unclear)
}

// follow makes the steps, and takes the schemas of the streams through them to the sinks. A step with mistakes does not hide
// those of later steps: they are shown unless they may come from it, or from what is unclear of the source.
func (c *checker) follow(d *Declared, in []*record.Schema, unclear doubts) {
	d.In = in
	flowing, whole := slices.Clone(in), d.half == nil && len(unclear) == 0
	sound := whole
	for _, b := range d.pipeline.Steps {
		part := StepPart{Name: d.nameStep(b), Text: b.Text()}
		h, usesKey, known := c.step(b)
		part.key = usesKey
		if h == nil {
			sound = false
			unclear.add(part.Text)
			if !known || slices.ContainsFunc(flowing, nested) {
				flowing = nil // what comes after cannot be told
			}
			d.Steps = append(d.Steps, part)
			continue
		}
		var fits bool
		flowing, fits = c.shapeAll(b, h, flowing, unclear)
		sound = sound && fits
		part.Out = flowing
		part.routes = c.routes(d.pipeline, b, h)
		d.Steps = append(d.Steps, part)
	}
	if sound {
		d.Out = flowing
	}
	for _, part := range d.Sinks {
		if whole {
			c.fed[part] = append(c.fed[part], flowing...)
		}
		if c.doubts[part] == nil {
			c.doubts[part] = doubts{}
		}
		maps.Copy(c.doubts[part], unclear)
	}
}

// shapeAll gives what a step makes of the schemas, as far as it can be told, and adds to what is unclear. fits says that there was
// no mistake.
func (c *checker) shapeAll(b *config.Block, h handlers.Handler, in []*record.Schema, unclear doubts) (out []*record.Schema, fits bool) {
	out, fits = make([]*record.Schema, 0, len(in)), true
	for _, s := range in {
		shaped, err := shape(h, s)
		c.also(b.PlaceBut(err, unclear.explain))
		if err != nil {
			fits = false
			unclear.add(strings.Join(failed(b, err), " "))
			if shaped == nil && !nested(s) {
				unclear.add(b.Text())
				shaped = s
			}
		}
		if shaped != nil {
			out = append(out, shaped)
		}
	}
	return out, fits
}

// failed gives the paths of the settings that have mistakes.
func failed(b *config.Block, err error) (paths []string) {
	_ = b.PlaceBut(err, func(path, _ string, _ bool) bool {
		paths = append(paths, path)
		return true
	})
	return paths
}

// nested says whether a step can make columns of such a schema that its settings do not name.
func nested(s *record.Schema) bool {
	return slices.ContainsFunc(s.Fields, func(f record.Field) bool { return f.Kind == record.Struct })
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

// step makes the handler of a step as far as it can be made: nil says that it has mistakes, which are added. exact says that
// its type is known, or could be guessed.
func (c *checker) step(b *config.Block) (h handlers.Handler, usesKey, known bool) {
	plugin, _, found := meant(c, b, c.project.plugins.Handlers, func(p handlers.Plugin) string { return p.Type })
	if !found {
		return nil, false, false
	}
	h, usesKey, problems := made(plugin, b, placeholder)
	c.add(problems...)
	return h, usesKey, true
}

// made makes the handler of a step; without problems it is not nil.
func made(plugin handlers.Plugin, b *config.Block, key config.Secret) (h handlers.Handler, usesKey bool, problems config.Problems) {
	settings := plugin.Config()
	problems = b.Decode(settings)
	if k, ok := settings.(keyed); ok && k.NeedsKey() {
		k.UseKey(key)
		usesKey = true
	}
	h, err := plugin.New(settings)
	if err != nil {
		h = nil
	}
	if problems.Errors() { // of what stands there, what is not told yet
		return nil, usesKey, append(problems, problems.Beside(b.PlaceBut(err, func(_, _ string, stands bool) bool { return !stands }))...)
	}
	return h, usesKey, append(problems, b.Place(err)...)
}

// nameStep gives a step a name that no earlier one has.
func (d *Declared) nameStep(b *config.Block) string {
	name := b.Type
	for n := 2; slices.ContainsFunc(d.Steps, func(s StepPart) bool { return s.Name == name }); n++ {
		name = fmt.Sprintf("%s-%d", b.Type, n)
	}
	return name
}
