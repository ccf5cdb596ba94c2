package expr_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

func TestAs(t *testing.T) {
	t.Parallel()
	b := two(t)
	for _, c := range []struct{ text, as, first, second string }{
		{"row.year / 10 * 10", "int32", "2000", "null"},
		{"row.sales * 1000", "int32", "fails", "fails"},
		{"row.sales", "int32", "82530000", "82530000"},
		{"row.year - 3000000000 * row.year", "int32", "fails", "null"},
		{"row.sales", "int64", "82530000", "82530000"},
		{"row.sales", "float64", "8.253e+07", "8.253e+07"},
		{"row.sales", "float32", "fails", "fails"},
		{"row.year", "float32", "2006", "null"},
		{"row.score", "float32", "8.5", "null"},
		{"row.score * 0.1", "float32", "0.8500000238418579", "null"},
		{"row.score * 1e300", "float32", "fails", "null"},
		{"row.score / 0.0", "float32", "+Inf", "null"},
		{"row.score", "int32", "fails", "null"},
		{"row.score + 0.5", "int32", "9", "null"},
		{"row.score * 1e9", "int32", "fails", "null"},
		{"row.score * 1e300", "int64", "fails", "null"},
		{"row.score - row.score / 0.0", "int64", "fails", "null"},
		{"row.year", "decimal(6,2)", "200600", "null"},
		{"row.year", "decimal(5,2)", "fails", "null"},
		{"row.year", "decimal(30,2)", "2006.00", "null"},
		{"row.price", "decimal(10,3)", "49990", "null"},
		{"row.price", "decimal(10,1)", "500", "null"},
		{"-row.price - 0.05", "decimal(10,1)", "-500", "null"},
		{"row.price", "decimal(2,0)", "50", "null"},
		{"row.price * 2", "decimal(2,0)", "fails", "null"},
		{"row.price * 1.21", "decimal(10,2)", "6049", "null"},
		{"row.score * 1.25", "decimal(10,2)", "1063", "null"},
		{"row.score * -1e15", "decimal(38,2)", "-8500000000000000.00", "null"},
		{"row.score * 1e20", "decimal(18,0)", "fails", "null"},
		{"row.score / 0.0 - row.score / 0.0", "decimal(18,0)", "fails", "null"},
		{"row.price", "decimal(38,2)", "49.99", "null"},
		{"row.worth", "decimal(38,9)", "2028240960365167042394.725128602", "2028240960365167042394.725128602"},
		{"row.worth", "decimal(38,16)", "2028240960365167042394.7251286021000000", "2028240960365167042394.7251286021000000"},
		{"row.worth", "decimal(38,17)", "fails", "fails"},
		{"row.price", "int64", "fails", "null"},
		{"row.price", "float64", "49.99", "null"},
		{"row.released", "timestamp", "1163808000000000", "null"},
		{"row.updated_at", "local_timestamp", "1785628798123456", "1785628798123456"},
		{"row.genre", "bytes", `"Sports"`, "absent"},
		{"bytes(row.genre)", "string", `"Sports"`, "absent"},
		{"row.cover", "string", "fails", "fails"},
		{"row.online", "bool", "true", "null"},
		{"row.released", "date", "13470", "null"},
		// never
		{"row.name", "int32", "the result is string, which does not become int32 (write int(...))", ""},
		{"row.name", "date", "(write date(...))", ""},
		{"row.name", "timestamp", "(write timestamp(...))", ""},
		{"row.name", "float32", "(write double(...))", ""},
		{"row.name", "bool", "(write bool(...))", ""},
		{"row.sales", "string", "the result is int, which does not become string (write string(...))", ""},
		{"row.sales", "bool", "(write a comparison)", ""},
		{"row.updated_at", "date", "(write date(...))", ""},
		{"row.name", "decimal(10,2)", "the result is string, which does not become decimal(10,2)", ""},
		{"3000000000", "int32", "3000000000: the value does not fit int32", ""},
	} {
		to, err := record.ParseType("x", c.as)
		if err != nil {
			t.Fatal(err)
		}
		p, err := compile(t, c.text, b.Schema).As(to)
		if c.second == "" {
			if len(expr.Errors(err)) != 1 || !strings.Contains(err.Error(), c.first) {
				t.Errorf("%s as %s: %v, want %s", c.text, c.as, err, c.first)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s as %s: %v", c.text, c.as, err)
			continue
		}
		if f := p.Field("n"); f.TypeName() != c.as || f.Name != "n" {
			t.Errorf("%s as %s is %+v", c.text, c.as, f)
		}
		if got := results(t, p, b); !slices.Equal(got, []string{c.first, c.second}) {
			t.Errorf("%s as %s: %q, want %q %q", c.text, c.as, got, c.first, c.second)
		}
	}
}

func benchmark(b *testing.B, text, as string) {
	b.Helper()
	const rows = 10_000
	s := schemaOf(b,
		record.Field{Name: "name", Kind: record.String}, record.Field{Name: "year", Kind: record.Int32, Nullable: true},
		record.Field{Name: "genre", Kind: record.String, Nullable: true}, record.Field{Name: "score", Kind: record.Float64},
		record.Field{Name: "at", Kind: record.Timestamp}, record.Field{Name: "price", Kind: record.Decimal, Precision: 10, Scale: 2},
	)
	build := record.NewBuilder(s, rows)
	for i := range rows {
		build.String(0, []string{"Wii Sports", "Super Mario Bros.", "Tetris", "Wii Fit"}[i*7%4])
		build.Float(3, float64(i%100)/10)
		build.Int(4, 1_700_000_000_000_000+int64(i)*7_000_000_000)
		build.Int(5, int64(i%9999))
		if i%10 > 0 { // else null
			build.Int(1, int64(1980+i*31%45))
			build.String(2, []string{"Sports", "Platform", "Puzzle", "Racing", "Action"}[i*13%5])
		}
		build.Next()
	}
	batch := build.Batch(nil)
	p := compile(b, text, s)
	if as != "" {
		to, err := record.ParseType("x", as)
		if err != nil {
			b.Fatal(err)
		}
		if p, err = p.As(to); err != nil {
			b.Fatal(err)
		}
	}
	selects := p.Field("x").Kind == record.Bool
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if selects {
			_, _, err = p.Select(batch)
		} else {
			_, err = p.Eval(batch)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

func BenchmarkProgram(b *testing.B) {
	for _, c := range []struct{ text, as string }{
		{"row.year >= 1980", ""},
		{"row.year / 10 * 10", ""},
		{"row.year / 10 * 10", "int32"},
		{`row.genre == "Sports" && row.name.startsWith("W")`, ""},
		{`row.genre in ["Sports", "Racing"] || row.score >= 9.5`, ""},
		{"row.price > 9.99", ""},
		{"row.name.upperAscii() + '!'", ""},
		{"row.at.getFullYear()", ""},
		{"row.at.getHours('Europe/Madrid')", ""},
		{"string(row.year)", ""},
		{"row.name.matches('^W.*s$')", ""},
		{"row.year == null ? 0 : row.year", ""},
	} {
		b.Run(strings.TrimSpace(c.text+" "+c.as), func(b *testing.B) { benchmark(b, c.text, c.as) })
	}
}

func BenchmarkCompile(b *testing.B) {
	s := games(b)
	for b.Loop() {
		if _, err := expr.Compile(`row.genre == "Sports" && row.name.startsWith("W")`, s); err != nil {
			b.Fatal(err)
		}
	}
}
