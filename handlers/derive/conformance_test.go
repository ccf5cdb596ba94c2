package derive_test

import (
	"errors"
	"math"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// settings reads a configuration as the program does, which the suite's YAML decoder cannot: in order, a column as its
// expression alone or as a mapping.
type settings struct{ columns config.Ordered[derive.Column] }

func (s *settings) UnmarshalYAML(text []byte) error {
	var all yaml.MapSlice
	if err := yaml.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, item := range all {
		var c derive.Column
		switch v := item.Value.(type) {
		case string:
			c.Expr = v
		case map[string]any:
			for key, value := range v {
				switch key {
				case "expr":
					c.Expr = value.(string)
				case "type":
					c.Type = value.(string)
				default:
					return errors.New("unknown key " + key)
				}
			}
		}
		s.columns = append(s.columns, config.Entry[derive.Column]{Name: item.Key.(string), Value: c})
	}
	return nil
}

func plugin() handlers.Plugin {
	p := derive.Plugin()
	made := p.New
	p.Config = func() any { return &settings{} }
	p.New = func(config any) (handlers.Handler, error) {
		if s, ok := config.(*settings); ok {
			return made(&derive.Config{Columns: s.columns})
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

func set(values ...int64) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column != 1 {
			return false
		}
		b.Int(column, values[row%len(values)])
		return true
	}
}

func harness(tb testing.TB, settings string, year record.Field) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: plugin(),
		Config: settings,
		Wrong: map[string]string{
			"no column is named":           "{}",
			"decade.expr: must be set":     "decade: {type: int32}",
			`decade.type: "int" is no`:     "decade: {expr: row.year, type: int}",
			"decade.type: \"decimal(99)\"": "decade: {expr: row.year, type: decimal(99)}",
			"unknown key floor":            "decade: {expr: row.year, floor: '10'}",
		},
		Schema: schema(tb, year, record.Field{Name: "title", Kind: record.String, Nullable: true}),
		Unfit: []*record.Schema{
			schema(tb),
			schema(tb, record.Field{Name: "year", Kind: record.Date}),
		},
		Good:   set(1998, 2000, -1, 0, 1<<30),
		Writes: []string{"decade"},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("one column", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "decade: {expr: row.year / 10 * 10, type: int32}", record.Field{Name: "year", Kind: record.Int64})
		h.Bad = set(math.MinInt64, 1<<40)
		handlertest.Run(t, h)
	})
	t.Run("several, nullable", func(t *testing.T) {
		t.Parallel()
		h := harness(t, `
decade: row.year * 4294967296 / 10 * 10
label: string(row.decade) + 's'
title: "row.title.upperAscii()"
old: row.year < 1990 || row.title == null
month: "int(row.year > 3000 ? 100 / (row.year - row.year) : 1)"`, record.Field{Name: "year", Kind: record.Int64, Nullable: true})
		h.Bad = set(math.MinInt64, 1<<40)
		h.Writes = []string{"decade", "label", "title", "old", "month"}
		h.Good = set(1998, 2000, -1, 0)
		handlertest.Run(t, h)
	})
	t.Run("a zero that divides", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "decade: 1000 / row.year", record.Field{Name: "year", Kind: record.Int32})
		h.Good, h.Bad = set(1, 2, -1), set(0)
		handlertest.Run(t, h)
	})
	t.Run("replaced", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "year: {expr: row.year + 1, type: 'decimal(12,2)'}", record.Field{Name: "year", Kind: record.Int64, Nullable: true})
		h.Writes = []string{"year"}
		h.Bad = set(math.MaxInt64, 10_000_000_000)
		handlertest.Run(t, h)
	})
}

func BenchmarkHandle(b *testing.B) {
	for name, settings := range map[string]string{
		"decade": "decade: {expr: row.year / 10 * 10, type: int32}",
		"text":   "decade: row.id + '!'",
	} {
		b.Run(name, func(b *testing.B) {
			handlertest.Benchmark(b, harness(b, settings, record.Field{Name: "year", Kind: record.Int32, Nullable: true}))
		})
	}
}
