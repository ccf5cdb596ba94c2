package expr_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/expr"
	"github.com/acequia-io/acequia/record"
)

// games is a schema with a column of each kind.
func games(tb testing.TB) *record.Schema {
	tb.Helper()
	s, err := record.NewSchema("test.games", []string{"name"},
		record.Field{Name: "name", Kind: record.String},
		record.Field{Name: "year", Kind: record.Int32, Nullable: true},
		record.Field{Name: "sales", Kind: record.Int64},
		record.Field{Name: "score", Kind: record.Float64, Nullable: true},
		record.Field{Name: "price", Kind: record.Decimal, Precision: 10, Scale: 2, Nullable: true},
		record.Field{Name: "worth", Kind: record.Decimal, Precision: 38, Scale: 10},
		record.Field{Name: "released", Kind: record.Date, Nullable: true},
		record.Field{Name: "updated_at", Kind: record.Timestamp},
		record.Field{Name: "opened", Kind: record.LocalTimestamp},
		record.Field{Name: "genre", Kind: record.String, Nullable: true},
		record.Field{Name: "cover", Kind: record.Bytes},
		record.Field{Name: "online", Kind: record.Bool, Nullable: true},
		record.Field{Name: "tags", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String}}},
		record.Field{Name: "maker", Kind: record.Struct, Nullable: true, Fields: []record.Field{
			{Name: "city", Kind: record.String, Nullable: true}, {Name: "staff", Kind: record.Int32}, {Name: "open", Kind: record.Bool},
		}},
		record.Field{Name: "first name", Kind: record.String},
		record.Field{Name: "version", Kind: record.VersionText},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"", "0: the expression is empty"},
		{"row.yaear >= 1980", "4: there is no column yaear (did you mean year?)"},
		{"row.Year >= 1980", "4: there is no column Year (did you mean year?)"},
		{"year >= 1980", "0: year is not known (did you mean row.year?)"},
		{"genra == 'x'", "0: genra is not known (did you mean row.genre?)"},
		{"rwo.year >= 1980", "0: rwo is not known (did you mean row?)"},
		{"row == null", "0: row is the whole record (name a column of it, such as row.name)"},
		{"row.name >= 1980", `9: row.name is string, 1980 is int (write "1980" or int(row.name))`},
		{"row.score + 1 > 2.0", "10: row.score is double, 1 is int (write 1.0)"},
		{"row.score * row.sales", "10: row.score is double, row.sales is int (write double(row.sales))"},
		{"row.released > '2020-01-01'", `13: row.released is date, "2020-01-01" is string (write date("2020-01-01"))`},
		{"row.updated_at > '2020'", `15: row.updated_at is timestamp, "2020" is string (write timestamp("2020"))`},
		{"row.price / 2", "10: row.price is decimal(10,2), 2 is int (cast first: double(row.price))"},
		{"row.price * row.score", "10: row.price is decimal(10,2), row.score is double (cast first: double(row.price))"},
		{"row.price % row.price", "10: % does not work with decimal(10,2): row.price is decimal(10,2) (cast first: double(row.price))"},
		{"row.worth * row.worth * row.worth * row.worth", "34: row.worth * row.worth * row.worth * row.worth has more than 38 digits"},
		{"row.price > row.score", "10: row.price is decimal(10,2), row.score is double (cast first: double(row.price))"},
		{"'a' + row.sales", `4: "a" is string, row.sales is int (write string(row.sales))`},
		{"row.name && true", "4: row.name is string, and && wants a bool"},
		{"row.sales ? 1 : 2", "4: row.sales is int, and ?: wants a bool"},
		{"true ? 1 : 'a'", `5: 1 is int, "a" is string (write "1" or int("a"))`},
		{"null == null", "5: null is compared with null"},
		{"null", "0: the expression is null for every row"},
		{"row.year > null", "9: row.year is int, null is null (null is compared with == and != only)"},
		{"duration('1h')", "0: the result is a duration"},
		{"row.tags", "4: the result is a list"},
		{"row.year in [1, 'a']", `16: row.year is int, "a" is string`},
		{"row.year in []", "12: the list is empty"},
		{"row.year in [null]", "13: null is not looked for with in"},
		{"1 in row.tags", "2: 1 is int, the elements of row.tags are string"},
		{"row.year in row.sales", "9: row.sales is int, not a list"},
		{"[1, 2]", "0: a list stands only after in"},
		{"{'a': 1}", "0: maps and objects"},
		{"1u + 2u", "0: unsigned integers"},
		{"row.name.lowerASCII()", "9: there is no function lowerASCII (did you mean lowerAscii?)"},
		{"row.tags.exists(x, x == 'a')", "9: there is no function exists (there are bool, bytes,"},
		{"lowerAscii(row.name)", "0: lowerAscii is not called like this (write x.lowerAscii())"},
		{"row.sales.contains('a')", `10: contains does not take what it is given: row.sales is int, "a" is string (want `},
		{"row.name.matches('(')", "17: error parsing regexp: missing closing )"},
		{"row.name.matches(row.genre)", "21: the regular expression of matches must be a text literal"},
		{"row.updated_at.getHours('Mars/Base')", "24: unknown time zone Mars/Base"},
		{"row.updated_at.getHours('Local')", "24: the zone has no name"},
		{"timestamp('yesterday') > row.updated_at", "0: timestamp(\"yesterday\"): the text is no timestamp"},
		{"row.sales / 0", "10: row.sales / 0 divides by zero"},
		{"row.sales + 9223372036854775807 * 2", "32: 9223372036854775807 * 2: the result does not fit an int"},
		{"row.maker.town == 'x'", "10: row.maker has no member town (there are city, staff, open)"},
		{"row.maker.sity == 'x'", "10: row.maker has no member sity (did you mean city?)"},
		{"row.year.x", "9: row.year is int and has no member x"},
		{"row.version == 'x'", "4: expressions cannot read version, which is version"},
		{"row[0]", "3: an index is the name of a column"},
		{"row.year >=", "11: mismatched input"},
		{"row.año >= 1", "5: token recognition error"},
		{"row.name.size(1)", "9: size does not take what it is given: row.name is string, 1 is int (want size("},
		{"-row.name", "0: row.name is string, which has no minus"},
		{"row.a + row.b", "4: there is no column a; 12: there is no column b"},
		{"'Ñ' == row.nam", "11: there is no column nam (did you mean name?)"},
		{"has(row.nam)", "8: there is no column nam (did you mean name?)"},
		{"math.flor(1.5)", "5: there is no function math.flor (did you mean math.floor?)"},
		{"'a'" + strings.Repeat(".replace('', 'aaaaaaaaaaaaaaaaaaaaaaaa')", 200), ""},
		{"\xff", "0: the expression is not UTF-8"},
		{strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000), ""},
		{strings.Repeat("1+", 20_000) + "1", ""},
	} {
		checkMistakes(t, c.text, c.want)
	}
}

// checkMistakes wants the mistakes' places and the beginnings of their texts.
func checkMistakes(t *testing.T, text, want string) {
	t.Helper()
	p, err := expr.Compile(text, games(t))
	if err == nil || p != nil {
		t.Errorf("%.60s: compiled", text)
		return
	}
	var got []string
	for _, e := range expr.Errors(err) {
		got = append(got, fmt.Sprintf("%d: %v", e.Offset, e))
	}
	for i, part := range strings.Split(want, "; ") {
		if i >= len(got) || !strings.HasPrefix(got[i], part) {
			t.Errorf("%.60s\n got %s\nwant %s", text, strings.Join(got, "; "), want)
			break
		}
	}
}
