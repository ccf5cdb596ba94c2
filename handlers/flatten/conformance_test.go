package flatten_test

import (
	"testing"

	"github.com/acequia-io/acequia/handlers/flatten"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/record"
)

func schema(tb testing.TB, key []string, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.people", key, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func structure(name string, nullable bool, fields ...record.Field) record.Field {
	return record.Field{Name: name, Kind: record.Struct, Nullable: nullable, Fields: fields}
}

func people(tb testing.TB) *record.Schema {
	tb.Helper()
	text := record.Field{Name: "street", Kind: record.String}
	return schema(
		tb, []string{"id"},
		record.Field{Name: "id", Kind: record.Int64},
		structure("address", true, text, record.Field{Name: "zip", Kind: record.Int32},
			structure("geo", false, record.Field{Name: "lat", Kind: record.Float64}, record.Field{Name: "lon", Kind: record.Decimal, Precision: 30, Scale: 2})),
		record.Field{Name: "name", Kind: record.String, Nullable: true},
		structure("seen", false, record.Field{Name: "at", Kind: record.VersionText},
			record.Field{Name: "where", Kind: record.List, Fields: []record.Field{text}}),
		record.Field{Name: "all", Kind: record.List, Nullable: true, Fields: []record.Field{structure("element", false, text)}},
	)
}

func harness(tb testing.TB, settings string, writes ...string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: flatten.Plugin(),
		Config: settings,
		Wrong: map[string]string{
			"columns.1: a stands twice": "columns: [a, a]",
			"columns.0: a column has":   `columns: [""]`,
			"depth: -1 is no number":    "depth: -1",
			"colour":                    "colour: red",
		},
		Schema: people(tb),
		Unfit: []*record.Schema{schema(tb, nil, structure("address", false, record.Field{Name: "street", Kind: record.String}),
			record.Field{Name: "address_street", Kind: record.String})},
		Writes: writes,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]handlertest.Harness{
		"all": harness(t, "{}", "address", "address_street", "address_zip", "address_geo_lat", "address_geo_lon", "seen", "seen_at", "seen_where"),
		"one": harness(t, "columns: [address]", "address", "address_street", "address_zip", "address_geo_lat", "address_geo_lon"),
		"one level": harness(t, "{separator: _, depth: 1}",
			"address", "address_street", "address_zip", "address_geo", "seen", "seen_at", "seen_where"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handlertest.Run(t, h)
		})
	}
	t.Run("no struct", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "{}")
		h.Schema = schema(t, []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "name", Kind: record.String, Nullable: true})
		handlertest.Run(t, h)
	})
}

func BenchmarkHandle(b *testing.B) { handlertest.Benchmark(b, harness(b, "{}")) }
