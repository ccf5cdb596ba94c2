package expr_test

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// plainSchema has two columns of each type that CEL has too.
func plainSchema(tb testing.TB) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("test.plain", nil,
		record.Field{Name: "i", Kind: record.Int64}, record.Field{Name: "j", Kind: record.Int64},
		record.Field{Name: "d", Kind: record.Float64}, record.Field{Name: "e", Kind: record.Float64},
		record.Field{Name: "b", Kind: record.Bool}, record.Field{Name: "c", Kind: record.Bool},
		record.Field{Name: "s", Kind: record.String}, record.Field{Name: "z", Kind: record.String},
		record.Field{Name: "t", Kind: record.Timestamp}, record.Field{Name: "u", Kind: record.Timestamp},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// celEnv knows the columns as variables with a dot in their name, so that CEL's checker sees their types.
func celEnv(tb testing.TB) *cel.Env {
	tb.Helper()
	options := []cel.EnvOption{ext.Strings(), ext.Math(), cel.CrossTypeNumericComparisons(true), cel.DefaultUTCTimeZone(true)}
	kinds := []*cel.Type{cel.IntType, cel.DoubleType, cel.BoolType, cel.StringType, cel.TimestampType}
	for i, f := range plainSchema(tb).Fields {
		options = append(options, cel.Variable("row."+f.Name, kinds[i/2]))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		tb.Fatal(err)
	}
	return env
}

// writer writes random expressions that CEL's checker takes.
type writer struct{ t *rapid.T }

func (w writer) one(of ...string) string { return rapid.SampledFrom(of).Draw(w.t, "part") }

// forms are how a type is written; <type> stands for any expression of the type, <<type>> for a column or literal. Ints that
// are compared with doubles are small: CEL rounds those of more than 53 bits, we do not.
func forms() map[string][]string {
	return map[string][]string{
		"int": {
			"(<int> + <int>)", "(<int> - <int>)", "(<int> * <int>)", "(<int> / <int>)", "(<int> % <int>)",
			"(<int> / 10 * 10)", "(<int> % 7)", "(<int> + 3)",
			"(<int> * 5)", "(<int> * -3)", "(9 - <int>)", "(-(<int>))", "size(<string>)", "<string>.size()", "int(<double>)",
			"int(<string>)", "<string>.indexOf(<string>)",
			"math.greatest(<int>, <int>)", "math.abs(<int>)", "int(<timestamp>)", "(<timestamp> - <timestamp>).getMinutes()",
			"<timestamp>.getFullYear()", "<timestamp>.getMonth()", "<timestamp>.getDate()",
			"<timestamp>.getDayOfWeek()", "<timestamp>.getDayOfYear()",
			"<timestamp>.getDayOfMonth()", "<timestamp>.getHours()", "<timestamp>.getMinutes()",
			"<timestamp>.getSeconds()", "<timestamp>.getMilliseconds()",
			"<timestamp>.getHours('Europe/Madrid')", "(<timestamp> - <timestamp>).getMilliseconds()",
		},
		"double": {
			"(<double> + <double>)", "(<double> - <double>)", "(<double> * <double>)", "(<double> / <double>)",
			"double(<int>)", "double(<string>)",
			"(-(<double>))", "math.floor(<double>)", "math.ceil(<double>)", "math.round(<double>)",
			"math.trunc(<double>)", "math.abs(<double>)",
			"math.least(<double>, <double>)",
		},
		"string": {
			"(<string> + <string>)", "string(<int>)", "string(<double>)", "string(<bool>)", "string(<timestamp>)",
			"<string>.lowerAscii()",
			"<string>.upperAscii()", "<string>.trim()", "<string>.replace('a', 'bb')", "<string>.replace('', '-')",
			"<string>.replace('a', '', 1)",
			"<string>.substring(1)", "<string>.substring(0, 2)",
		},
		"timestamp": {
			"(<timestamp> + duration('1h'))", "(<timestamp> - duration('-1500ms'))", "(duration('720h') + <timestamp>)",
			"timestamp(<<int>> % 1000000000)", "timestamp(string(<timestamp>))",
		},
		"bool": {
			"(<int> < <int>)", "(<int> >= <int>)", "(<int> == <int>)", "(<int> <= 7)", "(<int> != 7)", "(7 > <int>)",
			"(<double> < <double>)", "(<double> >= <double>)", "(<double> == <double>)", "(<double> <= 1.5)",
			"(<double> != 1.5)", "(1.5 > <double>)",
			"(<string> < <string>)", "(<string> >= <string>)", "(<string> == <string>)", "(<string> == 'a')",
			"('a' != <string>)", "(<string> > 'a')",
			"(<bool> < <bool>)", "(<bool> >= <bool>)", "(<bool> == <bool>)", "(<bool> != <bool>)", "(<bool> > <bool>)",
			"(<bool> <= <bool>)",
			"(<timestamp> < <timestamp>)", "(<timestamp> == <timestamp>)", "(<int> % 1000000 < <double>)",
			"(<double> <= <int> % 1000000)", "(<int> % 1000000 > <double>)",
			"(!<bool>)", "(<bool> && <bool>)", "(<bool> || <bool>)", "(<bool> && <bool> && <bool>)",
			"<string>.contains(<string>)",
			"<string>.startsWith(<string>)", "<string>.endsWith('a')", "<string>.matches('^[a-m]+|1')", "bool(<string>)",
			"(<int> in [<int>, <int>])", "(<int> in [1, 7, 1998])", "(<int> in [0, 2, 3, 4, 5, 6, 7, 8, 9, 10])",
			"(<string> in ['a', 'abc'])",
			"(<string> in [<string>])", "(<double> in [<double>, 3.5])",
		},
	}
}

func (w writer) of(kind string, depth int) string {
	form := "<<" + kind + ">>"
	if depth > 0 {
		form = w.one(append(forms()[kind], "(<bool> ? <"+kind+"> : <"+kind+">)")...)
	}
	return regexp.MustCompile("<+[a-z]+>+").ReplaceAllStringFunc(form, func(part string) string {
		if kind := strings.Trim(part, "<>"); !strings.HasPrefix(part, "<<") {
			return w.of(kind, depth-1)
		}
		return w.leaf(strings.Trim(part, "<>"))
	})
}

func (w writer) leaf(kind string) string {
	switch kind {
	case "int":
		number := strconv.FormatInt(rapid.Int64().Draw(w.t, "int"), 10)
		return w.one("row.i", "row.j", "row.i", "row.j", "0", "1", "-1", "7", "10", "-9223372036854775808", number)
	case "double":
		return w.one("row.d", "row.e", "row.d", "row.e", "0.0", "1.5", "-2.0", "1e300")
	case "string":
		return w.one("row.s", "row.z", "row.s", "row.z", "''", "'a'", "'true'", "'12'", "'é'")
	case "timestamp":
		return w.one("row.t", "row.u")
	default:
		return w.one("row.b", "row.c", "true", "false")
	}
}

// plainRows makes random rows, and gives them to CEL as well.
func plainRows(t *rapid.T, s *record.Schema) (*record.Batch, []map[string]any) {
	rows := rapid.IntRange(1, 70).Draw(t, "rows")
	b := record.NewBuilder(s, rows)
	all := make([]map[string]any, rows)
	for row := range rows {
		values := map[string]any{}
		for i, f := range s.Fields {
			switch f.Kind {
			case record.Int64:
				v := rapid.SampledFrom([]int64{0, 1, -1, 2, 7, -13, 1998, 1 << 31, math.MaxInt64, math.MinInt64}).Draw(t, "v")
				values["row."+f.Name] = v
				b.Int(i, v)
			case record.Float64:
				v := rapid.SampledFrom([]float64{0, 1, -1, 0.1, 1e18, -1e19, 1 << 63, -1 << 63, math.Inf(1), math.NaN(), 3.5}).Draw(t, "v")
				values["row."+f.Name] = v
				b.Float(i, v)
			case record.Bool:
				v := rapid.Bool().Draw(t, "v")
				values["row."+f.Name] = v
				b.Bool(i, v)
			case record.String:
				v := rapid.SampledFrom([]string{"", "a", "abc", "aéz", "12", "-7", "true", "1.5", " x ", "日本語"}).Draw(t, "v")
				values["row."+f.Name] = v
				b.String(i, v)
			default:
				v := rapid.Int64Range(-1e15, 4e15).Draw(t, "v")
				values["row."+f.Name] = time.UnixMicro(v).UTC()
				b.Int(i, v)
			}
		}
		b.Next()
		all[row] = values
	}
	return b.Batch(nil), all
}

// valueOf is a slot as CEL has it.
func valueOf(f record.Field, c *record.Column, row int) ref.Val {
	switch f.Kind {
	case record.Bool:
		return types.Bool(c.Int(row) == 1)
	case record.Int64:
		return types.Int(c.Int(row))
	case record.Float64:
		return types.Double(c.Float(row))
	case record.String:
		return types.String(c.Text(row))
	default:
		return types.Timestamp{Time: time.UnixMicro(c.Int(row)).UTC()}
	}
}

func alike(a, b ref.Val) bool {
	x, ok1 := a.(types.Double)
	y, ok2 := b.(types.Double)
	if ok1 && ok2 && math.IsNaN(float64(x)) && math.IsNaN(float64(y)) {
		return true
	}
	return a.Type() == b.Type() && a.Equal(b) == types.True
}

// TestAgainstCEL: without nulls we give what CEL's own interpreter gives, row by row, errors included.
func TestAgainstCEL(t *testing.T) {
	t.Parallel()
	env, s := celEnv(t), plainSchema(t)
	want := map[string]*cel.Type{
		"int": cel.IntType, "double": cel.DoubleType, "bool": cel.BoolType, "string": cel.StringType, "timestamp": cel.TimestampType,
	}
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]string{"bool", "bool", "int", "double", "string", "timestamp"}).Draw(rt, "kind")
		text := writer{rt}.of(kind, rapid.IntRange(0, 4).Draw(rt, "depth"))
		tree, issues := env.Compile(text)
		if issues.Err() != nil {
			rt.Fatalf("%s: CEL's checker: %v", text, issues.Err())
		}
		if !tree.OutputType().IsExactType(want[kind]) {
			rt.Fatalf("%s is %s", text, tree.OutputType())
		}
		program, err := env.Program(tree)
		if err != nil {
			rt.Skip("a literal that CEL finds wrong")
		}
		ours, err := expr.Compile(text, s)
		if err != nil { // an operation on literals that would fail in every row
			rt.Skip(err.Error())
		}
		b, rows := plainRows(rt, s)
		column, err := ours.Eval(b)
		var failed *fault.Rows
		if err != nil && !errors.As(err, &failed) {
			rt.Fatal(err)
		}
		bad := map[int]bool{}
		if failed != nil {
			for _, r := range failed.Bad {
				bad[r.Index] = true
			}
		}
		f := ours.Field("x")
		for row, values := range rows {
			v, _, err := program.Eval(values)
			if (err != nil) != bad[row] {
				rt.Fatalf("%s of %v: CEL gives %v, %v; we fail: %t (%v)", text, values, v, err, bad[row], failed)
			}
			if err == nil && !alike(v, valueOf(f, &column, row)) {
				rt.Fatalf("%s of %v: CEL gives %v, we %v", text, values, v, valueOf(f, &column, row))
			}
		}
		if f.Kind == record.Bool {
			checkSelect(rt, ours, b, &column, bad)
		}
	})
}

// checkSelect: Select gives the rows for which Eval gives true.
func checkSelect(rt *rapid.T, p *expr.Program, b *record.Batch, column *record.Column, bad map[int]bool) {
	rows, all, _ := p.Select(b)
	at := 0
	for row := range b.Rows {
		is := column.IsValid(row) && column.Int(row) == 1 && !bad[row]
		got := all
		if !all && at < len(rows) && int(rows[at]) == row {
			got = true
			at++
		}
		if got != is {
			rt.Fatalf("row %d: selected %t, is %t", row, got, is)
		}
	}
}
