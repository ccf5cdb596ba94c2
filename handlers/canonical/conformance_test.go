package canonical_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/handlers/canonical"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/record"
)

const genres = `
column: genre
options: [Action, Role-Playing, Sports, Other]
aliases: {RPG: Role-Playing, Acción: Action}
`

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.games", []string{"id"}, append([]record.Field{{Name: "id", Kind: record.Int64}}, fields...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func set(values ...string) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column != 1 {
			return false
		}
		b.String(column, values[row%len(values)])
		return true
	}
}

func harness(tb testing.TB, more string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: canonical.Plugin(),
		Config: genres + more,
		Wrong: map[string]string{
			"column: must":   "options: [A]",
			"options: must":  "column: a",
			"options[1]":     "{column: a, options: [A b, a-B]}",
			"stands twice":   "{column: a, options: [A], aliases: {A: A}}",
			"no letter":      `{column: a, options: ["- "]}`,
			"aliases.x":      "{column: a, options: [A], aliases: {x: B}}",
			"also spells":    "{column: a, options: [A, B], aliases: {b: A}}",
			"unknown: \"no":  "{column: a, options: [A], unknown: no}",
			"default: \"Z\"": "{column: a, options: [A], unknown: default, default: Z}",
			"default: goes":  "{column: a, options: [A], unknown: keep, default: A}",
		},
		Schema: schema(tb, record.Field{Name: "genre", Kind: record.String, Nullable: true}, record.Field{Name: "title", Kind: record.String, Nullable: true}),
		Unfit:  []*record.Schema{schema(tb), schema(tb, record.Field{Name: "genre", Kind: record.Int32, Nullable: true})},
		Writes: []string{"genre"},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("dead letter", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "")
		h.Good = set("Action", "action", "ROLE playing", "rpg", "Sports", "ACCIÓN")
		h.Bad = set("N/A", "", "Puzzle", strings.Repeat("é", 5000))
		handlertest.Run(t, h)
	})
	t.Run("dead letter, not nullable", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "")
		h.Schema = schema(t, record.Field{Name: "genre", Kind: record.String})
		h.Good = set("Action", "rpg")
		h.Bad = set("N/A")
		handlertest.Run(t, h)
	})
	t.Run("keep", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, "unknown: keep"))
	})
	t.Run("default", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, "unknown: default\ndefault: Other\n"))
	})
}

func BenchmarkHandle(b *testing.B) {
	for name, value := range map[string]string{"canonical": "Role-Playing", "folded": "role playing", "alias": "RPG"} {
		b.Run(name, func(b *testing.B) {
			h := harness(b, "")
			h.Good = set(value)
			handlertest.Benchmark(b, h)
		})
	}
}
