package schemas_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// written makes the input of a form.
func written(values ...string) []schemas.Input {
	in := make([]schemas.Input, len(values))
	for i, v := range values {
		if v != "-" {
			in[i] = schemas.Input{Shape: schemas.Written, Text: []byte(v)}
		}
	}
	return in
}

func problems(table *schemas.Table, in []schemas.Input) []string {
	var got []string
	for _, p := range table.Check(in, make([]schemas.Value, len(table.Fields)), now) {
		got = append(got, strings.TrimSpace(fmt.Sprint(p.Name, " ", p.Code, " ", p.Limit)))
	}
	return got
}

func TestCheckOfTheRegister(t *testing.T) {
	t.Parallel()
	table := register(t)
	long := strings.Repeat("ñ", 200)
	for _, c := range []struct {
		name string
		in   []schemas.Input
		want []string
	}{
		{"good", written("-", " Zelda ", "N/A", "Role-Playing", "1998", "true"), nil},
		{"longest", written("-", long, long, "Other", "2028", "false"), nil},
		{"one too long", written("-", long+"x", strings.Repeat("x", 10_000), "Other", "1950", "false"), []string{"title too_long 200", "developer too_long 200"}},
		{"nothing", written("-", "-", "-", "-", "-", "-"), []string{
			"title required", "developer required", "genre required", "year required", "competitive required",
		}},
		{"white space", written("-", " \t\u00a0", "", " ", "", ""), []string{
			"title required", "developer required", "genre required", "year required", "competitive required",
		}},
		{"not at all", written("-", "a\x00b", "a\xffb", "RPG", "N/A", "yes"), []string{
			"title bad_text", "developer bad_text", "genre not_an_option", "year not_a_number", "competitive not_an_option",
		}},
		{"early", written("-", "a", "b", "Misc", "1949", "true"), []string{"year too_small 1950"}},
		{"late", written("-", "a", "b", "Misc", "2029", "true"), []string{"year too_large 2028"}},
		{"far", written("-", "a", "b", "Misc", "99999999999999999999", "true"), []string{"year too_large 2028"}},
		{"far before", written("-", "a", "b", "Misc", "-3000000000", "true"), []string{"year too_small 1950"}},
		{"fraction", written("-", "a", "b", "Misc", "1998.5", "true"), []string{"year not_a_number"}},
		{"plus", written("-", "a", "b", "Misc", "+1998", "true"), []string{"year not_a_number"}},
		{"own number", written("1", "a", "b", "Misc", "1998", "true"), []string{"id unknown_field"}},
		{"JSON types", []schemas.Input{
			{},
			{Shape: schemas.Number, Text: []byte("7")},
			{Shape: schemas.Null},
			{Shape: schemas.Array},
			{Shape: schemas.Characters, Text: []byte("1998")},
			{Shape: schemas.Characters, Text: []byte("true")},
		}, []string{"title wrong_type string", "developer required", "genre wrong_type enum", "year wrong_type int32", "competitive wrong_type bool"}},
		{"JSON good", []schemas.Input{
			{},
			{Shape: schemas.Characters, Text: []byte("a")},
			{Shape: schemas.Characters, Text: []byte("b")},
			{Shape: schemas.Characters, Text: []byte("Puzzle")},
			{Shape: schemas.Number, Text: []byte("1998")},
			{Shape: schemas.Truth, Text: []byte("false")},
		}, nil},
		{"JSON fraction", []schemas.Input{
			{},
			{Shape: schemas.Characters, Text: []byte("a"), Twice: true},
			{Shape: schemas.Characters, Text: []byte("b")},
			{Shape: schemas.Characters, Text: []byte("Puzzle")},
			{Shape: schemas.Number, Text: []byte("1998.0")},
			{Shape: schemas.Truth, Text: []byte("false")},
		}, []string{"title sent_twice", "year not_a_number"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, problems(table, c.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckOfAnotherDeclaration(t *testing.T) {
	t.Parallel()
	table := screenings(t)
	for name, c := range map[string]struct {
		in   []schemas.Input
		want []string
	}{
		"good":     {written("-", "A1", "2026-02-28", "-0,5", "", "", "dub", "true"), nil},
		"no day":   {written("-", "A1", "2026-02-29", "100.00", "1", "", "", ""), []string{"day not_a_date"}},
		"dear":     {written("-", "A1", "2026-02-28", "100.01", "0", "", "", ""), []string{"price too_large 100", "seats too_small 1"}},
		"cheap":    {written("-", "A1", "2026-02-28", "-1.01", "9223372036854775808", "", "", ""), []string{"price too_small -1", "seats too_large 9223372036854775807"}},
		"precise":  {written("-", "A1", "2026-02-28", "1.001", "1e3", "", "", ""), []string{"price too_precise 2", "seats not_a_number"}},
		"many":     {written("-", "A1", "2026-02-28", "12345", "1", "", "", ""), []string{"price too_many_digits 4"}},
		"nonsense": {written("-", "A123", "2026-02-28", "--1", ".", "", "vo", "no"), []string{"room too_long 3", "price not_a_number", "seats not_a_number", "members not_an_option"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, problems(table, c.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckedValuesBecomeARecord(t *testing.T) {
	t.Parallel()
	table := screenings(t)
	values := make([]schemas.Value, len(table.Fields))
	if p := table.Check(written("-", " A1 ", "2026-02-28", "12,5", "40", "", "vo", "false"), values, now); p != nil {
		t.Fatal(p)
	}
	values[0] = schemas.Value{Set: true, Text: []byte("7")}
	b := record.NewBuilder(table.Schema(), 1)
	table.Append(b, values)
	got := string(b.Batch(nil).AppendJSON(nil, 0))
	want := `{"id":"7","room":"A1","day":"2026-02-28","price":"12.50","seats":40,"notes":null,"language":"vo","members":false}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What passes the check always fits the schema, whatever was sent.
func TestWhatPassesFits(t *testing.T) {
	t.Parallel()
	table := register(t)
	rapid.Check(t, func(t *rapid.T) {
		in := make([]schemas.Input, len(table.Fields))
		for i := range in {
			in[i] = schemas.Input{
				Shape: schemas.Shape(rapid.IntRange(0, int(schemas.Object)).Draw(t, "shape")),
				Text: []byte(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"Puzzle", "1998", "true", "1950", "2028"}),
					rapid.StringMatching(`-?[0-9]{1,22}`)).Draw(t, "text")),
			}
		}
		in[0] = schemas.Input{}
		values := make([]schemas.Value, len(in))
		if table.Check(in, values, now) != nil {
			return
		}
		values[0] = schemas.Value{Set: true, Text: []byte("id")}
		b := record.NewBuilder(table.Schema(), 1)
		table.Append(b, values)
		batch := b.Batch(nil)
		if _, err := record.NewBatch(batch.Schema, 1, batch.Columns, batch.System, nil); err != nil {
			t.Fatal(err)
		}
		if err := b.AppendJSON(batch.AppendJSON(nil, 0)); err != nil {
			t.Fatal(err)
		}
		if year := batch.Columns[4].Int(0); year < 1950 || year > 2028 {
			t.Fatalf("the year %d passed", year)
		}
	})
}

func TestEveryCodeHasAMessageInBothLanguages(t *testing.T) {
	t.Parallel()
	table := register(t)
	for _, code := range []schemas.Code{
		schemas.Required, schemas.WrongType, schemas.TooShort, schemas.TooLong, schemas.TooSmall, schemas.TooLarge, schemas.NotAnOption,
		schemas.NotANumber, schemas.TooPrecise, schemas.TooManyDigits, schemas.NotADate, schemas.BadText, schemas.UnknownField, schemas.SentTwice,
	} {
		p := schemas.Problem{Field: 1, Code: code, Limit: "200"}
		en, es := table.Message(p, "en"), table.Message(p, "es")
		if en == "" || es == "" || en == es || strings.Contains(en+es, "*") {
			t.Errorf("%s: %q, %q", code, en, es)
		}
	}
}
