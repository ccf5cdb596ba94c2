package file_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sources/file"
)

func described(tb testing.TB, s *file.Source) string {
	tb.Helper()
	schemas, err := s.Describe(tb.Context())
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, f := range schemas[0].Fields {
		name := f.Name + " " + f.TypeName()
		if !f.Nullable {
			name += " key"
		}
		out = append(out, name)
	}
	return strings.Join(out, ", ")
}

func TestInference(t *testing.T) {
	t.Parallel()
	column := func(values ...string) string { return "x,k\n" + strings.Join(values, ",1\n") + ",1\n" }
	member := func(values ...string) string { return `{"x":` + strings.Join(values, "}\n{\"x\":") + "}\n" }
	for name, c := range map[string]struct{ text, want string }{
		"bool.csv":              {column("true", "FALSE", ""), "bool"},
		"int.csv":               {column("1", "-20", "", "0", "9223372036854775807"), "int64"},
		"big.csv":               {column("1", "9223372036854775808"), "decimal(38,0)"},
		"huge.csv":              {column("1", strings.Repeat("9", 39)), "string"},
		"zeros.csv":             {column("007", "12"), "string"},
		"plus.csv":              {column("+1", "12"), "string"},
		"decimal.csv":           {column("1.50", "12", ".5", "-3.125"), "decimal(18,3)"},
		"long decimal.csv":      {column("1.1234567890123456789"), "decimal(38,19)"},
		"too long decimal.csv":  {column("1." + strings.Repeat("3", 40)), "string"},
		"float.csv":             {column("1.5", "12", "1e-7"), "float64"},
		"lossy float.csv":       {column("1234567890123456789", "1e-7"), "string"},
		"minus zero.csv":        {column("-0", "1"), "float64"},
		"date.csv":              {column("2024-02-29", "1969-12-31"), "date"},
		"no date.csv":           {column("2023-02-29"), "string"},
		"timestamp.csv":         {column("2024-02-29T10:00:00Z", "2024-02-29T10:00:00.123+02:00"), "timestamp"},
		"local.csv":             {column("2024-02-29 10:00:00", "2024-02-29T10:00:00.123456"), "local_timestamp"},
		"nanoseconds.csv":       {column("2024-02-29T10:00:00.123456789Z"), "string"},
		"mixed.csv":             {column("2024-02-29", "2024-02-29T10:00:00Z"), "string"},
		"N-A.csv":               {column("1", "N/A"), "string"},
		"empty text.csv":        {column("1", `""`), "string"},
		"nulls.csv":             {column("", ""), "string"},
		"bool.ndjson":           {member("true", "null", "false"), "bool"},
		"int.ndjson":            {member("1", "-5"), "int64"},
		"decimal.ndjson":        {member("1", "-5.25"), "decimal(18,2)"},
		"float.ndjson":          {member("1", "2e3"), "float64"},
		"date.ndjson":           {member(`"2024-02-29"`), "date"},
		"timestamp.ndjson":      {member(`"2024-02-29T10:00:00Z"`, "null"), "timestamp"},
		"number in text.ndjson": {member(`"5"`), "string"},
		"mixed.ndjson":          {member(`"a"`, "5"), "string"},
		"list.ndjson":           {member(`[1]`, `{"a":1}`), "string"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, map[string]string{name: c.text})
			have := described(t, source(t, file.Config{Path: dir + "/*"}))
			if !strings.HasPrefix(have+",", "x "+c.want+",") {
				t.Errorf("%s, want %s", have, c.want)
			}
		})
	}
}

// What is inferred holds for the lane: a later value that does not fit is a dead letter.
func TestInferenceIsKept(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]string{"a.csv": "Rank,Name\n1,a\n2,b\nx,c\n", "b.csv": "name,rank\nd,4\ne,many\n"})
	c := file.Config{Path: dir + "/*.csv", Key: []string{"rank"}, Sample: 2}
	s := source(t, c)
	if d := cmp.Diff("rank int64 key, name string", described(t, s)); d != "" {
		t.Error(d)
	}
	g := all(t, s)
	if d := cmp.Diff([]string{`{"rank":1,"name":"a"}`, `{"rank":2,"name":"b"}`, `{"rank":4,"name":"d"}`}, g.rows); d != "" || g.err != nil {
		t.Error(d, g.err)
	}
	if d := cmp.Diff([]string{`a.csv:4 020 rank "x,c"`, `b.csv:3 020 rank "e,many"`}, g.refused); d != "" {
		t.Error(d)
	}
	if again := described(t, source(t, c)); again != described(t, s) {
		t.Error(again)
	}
}

func TestInferenceOfOddFiles(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "{\"c%d\":1}\n", i)
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"the first file is empty":    {map[string]string{"a.csv": "", "b.csv": "id\n1\n"}, "id int64"},
		"only a header":              {map[string]string{"a.csv": "id,Name\n"}, "id string, name string"},
		"no header":                  {map[string]string{"a.csv": "id,Name\n"}, "id string, name string"},
		"bad rows are passed over":   {map[string]string{"a.csv": "id,n\n1\n\"x\"y,1\n2,3\n"}, "id int64, n int64"},
		"bad lines are passed over":  {map[string]string{"a.ndjson": "[1]\n{\"id\":1}\n{\"n\":\n"}, "id int64"},
		"members in order of coming": {map[string]string{"a.ndjson": "{\"b\":1}\n{\"a\":1,\"B\":2}\n"}, "b int64, a int64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, c.files)
			if have := described(t, source(t, file.Config{Path: dir + "/*"})); have != c.want {
				t.Errorf("%s, want %s", have, c.want)
			}
		})
	}
	dir := folder(t, map[string]string{"a.csv": "1,a\n2,b\n", "e.ndjson": "\n"})
	s := source(t, file.Config{Path: dir + "/*.csv", NoHeader: true})
	if have := described(t, s); have != "column_1 int64, column_2 string" {
		t.Error(have)
	}
	if g := all(t, s); len(g.rows) != 2 || g.err != nil {
		t.Error(g.rows, g.err)
	}
	if _, err := source(t, file.Config{Path: dir + "/e.ndjson"}).Describe(t.Context()); fault.Code(err) != "ACQ-FILE-010" {
		t.Error(err)
	}
	var schema *record.Schema
	schemas, err := file.Plugin().Schemas(t.Context(), &file.Config{Path: dir + "/*.csv", NoHeader: true, Key: []string{"column_1"}})
	if err != nil || len(schemas) != 1 {
		t.Fatal(err)
	}
	if schema = schemas[0]; len(schema.Key) != 1 || schema.Fields[0].Nullable {
		t.Error(schema)
	}
}
