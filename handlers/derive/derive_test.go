package derive_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/handlers/derive"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/record"
)

func columns(pairs ...string) derive.Config {
	var c derive.Config
	for i := 0; i < len(pairs); i += 3 {
		c.Columns = append(c.Columns, config.Entry[derive.Column]{Name: pairs[i], Value: derive.Column{Expr: pairs[i+1], Type: pairs[i+2]}})
	}
	return c
}

func games(tb testing.TB) *record.Schema {
	tb.Helper()
	return schema(tb, record.Field{Name: "year", Kind: record.Int32, Nullable: true}, record.Field{Name: "sales", Kind: record.Int64})
}

func fields(s *record.Schema) []string {
	var out []string
	for _, f := range s.Fields {
		text := f.Name + " " + f.TypeName()
		if f.Nullable {
			text += "?"
		}
		out = append(out, text)
	}
	return out
}

func TestShape(t *testing.T) {
	t.Parallel()
	h, err := derive.New(columns(
		"decade", "row.year / 10 * 10", "int32",
		"label", "string(row.decade) + 's'", "",
		"sales", "double(row.sales) / 2.0", "",
		"big", "row.sales > 5.5", "",
		"day", "date('2026-08-01')", "",
	))
	if err != nil {
		t.Fatal(err)
	}
	in := games(t)
	out, err := h.Shape(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"id string", "year int32?", "sales float64", "decade int32?", "label string?", "big bool", "day date"}
	if d := cmp.Diff(want, fields(out)); d != "" {
		t.Error(d)
	}
	if !slices.Equal(out.Key, in.Key) || out.Stream != in.Stream {
		t.Errorf("key %v of %s", out.Key, out.Stream)
	}
	if again, _ := h.Shape(in); again != out {
		t.Error("another schema the second time")
	}
}

// handle gives the rows of the last column: years 1985 and 2010, then null, then absent, then a delete of 2010.
func handle(t *testing.T, c derive.Config) ([]string, error) {
	t.Helper()
	h, err := derive.New(c)
	if err != nil {
		t.Fatal(err)
	}
	b := record.NewBuilder(games(t), 5)
	for row := range 5 {
		b.String(0, fmt.Sprint(row))
		switch row {
		case 0:
			b.Int(1, 1985)
		case 1, 4:
			b.Int(1, 2010)
		case 3:
			b.Absent(1)
		}
		b.Int(2, int64(row))
		b.Next()
	}
	b.System().Ops = []record.Op{record.Insert, record.Update, record.Update, record.Update, record.Delete}
	out, err := h.Handle(t.Context(), b.Batch(nil))
	if err != nil {
		return nil, err
	}
	last := &out[0].Columns[len(out[0].Columns)-1]
	var got []string
	for row := range 5 {
		switch {
		case last.IsAbsent(row):
			got = append(got, "absent")
		case !last.IsValid(row):
			got = append(got, "null")
		default:
			got = append(got, fmt.Sprint(last.Int(row)))
		}
	}
	return got, nil
}

func TestValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		config derive.Config
		want   string
	}{
		{"null stays null and absent stays absent", columns("decade", "row.year / 10 * 10", "int32"), "1980 2010 null absent 2010"},
		{"an earlier column", columns("decade", "row.year / 10 * 10", "", "next", "row.decade + 10", ""), "1990 2020 null absent 2020"},
		{"a replaced column", columns("year", "row.year == null ? 0 : row.year", "", "copy", "row.year", ""), "1985 2010 0 0 2010"},
		{"a delete that fails is null", columns("n", "1 / (row.sales - 4) + row.year", ""), "1985 2010 null absent null"},
		{"a delete that fails is zero", columns("n", "row.sales / (row.sales - 4)", ""), "0 0 -1 -3 0"},
		{"a constant", columns("n", "1 + 1", ""), "2 2 2 2 2"},
	} {
		got, err := handle(t, c.config)
		if text := strings.Join(got, " "); err != nil || text != c.want {
			t.Errorf("%s: %s %v, want %s", c.name, text, err, c.want)
		}
	}
}

func TestRefusedRows(t *testing.T) {
	t.Parallel()
	_, err := handle(t, columns(
		"n", "1 / (row.sales - 1)", "",
		"m", "1000 / (row.year - 1985)", "int32",
		"k", "row.n / (row.n - row.n)", "",
	))
	rows, ok := errors.AsType[*fault.Rows](err)
	if !ok {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows.Bad {
		got = append(got, fmt.Sprintf("%d %s: %v", r.Index, r.Column, r.Err))
	}
	want := []string{
		"0 year: 1000 / (row.year - 1985): division by zero",
		"1 sales: 1 / (row.sales - 1): division by zero",
		"2 : row.n / (row.n - row.n): division by zero",
		"3 : row.n / (row.n - row.n): division by zero",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	t.Parallel()
	h, err := derive.New(columns(
		"decade", "row.yaear / 10 * row.tens", "",
		"after", "row.decade + 1", "", // not to blame
		"id", "'x'", "",
		"half", "string(row.sales)", "decimal(5,1)",
		"fine", "row.sales", "",
	))
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Shape(games(t))
	if fault.Code(err) != "ACQ-DERIVE-001" || fault.Of(err) != fault.Fatal {
		t.Errorf("%v has code %q", err, fault.Code(err))
	}
	whole, _ := errors.AsType[*fault.Error](err)
	got := places(whole.Err)
	want := []string{
		"4 decade.expr: there is no column yaear (did you mean year?)",
		"21 decade.expr: there is no column tens (there are id, year, sales)",
		"0 id: is a column of the key (a record keeps its key: choose another name)",
		"0 half.type: the result is string, which does not become decimal(5,1)",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func places(err error) []string {
	var out []string
	switch e := err.(type) { //nolint:errorlint // the tree as it is
	case *config.FieldError:
		out = append(out, fmt.Sprintf("%d %v", e.Offset, e))
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			out = append(out, places(one)...)
		}
	}
	return out
}

func TestWrongSettings(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]derive.Config{
		"no column is named":       {},
		"a column has no name":     columns("", "1", ""),
		"n: stands twice":          columns("n", "1", "", "n", "2", ""),
		"n.expr: must be set":      columns("n", "", ""),
		"n.type: \"x\" is no type": columns("n", "1", "x"),
	} {
		if _, err := derive.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
