package expr_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// TestRowsAlone: with nulls, absent values and failing rows too, what becomes of a row does not depend on those beside it, nor
// on which columns are constant.
func TestRowsAlone(t *testing.T) {
	t.Parallel()
	plain := plainSchema(t)
	fields := slices.Clone(plain.Fields)
	for i := range fields {
		fields[i].Nullable = i%3 != 2
	}
	s := schemaOf(t, fields...)
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]string{"bool", "bool", "int", "double", "string", "timestamp"}).Draw(rt, "kind")
		text := writer{rt}.of(kind, rapid.IntRange(0, 4).Draw(rt, "depth"))
		p, err := expr.Compile(text, s)
		if err != nil {
			rt.Skip(err.Error())
		}
		full, _ := plainRows(rt, plain)
		b := record.NewBuilder(s, full.Rows)
		for row := range full.Rows {
			for i, f := range s.Fields {
				switch gap := rapid.IntRange(0, 5).Draw(rt, "gap"); {
				case f.Nullable && gap == 0:
					b.Null(i)
				case f.Nullable && gap == 1:
					b.Absent(i)
				case f.Kind == record.Float64:
					b.Float(i, full.Columns[i].Float(row))
				case f.Kind == record.String:
					b.Text(i, full.Columns[i].Text(row))
				default:
					b.Int(i, full.Columns[i].Int(row))
				}
			}
			b.Next()
		}
		batch := b.Batch(nil)
		whole := results(t, p, batch)
		for row := range int32(batch.Rows) {
			one := batch.Select([]int32{row})
			if alone := results(t, p, one)[0]; alone != whole[row] {
				rt.Fatalf("%s: row %d is %s, alone %s", text, row, whole[row], alone)
			}
			many := one.Select(make([]int32, 66))
			constant := rapid.IntRange(0, 1<<len(s.Fields)-1).Draw(rt, "constant columns")
			for i := range many.Columns {
				if constant>>i&1 == 1 {
					many.Columns[i] = one.Columns[i]
					many.Columns[i].Const = true
				}
			}
			for _, got := range results(t, p, many) {
				if got != whole[row] {
					rt.Fatalf("%s: row %d is %s, with constants %s", text, row, whole[row], got)
				}
			}
		}
	})
}

// decimalOf makes a decimal of up to digits digits.
func decimalOf(rt *rapid.T, digits int) (record.Int128, *big.Int) {
	text := rapid.StringMatching("-?[0-9]{1,"+fmt.Sprint(digits)+"}").Draw(rt, "decimal")
	n, _ := new(big.Int).SetString(text, 10)
	v, err := record.ParseDecimal(text, 38, 0)
	if err != nil {
		rt.Fatal(err)
	}
	return v, n
}

func power(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// TestDecimals: against arithmetic with integers of any length.
func TestDecimals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		fields, values, numbers := make([]record.Field, 2), make([]record.Int128, 2), make([]*big.Rat, 2)
		for i := range fields {
			p := rapid.IntRange(1, 38).Draw(rt, "precision")
			fields[i] = record.Field{Name: string(rune('a' + i)), Kind: record.Decimal, Precision: p}
			fields[i].Scale = rapid.IntRange(0, p).Draw(rt, "scale")
			var n *big.Int
			values[i], n = decimalOf(rt, p)
			numbers[i] = new(big.Rat).SetFrac(n, power(fields[i].Scale))
		}
		s := schemaOf(t, fields...)
		b := record.NewBuilder(s, 1)
		for i, f := range fields {
			if f.Wide() {
				b.Wide(i, values[i])
			} else {
				b.Int(i, int64(values[i].Lo))
			}
		}
		b.Next()
		batch := b.Batch(nil)
		order := numbers[0].Cmp(numbers[1])
		for op, want := range map[string]bool{
			"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0, "==": order == 0, "!=": order != 0,
		} {
			if got := results(t, compile(t, "row.a "+op+" row.b", s), batch)[0]; got != fmt.Sprint(want) {
				rt.Fatalf("%v %s %v is %s", numbers[0], op, numbers[1], got)
			}
		}
		want := fmt.Sprintf("%q", numbers[0].FloatString(fields[0].Scale))
		if got := results(t, compile(t, "string(row.a)", s), batch)[0]; got != want {
			rt.Fatalf("string gives %s, want %s", got, want)
		}
		calculations := map[string]*big.Rat{
			"row.a + row.b": new(big.Rat).Add(numbers[0], numbers[1]),
			"row.a - row.b": new(big.Rat).Sub(numbers[0], numbers[1]),
			"row.a * row.b": new(big.Rat).Mul(numbers[0], numbers[1]),
		}
		for text, want := range calculations {
			p, err := expr.Compile(text, s)
			if err != nil {
				if fields[0].Scale+fields[1].Scale <= 38 || !strings.Contains(text, "*") {
					rt.Fatal(err)
				}
				continue
			}
			checkDecimal(rt, results(t, shown(t, text, s), batch)[0], want, p.Field("x"), text)
		}
		to := record.Field{Kind: record.Decimal, Precision: rapid.IntRange(1, 38).Draw(rt, "to")}
		to.Scale = rapid.IntRange(0, to.Precision).Draw(rt, "to scale")
		p, err := compile(t, "row.a", s).As(to)
		if err != nil {
			rt.Fatal(err)
		}
		got := results(t, p, batch)[0]
		if !to.Wide() && got != "fails" {
			n, _ := new(big.Int).SetString(got, 10)
			got = new(big.Rat).SetFrac(n, power(to.Scale)).FloatString(to.Scale)
		}
		checkDecimal(rt, got, numbers[0], to, "cast")
	})
}

// shown writes a decimal expression as text, whichever way its result is held.
func shown(tb testing.TB, text string, s *record.Schema) *expr.Program {
	tb.Helper()
	return compile(tb, "string("+text+")", s)
}

func checkDecimal(rt *rapid.T, got string, want *big.Rat, f record.Field, what string) {
	text := want.FloatString(f.Scale) // half away from zero
	got = strings.Trim(got, `"`)
	if strings.Trim(text, "-0.") == "" {
		text = strings.TrimPrefix(text, "-")
	}
	unscaled, _ := new(big.Int).SetString(strings.Replace(strings.TrimPrefix(text, "-"), ".", "", 1), 10)
	if fits := unscaled.Cmp(power(f.Precision)) < 0; fits && got != text || !fits && got != "fails" {
		rt.Fatalf("%s as %s gives %s, want %s", what, f.TypeName(), got, text)
	}
}
