package project_test

import (
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/handlers/project"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// settings is a configuration as the suite's YAML decoder can read it.
type settings struct {
	Keep   []string      `yaml:"keep"`
	Drop   []string      `yaml:"drop"`
	Rename yaml.MapSlice `yaml:"rename"`
	Order  []string      `yaml:"order"`
}

func plugin() handlers.Plugin {
	p := project.Plugin()
	made := p.New
	p.Config = func() any { return &settings{} }
	p.New = func(given any) (handlers.Handler, error) {
		s, ok := given.(*settings)
		if !ok {
			return made(given)
		}
		c := &project.Config{Keep: s.Keep, Drop: s.Drop, Order: s.Order}
		for _, item := range s.Rename {
			c.Rename = append(c.Rename, config.Entry[string]{Name: item.Key.(string), Value: item.Value.(string)})
		}
		return made(c)
	}
	return p
}

func schema(tb testing.TB, key []string, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.games", key, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func games(tb testing.TB) *record.Schema {
	tb.Helper()
	return schema(
		tb, []string{"id", "platform"},
		record.Field{Name: "title", Kind: record.String, Nullable: true},
		record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "publisher", Kind: record.String},
		record.Field{Name: "platform", Kind: record.String},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String}}},
		record.Field{Name: "year", Kind: record.Int32, Nullable: true},
	)
}

func harness(tb testing.TB, settings string, writes ...string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: plugin(),
		Config: settings,
		Wrong: map[string]string{
			"nothing to do":           "{}",
			"drop: does not go with":  "{keep: [a], drop: [b]}",
			"keep.1: a stands twice":  "keep: [a, a]",
			"drop.0: a column has":    `drop: [""]`,
			"order.2: b stands twice": "order: [a, b, b]",
			"rename.b: x stands":      "rename: {a: x, b: x}",
			"rename.a: a column has":  `rename: {a: ""}`,
			"colour":                  "colour: red",
		},
		Schema: games(tb),
		Unfit: []*record.Schema{
			schema(tb, nil, record.Field{Name: "other", Kind: record.String}),
		},
		Writes: writes,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]handlertest.Harness{
		"keep":   harness(t, "keep: [year, id, platform]", "title", "publisher", "tags"),
		"drop":   harness(t, "drop: [title, tags]", "title", "tags"),
		"rename": harness(t, "rename: {id: game, title: year, year: title}", "id", "game", "title", "year"),
		"order":  harness(t, "order: [year, tags]"),
		"all": harness(t, "{drop: [tags], rename: {platform: console, title: name}, order: [console, name]}",
			"tags", "platform", "console", "title", "name"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handlertest.Run(t, h)
		})
	}
}

func BenchmarkHandle(b *testing.B) {
	handlertest.Benchmark(b, harness(b, "{drop: [tags], rename: {title: name}, order: [year]}"))
}
