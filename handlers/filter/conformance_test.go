package filter_test

import (
	"testing"

	"github.com/acequia-io/acequia/handlers/filter"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/record"
)

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.games", []string{"id"}, append([]record.Field{{Name: "id", Kind: record.String}}, fields...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func games(tb testing.TB) *record.Schema {
	tb.Helper()
	return schema(tb,
		record.Field{Name: "year", Kind: record.Int32, Nullable: true},
		record.Field{Name: "genre", Kind: record.String, Nullable: true},
	)
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

func harness(tb testing.TB, where string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin:  filter.Plugin(),
		Config:  "where: " + where,
		Wrong:   map[string]string{"where: must be set": "{}", "colour": "colour: red"},
		Schema:  games(tb),
		Unfit:   []*record.Schema{schema(tb), schema(tb, record.Field{Name: "year", Kind: record.String})},
		Good:    years(1998, 1985, 1979, 2006, 2020),
		Resizes: true, Forgets: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("some pass", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, "row.year >= 1980"))
	})
	t.Run("some fail", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "20 % (row.year - 1900) != 5")
		h.Bad = years(1900)
		handlertest.Run(t, h)
	})
	t.Run("none passes", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, "row.year > 3000"))
	})
	t.Run("all pass", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, "row.year != 0 || true"))
	})
}

func BenchmarkHandle(b *testing.B) {
	for name, where := range map[string]string{
		"half": "row.year >= 1990", "all": "row.year >= 1900", "text": "row.genre == 'plain' && row.id.startsWith('m')",
	} {
		b.Run(name, func(b *testing.B) { handlertest.Benchmark(b, harness(b, where)) })
	}
}
