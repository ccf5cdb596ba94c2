package normalize_test

import (
	"testing"

	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/handlers/normalize"
	"github.com/acequia-io/acequia/record"
)

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.texts", []string{fields[0].Name}, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func harness(tb testing.TB, config string) handlertest.Harness {
	tb.Helper()
	text := record.Field{Name: "element", Kind: record.String}
	return handlertest.Harness{
		Plugin: normalize.Plugin(),
		Config: config,
		Wrong: map[string]string{
			"twice":      "columns: [title, title]",
			"columns[1]": `columns: [title, ""]`,
			"colour":     "colour: red",
		},
		Schema: schema(tb,
			record.Field{Name: "id", Kind: record.String},
			record.Field{Name: "title", Kind: record.String},
			record.Field{Name: "note", Kind: record.String, Nullable: true},
			record.Field{Name: "year", Kind: record.Int32, Nullable: true},
			record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{text}},
			record.Field{Name: "who", Kind: record.Struct, Fields: []record.Field{text, {Name: "age", Kind: record.Int64}}},
		),
		Writes: []string{"title", "note", "tags", "who"},
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	t.Run("every column", func(t *testing.T) {
		t.Parallel()
		handlertest.Run(t, harness(t, "collapse: true"))
	})
	t.Run("chosen columns", func(t *testing.T) {
		t.Parallel()
		h := harness(t, "columns: [note, id]")
		h.Writes = []string{"note", "id"}
		h.Unfit = []*record.Schema{
			schema(t, record.Field{Name: "id", Kind: record.String}),
			schema(t, record.Field{Name: "id", Kind: record.String}, record.Field{Name: "note", Kind: record.Date}),
		}
		handlertest.Run(t, h)
	})
}

func benchmark(b *testing.B, value string) {
	b.Helper()
	h := harness(b, "columns: [title]")
	h.Good = func(b *record.Builder, column, _ int) bool {
		if column == 1 {
			b.String(column, value)
		}
		return column == 1
	}
	handlertest.Benchmark(b, h)
}

func BenchmarkHandle(b *testing.B) {
	for name, value := range map[string]string{
		"ascii": "The Legend of Zelda", "normal": "Pok\u00e9mon Rojo Fuego", "trimmed": " The Legend of Zelda ", "decomposed": "Poke\u0301mon Rojo Fuego",
	} {
		b.Run(name, func(b *testing.B) { benchmark(b, value) })
	}
}
