package expr_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// two rows: the first has a value everywhere, the second only where it must; its genre is absent, not null.
func two(tb testing.TB) *record.Batch {
	tb.Helper()
	s := games(tb)
	b := record.NewBuilder(s, 2)
	for range 2 {
		full := b.Rows() == 0
		b.String(0, "Wii Sports")
		b.Int(2, 82_530_000)
		b.Wide(5, record.Int128{Hi: 1 << 40, Lo: 5})
		b.Int(7, time.Date(2026, 8, 1, 23, 59, 58, 123_456_000, time.UTC).UnixMicro())
		b.Int(8, time.Date(2026, 8, 1, 9, 30, 0, 0, time.UTC).UnixMicro())
		b.Text(10, []byte{0xff, 1})
		b.String(14, "Ana")
		maker := b.Nested(13)
		maker.Children[0].AppendText([]byte("Kyoto"))
		maker.Children[1].Ints = append(maker.Children[1].Ints, 7000)
		maker.Children[2].Ints = append(maker.Children[2].Ints, 1)
		tags := b.Nested(12)
		if full {
			b.Int(1, 2006)
			b.Float(3, 8.5)
			b.Int(4, 4999)
			b.Int(6, 13470) // 2006-11-18
			b.String(9, "Sports")
			b.Bool(11, true)
			tags.Children[0].AppendText([]byte("motion"))
			tags.Children[0].AppendText([]byte("family"))
		} else {
			b.Absent(9)
			maker.SetNull(1)
			tags.SetNull(1)
		}
		tags.Offsets = append(tags.Offsets, 2)
		b.Next()
	}
	return b.Batch(nil)
}

// show writes a slot.
func show(f record.Field, c *record.Column, row int) string {
	switch {
	case c.IsAbsent(row):
		return "absent"
	case !c.IsValid(row):
		return "null"
	case f.Kind == record.Bool:
		return strconv.FormatBool(c.Int(row) == 1)
	case f.Kind == record.Float64 || f.Kind == record.Float32:
		return strconv.FormatFloat(c.Float(row), 'g', -1, 64)
	case f.Kind == record.String || f.Kind == record.Bytes:
		return strconv.Quote(string(c.Text(row)))
	case f.Wide():
		if c.Const {
			row = 0
		}
		return string(record.AppendDecimal(nil, c.Wide[row], f.Scale))
	default:
		return strconv.FormatInt(c.Int(row), 10)
	}
}

// failing says which rows an error is about.
func failing(tb testing.TB, err error) map[int]string {
	tb.Helper()
	bad := map[int]string{}
	var rows *fault.Rows
	switch {
	case errors.As(err, &rows):
		for _, r := range rows.Bad {
			bad[r.Index] = "fails"
			if fault.Of(r.Err) != fault.Poison {
				tb.Errorf("row %d: %v is not poison", r.Index, r.Err)
			}
		}
	case err != nil:
		tb.Fatal(err)
	}
	return bad
}

func results(tb testing.TB, p *expr.Program, b *record.Batch) []string {
	tb.Helper()
	c, err := p.Eval(b)
	bad := failing(tb, err)
	f := p.Field("result")
	if _, err := record.NewBatch(schemaOf(tb, f), b.Rows, []record.Column{c}, record.System{}, nil); err != nil {
		tb.Fatal(err)
	}
	out := make([]string, b.Rows)
	for row := range out {
		out[row] = show(f, &c, row)
		if bad[row] != "" {
			out[row] = bad[row]
		}
		if !f.Nullable && !c.IsValid(row) {
			tb.Errorf("row %d is null and the field is not", row)
		}
	}
	return out
}

func schemaOf(tb testing.TB, fields ...record.Field) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("test.result", nil, fields...)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func compile(tb testing.TB, text string, s *record.Schema) *expr.Program {
	tb.Helper()
	p, err := expr.Compile(text, s)
	if err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return p
}

// valueCase is an expression, its type, with ? where it may be null, and its value in the two rows.
type valueCase struct{ text, kind, first, second string }

func checkValues(t *testing.T, cases []valueCase) {
	t.Helper()
	b := two(t)
	for _, c := range cases {
		p := compile(t, c.text, b.Schema)
		f := p.Field("result")
		kind := f.TypeName()
		if f.Nullable {
			kind += "?"
		}
		got := results(t, p, b)
		if want := []string{c.first, c.second}; kind != c.kind || !slices.Equal(got, want) {
			t.Errorf("%s is %s %q, want %s %q", c.text, kind, got, c.kind, want)
		}
	}
}

func TestNulls(t *testing.T) {
	t.Parallel()
	checkValues(t, []valueCase{
		{"row.year", "int64?", "2006", "null"},
		{"row.year / 10 * 10", "int64?", "2000", "null"},
		{"row['year'] - 1", "int64?", "2005", "null"},
		{"row.name", "string", `"Wii Sports"`, `"Wii Sports"`},
		{"row['first name'] + '!'", "string", `"Ana!"`, `"Ana!"`},
		{"row.`first name`", "string", `"Ana"`, `"Ana"`},
		{"row.genre", "string?", `"Sports"`, "absent"},
		{"row.genre + row.name", "string?", `"SportsWii Sports"`, "absent"},
		{"row.genre == 'Sports'", "bool?", "true", "absent"},
		{"row.year == null", "bool", "false", "true"},
		{"row.year != null", "bool", "true", "false"},
		{"null == row.genre", "bool", "false", "true"},
		{"has(row.genre)", "bool", "true", "false"},
		{"!has(row.year)", "bool", "false", "true"},
		{"has(row.maker.city)", "bool", "true", "false"},
		{"row.year > 1980 && false", "bool?", "false", "false"},
		{"row.year > 1980 && true", "bool?", "true", "null"},
		{"row.year > 1980 || true", "bool?", "true", "true"},
		{"row.year < 1980 || null", "bool?", "null", "null"},
		{"row.genre == 'Sports' && row.online", "bool?", "true", "absent"},
		{"row.genre == 'Sports' && row.name == ''", "bool?", "false", "false"},
		{"!(row.year > 1980)", "bool?", "false", "null"},
		{"row.online", "bool?", "true", "null"},
		{"row.online ? 'yes' : 'no'", "string?", `"yes"`, "null"},
		{"row.year == null ? 'unknown' : string(row.year)", "string?", `"2006"`, `"unknown"`},
		{"row.year > 2000 ? row.genre : null", "string?", `"Sports"`, "null"},
		{"has(row.year) ? row.genre : 'none'", "string?", `"Sports"`, `"none"`},
		{"row.sales > 5 ? row.genre : null", "string?", `"Sports"`, "absent"},
		{"row.year in [2006, 2007]", "bool?", "true", "null"},
		{"row.sales in [row.year, 82530000]", "bool?", "true", "true"},
		{"row.sales in [row.year, 1]", "bool?", "false", "null"},
		{"row.score in [8.5]", "bool?", "true", "null"},
		{"row.name in ['Tetris', 'Wii Sports']", "bool", "true", "true"},
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	checkValues(t, []valueCase{
		{"row.sales * row.sales * row.sales", "int64", "fails", "fails"},
		{"1 / (row.year - 2006)", "int64?", "fails", "null"},
		{"row.year != 2006 && 1 / (row.year - 2006) > 0", "bool?", "false", "null"},
		{"1 / (row.year - 2006) > 0 && row.year != 2006", "bool?", "false", "null"},
		{"row.year == 2006 || 1 % (row.year - 2006) > 0", "bool?", "true", "null"},
		{"row.year == 2006 ? 0 : 1 / (row.year - 2006)", "int64?", "0", "null"},
		{"row.year == 2006 ? 1 / (row.year - 2006) : 0", "int64?", "fails", "null"},
		{"1 / (row.year - 2006) == null", "bool", "fails", "true"},
		{"int(row.name)", "int64", "fails", "fails"},
		{"string(row.cover)", "string", "fails", "fails"},
		{"row.name.substring(4)", "string", `"Sports"`, `"Sports"`},
		{"row.genre.substring(7)", "string?", "fails", "absent"},
	})
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	checkValues(t, []valueCase{
		{"row.score > 8", "bool?", "true", "null"},
		{"row.score == 8", "bool?", "false", "null"},
		{"8 < row.score", "bool?", "true", "null"},
		{"row.sales >= 82530000.5", "bool", "false", "false"},
		{"row.sales != 82530000.0", "bool", "false", "false"},
		{"9223372036854775807 < 9223372036854775808.0", "bool", "true", "true"},
		{"9007199254740993 > 9007199254740992.0", "bool", "true", "true"},
		{"row.sales < row.score / 0.0 && row.sales > -row.score / 0.0", "bool?", "true", "null"},
		{"double(row.year) / 4.0", "float64?", "501.5", "null"},
		{"row.price > 49.98 && row.price <= 49.99", "bool?", "true", "null"},
		{"row.price == 49.99", "bool?", "true", "null"},
		{"row.price == 49.990", "bool?", "true", "null"},
		{"row.price < 49.991", "bool?", "true", "null"},
		{"row.price > 49", "bool?", "true", "null"},
		{"row.price > row.sales", "bool?", "false", "null"},
		{"row.price in [49.99, 1]", "bool?", "true", "null"},
		{"row.price < row.worth", "bool?", "true", "null"},
		{"row.worth < 1e30", "bool", "true", "true"},
		{"row.worth > -1", "bool", "true", "true"},
		{"double(row.price) * 2.0", "float64?", "99.98", "null"},
		{"string(row.price)", "string?", `"49.99"`, "null"},
		{"string(row.worth)", "string", `"2028240960365167042394.7251286021"`, `"2028240960365167042394.7251286021"`},
		{"double(row.worth)", "float64", "2.028240960365167e+21", "2.028240960365167e+21"},
		{"int(row.price)", "int64?", "49", "null"},
		{"int(row.worth)", "int64", "fails", "fails"},
		{"row.price", "decimal(10,2)?", "4999", "null"},
		{"row.price * 2", "decimal(11,2)?", "9998", "null"},
		{"row.price * 1.21", "decimal(13,4)?", "604879", "null"},
		{"row.price + row.year", "decimal(13,2)?", "205599", "null"},
		{"1 - row.price", "decimal(11,2)?", "-4899", "null"},
		{"-row.price", "decimal(10,2)?", "-4999", "null"},
		{"row.price * row.sales", "decimal(29,2)?", "4125674700.00", "null"},
		{"row.price * -row.sales == -4125674700", "bool?", "true", "null"},
		{"row.worth + row.worth", "decimal(38,10)", "4056481920730334084789.4502572042", "4056481920730334084789.4502572042"},
		{"row.worth - row.worth", "decimal(38,10)", "0.0000000000", "0.0000000000"},
		{"-row.worth", "decimal(38,10)", "-2028240960365167042394.7251286021", "-2028240960365167042394.7251286021"},
		{"row.worth * 10000000", "decimal(38,10)", "fails", "fails"},
		{"row.worth * 1000000 * 3", "decimal(38,10)", "6084722881095501127184175385.8063000000", "6084722881095501127184175385.8063000000"},
		{"row.sales > 1 ? row.worth : null", "decimal(38,10)?", "2028240960365167042394.7251286021", "2028240960365167042394.7251286021"},
	})
}

func TestTexts(t *testing.T) {
	t.Parallel()
	checkValues(t, []valueCase{
		{"row.name.startsWith('Wii') && row.name.endsWith('s')", "bool", "true", "true"},
		{"row.name.matches('^W.*s$')", "bool", "true", "true"},
		{"row.genre.lowerAscii() == 'sports'", "bool?", "true", "absent"},
		{"size(row.name)", "int64", "10", "10"},
		{"row.name.size()", "int64", "10", "10"},
		{"size(row.cover)", "int64", "2", "2"},
		{"size(row.tags)", "int64?", "2", "null"},
		{"'family' in row.tags", "bool?", "true", "null"},
		{"row.name in row.tags", "bool?", "false", "null"},
		{"row.cover == b'\\xff\\x01'", "bool", "true", "true"},
		{"bytes(row.genre)", "bytes?", `"Sports"`, "absent"},
		{"row.maker.city", "string?", `"Kyoto"`, "null"},
		{"row.maker['staff'] > 5000 && row.maker.open", "bool?", "true", "null"},
	})
}

func TestTimes(t *testing.T) {
	t.Parallel()
	checkValues(t, []valueCase{
		{"row.released", "date?", "13470", "null"},
		{"row.released == date('2006-11-18')", "bool?", "true", "null"},
		{"row.released < timestamp('2006-11-18T00:00:01Z')", "bool?", "true", "null"},
		{"row.released.getFullYear()", "int64?", "2006", "null"},
		{"string(row.released)", "string?", `"2006-11-18"`, "null"},
		{"string(row.updated_at)", "string", `"2026-08-01T23:59:58.123456Z"`, `"2026-08-01T23:59:58.123456Z"`},
		{"string(row.opened)", "string", `"2026-08-01T09:30:00"`, `"2026-08-01T09:30:00"`},
		{"row.updated_at.getDate('Europe/Madrid')", "int64", "2", "2"},
		{"date(row.updated_at)", "date", "20666", "20666"},
		{"row.opened + duration('1h')", "local_timestamp", "1785580200000000", "1785580200000000"},
		{"(row.updated_at - row.opened).getHours()", "int64", "14", "14"},
		{"row.updated_at - row.released > duration('24h')", "bool?", "true", "null"},
		{"has(row.released) ? row.released : row.updated_at", "timestamp?", "1163808000000000", "1785628798123456"},
		{"true ? null : row.year", "int64?", "null", "null"},
		{"(true ? null : row.sales) < 2.5", "bool?", "null", "null"},
		{"math.greatest(row.sales, row.year, 1)", "int64?", "82530000", "null"},
		{"1 + 2", "int64", "3", "3"},
	})
}

func TestColumns(t *testing.T) {
	t.Parallel()
	p := compile(t, "row.year > 1 && row.maker.city == row.name || has(row.year)", games(t))
	if d := cmp.Diff([]string{"year", "maker", "name"}, p.Columns()); d != "" {
		t.Error(d)
	}
}

func TestFailuresNameTheOnlyColumn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"int(row.name)":               "row 0, column name: int(row.name): the text is no int (and 1 rows more)",
		"row.sales / (row.year-2006)": "row 0: row.sales / (row.year - 2006): division by zero",
		"row.sales * 999999999999":    "row 0, column sales: row.sales * 999999999999: the result does not fit an int (and 1 rows more)",
	} {
		_, err := compile(t, text, games(t)).Eval(two(t))
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	b := two(t)
	for _, c := range []struct {
		text string
		rows []int32
		all  bool
	}{
		{"row.year == 2006", []int32{0}, false},
		{"row.year != 2006", []int32{}, false},
		{"row.sales > 0", nil, true},
		{"true", nil, true},
		{"false", nil, false},
		{"row.year == null", []int32{1}, false},
	} {
		rows, all, err := compile(t, c.text, b.Schema).Select(b)
		if err != nil || all != c.all || !slices.Equal(rows, c.rows) {
			t.Errorf("%s: %v %t %v", c.text, rows, all, err)
		}
	}
	if _, _, err := compile(t, "row.sales", b.Schema).Select(b); fault.Of(err) != fault.Fatal || err == nil {
		t.Errorf("select by an int: %v", err)
	}
	rows, _, err := compile(t, "1 / (row.year - 2006) >= 0 || row.year == null", b.Schema).Select(b)
	if !slices.Equal(rows, []int32{1}) || len(failing(t, err)) != 1 {
		t.Errorf("beside a failing row: %v %v", rows, err)
	}
}

func TestAnotherSchema(t *testing.T) {
	t.Parallel()
	p := compile(t, "row.sales", games(t))
	b := record.NewBuilder(schemaOf(t, record.Field{Name: "sales", Kind: record.Int64}), 1)
	b.Next()
	if _, err := p.Eval(b.Batch(nil)); err == nil || fault.Of(err) != fault.Fatal {
		t.Error(err)
	}
}

// TestShapes: a result does not depend on how the columns of the batch are held, nor on the rows beside.
func TestShapes(t *testing.T) {
	t.Parallel()
	base := two(t)
	texts := []string{
		"row.year / 10 * 10", "row.year + row.sales", "5 - row.year", "row.year > 5", "row.sales < row.year",
		"row.genre == row.name", "row.genre + row.name",
		"row.name == 'x' || row.genre == 'Sports'", "row.online ? row.genre : row.name", "1 / (row.year - 2006)",
		"row.online && 1 / (row.year - 2006) > 1",
		"row.score * 2.0", "row.sales > row.score", "row.price < row.worth", "size(row.tags)", "'motion' in row.tags",
		"row.maker.city", "row.maker.open",
		"row.genre.upperAscii()", "row.released < row.updated_at", "row.year in [1, 2006]", "row.genre in ['Sports']",
		"row.sales > 5 ? null : row.worth",
		"!row.online", "row.online == row.maker.open", "row.genre == null", "string(row.online)",
		"row.genre.substring(0, 1)", "bool(row.genre)", "row.worth",
	}
	for _, rows := range [][]int32{nil, {0}, {1}, {0, 1}, slices.Repeat([]int32{0, 1, 1}, 70)} {
		wide := base.Select(rows)
		for _, text := range texts {
			p := compile(t, text, base.Schema)
			alone := results(t, p, base)
			want := make([]string, len(rows))
			for i, r := range rows {
				want[i] = alone[r]
			}
			if d := cmp.Diff(want, results(t, p, wide)); d != "" {
				t.Errorf("%s of %d rows: %s", text, len(rows), d)
			}
			if len(rows) > 1 {
				continue
			}
			for _, n := range []int{0, 1, 130} { // one slot for n rows, all columns and every second
				columns := slices.Clone(wide.Columns)
				for i := range columns {
					columns[i].Const = true
				}
				b, err := record.NewBatch(base.Schema, n, columns, record.System{}, nil)
				if err != nil || len(rows) == 0 && n > 0 {
					continue
				}
				constant := results(t, p, b)
				if len(rows) == 1 && (len(constant) != n || n > 0 && constant[n-1] != want[0]) {
					t.Errorf("%s of a constant: %q, want %s", text, constant, want)
				}
				if len(rows) == 1 {
					mixed(t, p, wide, n, want[0])
				}
			}
		}
	}
}

// mixed has constants beside columns of a slot a row.
func mixed(tb testing.TB, p *expr.Program, one *record.Batch, n int, want string) {
	tb.Helper()
	many := one.Select(make([]int32, n))
	for odd := range 2 {
		columns := slices.Clone(many.Columns)
		for i := range columns {
			if i%2 == odd {
				columns[i] = one.Columns[i]
				columns[i].Const = true
			}
		}
		b, err := record.NewBatch(one.Schema, n, columns, record.System{}, nil)
		if err != nil {
			tb.Fatal(err)
		}
		for row, got := range results(tb, p, b) {
			if got != want {
				tb.Fatalf("row %d of constants beside columns: %s, want %s", row, got, want)
			}
		}
	}
}

func TestInputIsNotChanged(t *testing.T) {
	t.Parallel()
	b := two(t)
	before := fmt.Sprintf("%v", b.Columns)
	for _, text := range []string{
		"row.year", "row.year + 1", "row.sales > 5 ? row.year : null", "-row.sales", "!row.online", "timestamp(row.opened)",
		"int(row.name)",
	} {
		_, _ = compile(t, text, b.Schema).Eval(b)
	}
	if after := fmt.Sprintf("%v", b.Columns); after != before {
		t.Error("the batch was changed")
	}
}
