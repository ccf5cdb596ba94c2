package schemas_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/videogames"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func register(tb testing.TB) *schemas.Table {
	tb.Helper()
	table, err := videogames.Table()
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

func screenings(tb testing.TB) *schemas.Table {
	tb.Helper()
	text, err := os.ReadFile("testdata/screenings.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	table, err := schemas.Load("screenings.yaml", text)
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

func TestRegisterIsDeclaredAsAsked(t *testing.T) {
	t.Parallel()
	table := register(t)
	var got []string
	for _, f := range table.Fields {
		got = append(got, fmt.Sprintf("%s %s required=%t %d-%d %d-%d options=%d %s", f.Name, f.Type, f.Required, f.MinLength, f.MaxLength,
			f.Min.At(now), f.Max.At(now), len(f.Options), f.Widget))
	}
	want := []string{
		"id uuid required=false 0-0 0-0 options=0 ",
		"title string required=true 1-200 0-0 options=0 text",
		"developer string required=true 1-200 0-0 options=0 text",
		"genre enum required=true 0-0 0-0 options=13 select",
		"year int32 required=true 0-0 1950-2028 options=0 number",
		"competitive bool required=true 0-0 0-0 options=2 radio",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	indexes := []schemas.Index{{"by_genre", []string{"genre"}}, {"by_year", []string{"year"}}, {"by_developer", []string{"developer"}}}
	if diff := cmp.Diff(indexes, table.Indexes); diff != "" {
		t.Error(diff)
	}
	s := table.Schema()
	if s.Stream != "videogames" || !cmp.Equal(s.KeyNames(), []string{"id"}) || s.Fields[4].Kind != record.Int32 || s.Fields[4].Nullable {
		t.Errorf("the schema is %+v", s)
	}
}

func TestLoadTellsEveryMistakeWithItsPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"syntax":  {"table: [a\n", "ACQ-SCHEMA-001: t.yaml:1:8: "},
		"nothing": {"", "ACQ-SCHEMA-001: t.yaml:1:1: want one document"},
		"many": {`table: Video-games
title: { en: Only English }
noun: { en: Game, es: Juego }
key: [id, nothing]
colour: red
fields:
  - { name: id, type: uuid, generated: true, label: { en: a, es: a } }
  - name: year
    type: int32
    max_length: 3
    min: soon
    label: { en: a, es: a }
  - { name: year, type: number, label: { en: a, es: a } }
  - { name: when, type: enum, widget: slider, label: { en: a, es: a } }
  - { name: free, type: string, options: [a], min_length: 9, max_length: 2, max: 3, label: { en: a, es: a } }
indexes:
  by_time: [time]
`, `ACQ-SCHEMA-001: t.yaml:1:8: table: the name "Video-games" must match ^[a-z][a-z0-9_]{0,62}$
t.yaml:2:10: title: es is missing
t.yaml:4:11: key: there is no field "nothing"
t.yaml:5:1: table: unknown key "colour"; known are table, title, noun, key, fields, indexes, lake
t.yaml:8:5: field year: only a string has a length
t.yaml:11:10: min: want a whole number, or a year as now, now+2 or now-2
t.yaml:13:7: field year: stands twice
t.yaml:13:25: type: unknown type "number"; known are uuid, string, enum, bool, int32, int64, decimal, date
t.yaml:14:7: field when: an enum has options
t.yaml:14:7: field when: the widget of this enum is one of ["select" "radio"]
t.yaml:15:7: field free: min_length is greater than max_length
t.yaml:15:7: field free: only a number has a least and a greatest value
t.yaml:15:7: field free: only an enum has options
t.yaml:17:13: index by_time: there is no field "time" (correct the declaration of the table)`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, err := schemas.Load("t.yaml", []byte(c.text))
			if err == nil || table != nil || fault.Code(err) != "ACQ-SCHEMA-001" {
				t.Fatalf("gave %v, %v", table, err)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Error(cmp.Diff(c.want, err.Error()))
			}
		})
	}
	if _, err := schemas.Load("t.yaml", nil); !errors.As(err, new(*fault.Error)) {
		t.Error(err)
	}
}

// What Athena does not see of a table is said beside its statements.
func TestAthenaSaysWhatItDoesNotSee(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("games", []string{"id"}, record.Field{Name: "id", Kind: record.Int64},
		record.Field{Name: "decade", Kind: record.Int32, Nullable: true}, record.Field{Name: "genre", Kind: record.String, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	for partition, want := range map[string][]string{
		"":       nil,
		"decade": {"decade=__HIVE_DEFAULT_PARTITION__: rows whose decade is null", "truncates", "decade it sees 0,9999"},
		"genre":  {"genre=__HIVE_DEFAULT_PARTITION__", "each query has to say genre = '...'"},
	} {
		var by []string
		if partition != "" {
			by = []string{partition}
		}
		table, err := schemas.NewLakeTable("games", s, by)
		if err != nil {
			t.Fatal(err)
		}
		ddl := table.AthenaDDL("s3://b/lake", "2026-01-01")
		for _, text := range want {
			if !strings.Contains(ddl, text) {
				t.Errorf("partitioned by %q, without %q: %s", partition, text, ddl)
			}
		}
		if len(want) == 0 && strings.Contains(ddl, "--") {
			t.Errorf("by the date of the event all is seen: %s", ddl)
		}
	}
}

// Members whose names Glue's text of a type cannot hold, or that differ in case alone, are told with their column, however deep.
func TestAthenaMisfits(t *testing.T) {
	t.Parallel()
	number := func(names ...string) (out []record.Field) {
		for _, name := range names {
			out = append(out, record.Field{Name: name, Kind: record.Int64})
		}
		return out
	}
	for want, members := range map[string][]record.Field{
		"": number("a", "B", "_c", "7th", "from"),
		`column point: the name of the member "a-b" cannot be held by Glue: it may have a-z, A-Z, 0-9 and _ alone`:     number("x", "a-b"),
		`column point: the name of the member "a:int,b" cannot be held by Glue: it may have a-z, A-Z, 0-9 and _ alone`: number("a:int,b"),
		`column point: the name of the member "" cannot be held by Glue: it may have a-z, A-Z, 0-9 and _ alone`:        number(""),
		`column point: the name of the member "a>" cannot be held by Glue: it may have a-z, A-Z, 0-9 and _ alone`: {
			{Name: "all", Kind: record.List, Fields: []record.Field{{Name: "element", Kind: record.Struct, Fields: number("a>")}}},
		},
		"column point: the members userId and userid are one for Athena": number("userId", "userid"),
	} {
		table := schemas.LakeTable{Name: "games", Columns: []record.Field{{Name: "id", Kind: record.Int64}, {Name: "point", Kind: record.Struct, Fields: members}}}
		if err := table.AthenaMisfit(); (err != nil || want != "") && (err == nil || err.Error() != want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
