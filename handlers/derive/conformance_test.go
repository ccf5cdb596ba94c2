package derive_test

import (
	"math"
	"testing"

	"github.com/acequia-io/acequia/handlers/derive"
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

func set(values ...int64) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column != 1 {
			return false
		}
		b.Int(column, values[row%len(values)])
		return true
	}
}

func harness(tb testing.TB, year record.Field) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: derive.Plugin(),
		Config: "{name: decade, from: year, floor: 10}",
		Wrong: map[string]string{
			"name: must":  "{from: year, floor: 10}",
			"from: must":  "{name: decade, floor: 10}",
			"floor: must": "{name: decade, from: year, floor: 0}",
			"expr":        "{name: decade, from: year, floor: 10, expr: year}",
		},
		Schema: schema(tb, year, record.Field{Name: "title", Kind: record.String, Nullable: true}),
		Unfit: []*record.Schema{
			schema(tb),
			schema(tb, record.Field{Name: "year", Kind: record.String}),
			schema(tb, year, record.Field{Name: "decade", Kind: record.Int32}),
		},
		Good:   set(1998, 2000, -1, 0, math.MaxInt32),
		Writes: []string{"decade"},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("int32", func(t *testing.T) {
		t.Parallel()
		h := harness(t, record.Field{Name: "year", Kind: record.Int32})
		h.Bad = set(math.MinInt32, math.MinInt32+7)
		handlertest.Run(t, h)
	})
	t.Run("int64, nullable", func(t *testing.T) {
		t.Parallel()
		h := harness(t, record.Field{Name: "year", Kind: record.Int64, Nullable: true})
		h.Bad = set(math.MinInt64, math.MinInt64+7)
		handlertest.Run(t, h)
	})
}

func BenchmarkHandle(b *testing.B) {
	handlertest.Benchmark(b, harness(b, record.Field{Name: "year", Kind: record.Int32, Nullable: true}))
}
