package athena_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/internal/athena/athenatest"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
	"github.com/acequia-io/acequia/schemas/cinema"
	"github.com/acequia-io/acequia/schemas/videogames"
)

// everyKind is a stream with a column of each kind, and names that are words of SQL.
func everyKind(t *testing.T, key ...string) *record.Schema {
	t.Helper()
	member := []record.Field{
		{Name: "a", Kind: record.Int32, Nullable: true},
		{Name: "from", Kind: record.String},
		{Name: "7th", Kind: record.Int64},
		{Name: "_x", Kind: record.Date},
		{Name: "userId", Kind: record.Bool},
		{Name: "table", Kind: record.Struct, Fields: []record.Field{{Name: "order", Kind: record.Int64}}},
		{Name: "b", Kind: record.List, Nullable: true, Fields: []record.Field{{Name: "element", Kind: record.String}}},
	}
	s, err := record.NewSchema("public.every", key,
		record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "Order", Kind: record.String}, record.Field{Name: "select", Kind: record.Bool},
		record.Field{Name: "from", Kind: record.Float32}, record.Field{Name: "date", Kind: record.Date}, record.Field{Name: "at", Kind: record.Timestamp},
		record.Field{Name: "there", Kind: record.LocalTimestamp}, record.Field{Name: "price", Kind: record.Decimal, Precision: 20, Scale: 4},
		record.Field{Name: "small", Kind: record.Int32}, record.Field{Name: "double", Kind: record.Float64}, record.Field{Name: "bytes", Kind: record.Bytes},
		record.Field{Name: "tags", Kind: record.List, Fields: member[:1]}, record.Field{Name: "group", Kind: record.Struct, Fields: member},
		record.Field{Name: "7th", Kind: record.String, Nullable: true},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lakeTables are tables of all shapes that there are.
func lakeTables(t *testing.T) []*schemas.LakeTable {
	t.Helper()
	var out []*schemas.LakeTable
	add := func(name string, s *record.Schema, partition ...string) {
		table, err := schemas.NewLakeTable(name, s, partition)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, table)
	}
	add("keyed", everyKind(t, "id"))
	add("keys", everyKind(t, "id", "Order"), "date")
	add("keyless", everyKind(t))
	add("parts", everyKind(t, "id"), "small", "select", "Order")
	games, err := videogames.Table()
	if err != nil {
		t.Fatal(err)
	}
	add("videogames", games.Schema())
	for _, one := range cinema.Tables() {
		s, err := one.Schema()
		if err != nil {
			t.Fatal(err)
		}
		add(one.Name, s)
	}
	return out
}

// TestGrammar has the statements of all tables read by a grammar that others wrote: they are what they say they are.
func TestGrammar(t *testing.T) {
	t.Parallel()
	tables := lakeTables(t)
	var statements []athenatest.Statement // one program reads them all
	for _, table := range tables {
		for text := range strings.SplitSeq(table.AthenaDDL("s3://bucket/a/lake", "2026-01-01"), ";\n") {
			if strings.TrimSpace(text) != "" {
				statements = append(statements, athenatest.Statement{Dialect: "athena", SQL: text})
			}
		}
	}
	found := athenatest.Parse(t, statements...)
	for _, table := range tables {
		at, views := table.Athena("s3://bucket/a/lake/", "2026-01-01"), table.AthenaViews()
		if len(found) < 1+len(views) {
			t.Fatalf("%s: %d statements are left", table.Name, len(found))
		}
		made := found[0]
		want := athenatest.Parsed{Kind: "create table", Name: table.Name, Location: at.Location, Properties: map[string]string{}, SQL: made.SQL}
		want.Columns, want.Partition = columnsOf(at.Columns), columnsOf(at.Partition)
		for _, p := range at.Properties {
			want.Properties[p[0]] = p[1]
		}
		for i := range made.Columns { // quotes included: a member may be a word of the language
			made.Columns[i].Type = strings.NewReplacer(", ", ",", ": ", ":").Replace(made.Columns[i].Type)
		}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Errorf("%s: %s", table.Name, diff)
		}
		for i, v := range views {
			if got := found[i+1]; got.Error != "" || got.Kind != "create view" || got.Name != v.Name {
				t.Errorf("%+v of %s", got, v.SQL)
			}
		}
		found = found[1+len(views):]
	}
	if len(found) > 0 {
		t.Errorf("%d statements more", len(found))
	}
}

// member is the name of a member in a type of Glue, which has no quotes.
var member = regexp.MustCompile(`(\w+):`)

func columnsOf(columns []schemas.AthenaColumn) []athenatest.Column {
	out := make([]athenatest.Column, len(columns))
	for i, c := range columns {
		out[i] = athenatest.Column{Name: c.Name, Type: strings.ToLower(member.ReplaceAllString(c.Hive, "`$1`:"))}
	}
	return out
}

// TestGrammarOfViews has each column of each view cast to the type that the view says it has: every type is one of Trino's.
func TestGrammarOfViews(t *testing.T) {
	t.Parallel()
	var statements []athenatest.Statement
	for _, table := range lakeTables(t) {
		for _, v := range table.AthenaViews() {
			casts := make([]string, len(v.Columns))
			for i, c := range v.Columns {
				casts[i] = fmt.Sprintf("CAST(%q AS %s)", c.Name, v.Trino[i])
			}
			statements = append(statements, athenatest.Statement{Dialect: "athena", SQL: "SELECT " + strings.Join(casts, ", ") + " FROM (" + v.SQL + ")"})
		}
	}
	for i, found := range athenatest.Parse(t, statements...) {
		if found.Error != "" {
			t.Errorf("%s: %s", found.Error, statements[i].SQL)
		}
	}
}

// TestGrammarRefuses shows that the grammar is one: mistakes that these statements could have are found.
func TestGrammarRefuses(t *testing.T) {
	t.Parallel()
	wrong := map[string]string{
		"a type that is none":      "CREATE EXTERNAL TABLE `a` (`b` strin) STORED AS PARQUET LOCATION 's3://a/b/'",
		"a comma too few":          "CREATE EXTERNAL TABLE `a` (`b` string `c` string) PARTITIONED BY (`dt` string) STORED AS PARQUET",
		"a bracket that is open":   "CREATE EXTERNAL TABLE `a` (`b` struct<a:int) STORED AS PARQUET",
		"a type of the other side": "CREATE EXTERNAL TABLE `a` (`b` row(a integer)) STORED AS PARQUET LOCATION 's3://a/b/'",
		"half a view":              `CREATE OR REPLACE VIEW "a" AS SELECT FROM "b"`,
		"a column of DuckDB":       `SELECT * EXCLUDE (a) FROM b`,
		"two statements":           `SELECT 1; SELECT 2`,
	}
	names := slices.Sorted(maps.Keys(wrong))
	statements := make([]athenatest.Statement, len(names))
	for i, name := range names {
		statements[i] = athenatest.Statement{Dialect: "athena", SQL: wrong[name]}
	}
	for i, found := range athenatest.Parse(t, statements...) {
		if found.Error == "" {
			t.Errorf("%s: %+v", names[i], found)
		}
	}
}
