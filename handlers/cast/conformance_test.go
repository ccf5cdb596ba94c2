package cast_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/acequia-io/acequia/handlers"
	"github.com/acequia-io/acequia/handlers/cast"
	"github.com/acequia-io/acequia/handlers/handlertest"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

// settings reads a configuration in order, which the suite's YAML decoder cannot.
type settings struct{ columns config.Ordered[string] }

func (s *settings) UnmarshalYAML(text []byte) error {
	var all yaml.MapSlice
	if err := yaml.Unmarshal(text, &all); err != nil {
		return err
	}
	for _, item := range all {
		s.columns = append(s.columns, config.Entry[string]{Name: item.Key.(string), Value: item.Value.(string)})
	}
	return nil
}

func plugin() handlers.Plugin {
	p := cast.Plugin()
	made := p.New
	p.Config = func() any { return &settings{} }
	p.New = func(given any) (handlers.Handler, error) {
		if s, ok := given.(*settings); ok {
			return made(&cast.Config{Columns: s.columns})
		}
		return made(given)
	}
	return p
}

func schema(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("suite.games", []string{"id"}, append([]record.Field{{Name: "id", Kind: record.Int64}}, fields...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// harness casts the column v; others stand beside it.
func harness(tb testing.TB, from record.Field, to string, good, bad handlertest.Setter) handlertest.Harness {
	tb.Helper()
	from.Name = "v"
	return handlertest.Harness{
		Plugin: plugin(),
		Config: `v: "` + to + `"`,
		Wrong: map[string]string{
			"no column is named": "{}",
			`v: "int" is no`:     "v: int",
			`w: "decimal(50,2)"`: "{v: int32, w: 'decimal(50,2)'}",
			"v: \"\" is no type": `v: ""`,
			`x: "struct" is no`:  "x: struct",
		},
		Schema: schema(tb, from, record.Field{Name: "title", Kind: record.String, Nullable: true}),
		Unfit: []*record.Schema{
			schema(tb),
			schema(tb, record.Field{Name: "v", Kind: record.Struct, Fields: []record.Field{{Name: "n", Kind: record.Int32}}}),
		},
		Good:   good,
		Bad:    bad,
		Writes: []string{"v"},
	}
}

func ints(values ...int64) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column == 1 {
			b.Int(column, values[row%len(values)])
		}
		return column == 1
	}
}

func floats(values ...float64) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column == 1 {
			b.Float(column, values[row%len(values)])
		}
		return column == 1
	}
}

func texts(values ...string) handlertest.Setter {
	return func(b *record.Builder, column, row int) bool {
		if column == 1 {
			b.String(column, values[row%len(values)])
		}
		return column == 1
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	text, bytes := record.Field{Kind: record.String}, record.Field{Kind: record.Bytes}
	price := record.Field{Kind: record.Decimal, Precision: 10, Scale: 2}
	for name, c := range map[string]struct {
		from      record.Field
		to        string
		good, bad handlertest.Setter
	}{
		"int64 to int32":     {record.Field{Kind: record.Int64}, "int32", ints(0, -5, math.MaxInt32, math.MinInt32), ints(math.MaxInt32+1, math.MinInt64)},
		"int64 to float":     {record.Field{Kind: record.Int64}, "float64", ints(0, 1<<53, math.MinInt64), ints(1<<53+1, math.MaxInt64)},
		"float to int64":     {record.Field{Kind: record.Float64}, "int64", floats(0, -3, 1<<62), floats(0.5, math.NaN(), math.Inf(1), 1<<63)},
		"float to decimal":   {record.Field{Kind: record.Float64}, "decimal(6,2)", floats(0.1, 12.34, -7), floats(0.125, 10_000, math.Inf(-1), 1e300, 1e-300)},
		"decimal to fewer":   {price, "decimal(9,1)", ints(10, -250), ints(1, 9_999_999_999)},
		"decimal to float":   {price, "float32", ints(10, 123_456), ints(1_234_567_891)},
		"text to int":        {text, "int32", texts("1998", "-5", "+7", "0012", "3.00"), texts("", "x", "3.5", "1e3", "2147483648", " 1", "340282366920938463463374607431768211455")},
		"text to decimal":    {text, "decimal(5,2)", texts("1", "-1.5", "999.99", "0.1000"), texts("1.001", "1000", ".", "-", "1.2.3", "")},
		"text to wide":       {text, "decimal(38,10)", texts("1234567890123456789012345678.5"), texts("12345678901234567890123456789", "99999999999999999999999999999999999999999")},
		"text to float":      {text, "float64", texts("1.5", "NaN", "-Inf", "1e300", "0.10000000000000001"), texts("x", "0x1p3", "1e400", "9007199254740993", "1e-400", "3.141592653589793239")},
		"text to bool":       {text, "bool", texts("true", "f", "1"), texts("yes", "", "TRUe")},
		"text to date":       {text, "date", texts("1969-12-31", "2026-02-28"), texts("2026-02-29", "2026-2-1", "2026-02-01T00:00:00Z", "")},
		"text to timestamp":  {text, "timestamp", texts("2026-11-28T08:00:00Z", "2026-11-28 08:00:00.123456+02:00"), texts("2026-11-28 08:00:00", "2026-11-28T08:00:00.1234567Z", "x")},
		"text to local time": {text, "local_timestamp", texts("2026-11-28 08:00:00", "2026-11-28T08:00:00.5000000"), texts("2026-11-28T08:00:00Z", "2026-11-28")},
		"bytes to text":      {bytes, "string", texts("Pokémon", ""), texts("\xff\xfe", "a\x80")},
		"timestamp to date":  {record.Field{Kind: record.Timestamp}, "date", ints(0, 86_400_000_000, -86_400_000_000), ints(1, -1)},
		"date to timestamp":  {record.Field{Kind: record.Date}, "timestamp", ints(0, -1, 20_000), ints(1<<31 - 1)},
		"int to bool":        {record.Field{Kind: record.Int64}, "bool", ints(0, 1), ints(2, -1)},
		"never null":         {text, "int32", texts("1998"), texts("x")},
		"never null, wide":   {text, "decimal(38,0)", texts("1998"), texts("x")},
		"never null, text":   {bytes, "string", texts("1998"), texts("\xff")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.from.Nullable = !strings.HasPrefix(name, "never null")
			handlertest.Run(t, harness(t, c.from, c.to, c.good, c.bad))
		})
	}
}

// TestConformanceOfAll casts columns of which every value fits, some of them without a copy.
func TestConformanceOfAll(t *testing.T) {
	t.Parallel()
	h := handlertest.Harness{Plugin: plugin(), Config: "{", Schema: schema(t)}
	for _, c := range []struct {
		name string
		from record.Field
		to   string
	}{
		{"wider", record.Field{Kind: record.Int32}, "int64"},
		{"double", record.Field{Kind: record.Float32}, "float64"},
		{"price", record.Field{Kind: record.Decimal, Precision: 10, Scale: 2}, "decimal(38,4)"},
		{"longer", record.Field{Kind: record.Decimal, Precision: 10, Scale: 2}, "decimal(12,2)"},
		{"label", record.Field{Kind: record.Decimal, Precision: 30, Scale: 2}, "string"},
		{"version", record.Field{Kind: record.VersionText}, "string"},
		{"raw", record.Field{Kind: record.String}, "bytes"},
		{"local", record.Field{Kind: record.Timestamp}, "local_timestamp"},
		{"flag", record.Field{Kind: record.Bool}, "string"},
		{"same", record.Field{Kind: record.Date}, "date"},
	} {
		c.from.Name, c.from.Nullable = c.name, true
		h.Schema = schema(t, append(slices.Clone(h.Schema.Fields[1:]), c.from)...)
		h.Config += c.name + `: "` + c.to + `", `
		h.Writes = append(h.Writes, c.name)
	}
	h.Config += "}"
	handlertest.Run(t, h)
}

func BenchmarkHandle(b *testing.B) {
	for _, c := range []struct {
		name string
		from record.Field
		to   string
		good handlertest.Setter
	}{
		{"int64 to int32", record.Field{Kind: record.Int64}, "int32", ints(1998, 2006)},
		{"text to int32", record.Field{Kind: record.String}, "int32", texts("1998", "2006")},
		{"text to decimal", record.Field{Kind: record.String}, "decimal(10,2)", texts("59.99", "1234.5")},
		{"text to wide", record.Field{Kind: record.String}, "decimal(30,10)", texts("1234567890123456789.99")},
		{"text to float", record.Field{Kind: record.String}, "float64", texts("59.99", "1234.5")},
		{"text to timestamp", record.Field{Kind: record.String}, "timestamp", texts("2026-11-28T08:00:00.123456Z")},
		{"float to decimal", record.Field{Kind: record.Float64}, "decimal(10,2)", floats(59.99, 1234.5)},
		{"decimal to float", record.Field{Kind: record.Decimal, Precision: 10, Scale: 2}, "float64", ints(5999, 123450)},
		{"int to text", record.Field{Kind: record.Int64}, "string", ints(1998, 2006)},
	} {
		b.Run(c.name, func(b *testing.B) { handlertest.Benchmark(b, harness(b, c.from, c.to, c.good, nil)) })
	}
}
