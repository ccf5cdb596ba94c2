package dedupe_test

import (
	"fmt"
	"testing"

	"github.com/acequia-io/acequia/handlers/dedupe"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/record"
)

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.events", nil, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func events(tb testing.TB) *record.Schema {
	tb.Helper()
	return schema(tb,
		record.Field{Name: "id", Kind: record.String, Nullable: true},
		record.Field{Name: "kind", Kind: record.Int32},
		record.Field{Name: "at", Kind: record.Timestamp, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String}}},
	)
}

func harness(tb testing.TB, config string) handlertest.Harness {
	tb.Helper()
	return handlertest.Harness{
		Plugin: dedupe.Plugin(),
		Config: config,
		Wrong: map[string]string{
			"key: must be set": "window: 1h", "window: must be positive": "key: [id]", "stands twice": "{ key: [id, id], window: 1h }",
			"max_keys": "{ key: [id], window: 1h, max_keys: 0 }", "colour": "colour: red",
		},
		Schema: events(tb),
		Unfit: []*record.Schema{
			schema(tb, record.Field{Name: "no", Kind: record.Int32}),
			schema(tb, record.Field{Name: "id", Kind: record.List, Fields: []record.Field{{Name: "element", Kind: record.String}}}),
		},
		Good: func(b *record.Builder, column, row int) bool {
			switch column {
			case 0:
				b.String(0, fmt.Sprintf("event %d", row)) // each its own: the suite knows of no copies
			case 1:
				b.Int(1, int64(row%3))
			default:
				return false
			}
			return true
		},
		Resizes: true,
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"one column": "{ key: [id], window: 720h }", "two columns": "{ key: [kind, id], window: 720h }",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handlertest.Run(t, harness(t, config))
		})
	}
	t.Run("by a column", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "{ key: [id], window: 720h, by: at }")
		h.Unfit = append(h.Unfit, schema(t, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "at", Kind: record.String}))
		handlertest.Run(t, h)
	})
}

func BenchmarkHandle(b *testing.B) {
	handlertest.Benchmark(b, harness(b, "{ key: [id], window: 24h }"))
}
