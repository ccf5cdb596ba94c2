package main

import (
	"testing"

	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/record"
)

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.greetings", []string{"id"}, append([]record.Field{{Name: "id", Kind: record.String}}, fields...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func harness(tb testing.TB) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: Plugin(),
		Config: "columns: [greeting]",
		Wrong:  map[string]string{"columns": "{}", "colour": "colour: red"},
		Schema: schema(tb, record.Field{Name: "greeting", Kind: record.String, Nullable: true}, record.Field{Name: "year", Kind: record.Int32}),
		Unfit:  []*record.Schema{schema(tb), schema(tb, record.Field{Name: "greeting", Kind: record.Int64})},
		Writes: []string{"greeting"},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	handlertest.Run(t, harness(t))
}

func BenchmarkHandle(b *testing.B) { handlertest.Benchmark(b, harness(b)) }
