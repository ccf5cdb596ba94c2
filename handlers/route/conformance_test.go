package route_test

import (
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/handlers/route"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// settings reads a configuration as the program does, which the suite's YAML decoder cannot: in order.
type settings struct{ config route.Config }

func (s *settings) UnmarshalYAML(text []byte) error {
	var all yaml.MapSlice
	if err := yaml.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, item := range all {
		if item.Key == "else" {
			for _, v := range item.Value.([]any) {
				s.config.Else = append(s.config.Else, v.(string))
			}
			continue
		}
		text, _ := item.Value.(string)
		s.config.Sinks = append(s.config.Sinks, config.Entry[string]{Name: item.Key.(string), Value: text})
	}
	return nil
}

func plugin() handlers.Plugin {
	p := route.Plugin()
	made := p.New
	p.Config = func() any { return &settings{} }
	p.New = func(config any) (handlers.Handler, error) {
		if s, ok := config.(*settings); ok {
			return made(&s.config)
		}
		return made(config)
	}
	return p
}

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.games", []string{"id"}, append([]record.Field{{Name: "id", Kind: record.String}}, fields...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func years(values ...int64) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column != 1 {
			return false
		}
		b.Int(1, values[row%len(values)])
		return true
	}
}

func harness(tb testing.TB, text string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: plugin(),
		Config: text,
		Wrong: map[string]string{
			"no sink is named": "{}", "one: ": "one: 'row.year >'", "no expression": "one: ''", "stands alone": "{ one: 'true', else: [two, drop] }",
		},
		Schema:  schema(tb, record.Field{Name: "year", Kind: record.Int32, Nullable: true}),
		Unfit:   []*record.Schema{schema(tb), schema(tb, record.Field{Name: "year", Kind: record.String})},
		Good:    years(1998, 1985, 1979, 2006, 2020),
		Resizes: true,
		Routes:  true,
		Forgets: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"to one of two": "{ one: 'row.year < 2000', two: 'row.year >= 2000' }",
		"some to none":  "{ one: 'row.year < 1980', two: 'row.year > 2010' }",
		"to both":       "{ one: 'row.year > 0', two: 'row.year > 1 || true' }",
		"else":          "{ one: 'row.year < 1980', else: [two] }",
		"to none":       "{ other: 'row.year > 0' }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handlertest.Run(t, harness(t, text))
		})
	}
	t.Run("some fail", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "{ one: '20 % (row.year - 1900) != 5', two: 'row.year > 0' }")
		h.Bad = years(1900)
		handlertest.Run(t, h)
	})
	t.Run("what is left over is refused", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "{ one: 'row.year < 3000 || row.year == null', else: [dead_letter] }")
		h.Bad = years(3000)
		handlertest.Run(t, h)
	})
}

func BenchmarkHandle(b *testing.B) {
	for name, text := range map[string]string{
		"one of two": "{ one: 'row.year < 2000', two: 'row.year >= 2000' }", "all to both": "{ one: 'row.year > 0', two: 'row.year > 1' }",
		"half to none": "{ one: 'row.year < 1990' }",
	} {
		b.Run(name, func(b *testing.B) { handlertest.Benchmark(b, harness(b, text)) })
	}
}

// BenchmarkFor is what the sinks' shares of a batch cost behind the route.
func BenchmarkFor(b *testing.B) {
	const rows = 10_000
	s := schema(b, record.Field{Name: "year", Kind: record.Int32})
	build := record.NewBuilder(s, rows)
	for i := range rows {
		build.String(0, "a key of some length")
		build.Int(1, int64(1990+i%20))
		build.Next()
	}
	h, err := route.New(route.Config{Sinks: config.Ordered[string]{{Name: "one", Value: "row.year < 2000"}, {Name: "two", Value: "row.year >= 2000"}}})
	if err != nil {
		b.Fatal(err)
	}
	out, err := h.Handle(b.Context(), build.Batch(nil))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, sink := range []string{"one", "two"} {
			out[0].For(sink).Release()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}
