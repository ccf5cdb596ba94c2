package expr_test

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

func TestReciprocalDivision(t *testing.T) {
	t.Parallel()
	edges := []int64{
		0, 1, 2, 3, 5, 7, 9, 10, 99, 100, 1998, 1<<31 - 1, 1 << 31, 1<<62 - 1, 1 << 62, 1<<62 + 1, math.MaxInt64 - 1, math.MaxInt64,
	}
	var all []int64
	for _, e := range edges {
		all = append(all, e, -e, -e-1, e*31+17)
	}
	s := schemaOf(t, record.Field{Name: "n", Kind: record.Int64})
	build := record.NewBuilder(s, len(all))
	for _, n := range all {
		build.Int(0, n)
		build.Next()
	}
	b := build.Batch(nil)
	for _, d := range all {
		if d == 0 {
			continue
		}
		q, err := compile(t, "row.n / "+strconv.FormatInt(d, 10), s).Eval(b)
		bad := failing(t, err)
		r, _ := compile(t, "row.n % "+strconv.FormatInt(d, 10), s).Eval(b)
		for i, n := range all {
			if bad[i] != "" {
				if n != math.MinInt64 || d != -1 {
					t.Errorf("%d / %d fails", n, d)
				}
				continue
			}
			if q.Int(i) != n/d || r.Int(i) != n%d {
				t.Errorf("%d / %d gives %d, rest %d", n, d, q.Int(i), r.Int(i))
			}
		}
	}
}

func FuzzCompile(f *testing.F) {
	for _, text := range []string{
		"row.year >= 1980", `row.genre == "Sports" && row.name.startsWith("W")`, "row.year / 10 * 10",
		"has(row.maker.city) ? row.maker.city : null",
		"row.price > 9.99", "timestamp('2020-01-01T00:00:00Z') < row.updated_at", "row.tags.exists(x, x > 1)",
		"row.a.b.c", "((((", "1u", "'\\x", "row.`x`", "-(-1)",
		"math.least(1, 2)", "duration('1h') + duration('2h') > duration('1s')", "b'a' + b'b' == row.cover",
		"row.worth in [1, 2.5]", "{}", "[]", "row['a']", "a ? b : c",
	} {
		f.Add(text)
	}
	s, b := games(f), two(f)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := expr.Compile(text, s)
		if err != nil {
			for _, e := range expr.Errors(err) {
				if e.Offset < 0 || e.Offset > len([]rune(strings.ToValidUTF8(text, "?"))) || e.Message == "" {
					t.Errorf("%q: %d %q", text, e.Offset, e.Message)
				}
			}
			if len(expr.Errors(err)) == 0 {
				t.Errorf("%q: %v is no *Error", text, err)
			}
			return
		}
		whole := results(t, p, b)
		for row := range int32(2) {
			if alone := results(t, p, b.Select([]int32{row})); alone[0] != whole[row] {
				t.Errorf("%q: row %d is %s, alone %s", text, row, whole[row], alone[0])
			}
		}
	})
}
