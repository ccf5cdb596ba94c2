package lake_test

import (
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/athena"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks/lake"
)

func TestSettingsAreChecked(t *testing.T) {
	t.Parallel()
	schema := func(stream string) *record.Schema {
		s, err := record.NewSchema(stream, []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "price", Kind: record.Float64})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	games, sold := schema("games"), schema("public.games")
	for name, c := range map[string]struct {
		config lake.Config
		want   string // a line each
	}{
		"sound":     {lake.Config{URL: "file:///x", Partition: []string{"id"}, TableName: map[string]string{"games": "other"}}, ""},
		"a path":    {lake.Config{URL: "x/y", TableName: map[string]string{"games": "other"}}, ""},
		"place":     {lake.Config{URL: "ftp://x", TableName: map[string]string{"games": "other"}}, `url: "ftp://x" is no place for a lake: write a path, file:///dir, or s3://bucket/prefix`},
		"roll":      {lake.Config{URL: "x", Roll: lake.Roll{Rows: -1, Size: -1, Every: -1}, TableName: map[string]string{"games": "other"}}, "roll.rows: it must be positive\nroll.size: it must be positive\nroll.every: it must be positive"},
		"athena":    {lake.Config{URL: "s3://bucket/lake", Athena: &athena.Settings{Database: "a-b"}, TableName: map[string]string{"games": "other"}}, `athena.database: "a-b" is no name of a database: want a-z, 0-9 and _`},
		"nowhere":   {lake.Config{URL: "x", Athena: &athena.Settings{}, TableName: map[string]string{"games": "other"}}, "athena: it is of a lake at s3://"},
		"one table": {lake.Config{URL: "x"}, "table_name: streams games and public.games would both be the table games: name one of them here"},
		"partition": {
			lake.Config{URL: "x", Partition: []string{"id", "decade", "price"}, TableName: map[string]string{"games": "other", "public.games": "games"}},
			"partition.1: games has no column \"decade\"\npartition.2: table other: a column of kind float64 cannot partition\n" +
				"partition.1: public.games has no column \"decade\"\npartition.2: table games: a column of kind float64 cannot partition",
		},
	} {
		err := lake.Plugin().Check(&c.config, []*record.Schema{games, sold})
		if got := text(err); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, strings.ReplaceAll(got, "\n", "\n     "), c.want)
		}
	}
}

// What Athena cannot read is told where the table is to be made known to it, and only there.
func TestMembersOfAthenaAreChecked(t *testing.T) {
	t.Parallel()
	s, err := record.NewSchema("games", nil, record.Field{Name: "point", Kind: record.Struct, Fields: []record.Field{{Name: "a:b", Kind: record.Int64}}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `athena: stream games, column point: the name of the member "a:b" cannot be held by Glue: it may have a-z, A-Z, 0-9 and _ alone: rename the member at the source, or leave the column out`
	for _, asked := range []*athena.Settings{nil, {}} {
		got := text(lake.Plugin().Check(&lake.Config{URL: "s3://bucket/lake", Athena: asked}, []*record.Schema{s}))
		if asked == nil && got != "" || asked != nil && got != want {
			t.Errorf("asked %t: %s", asked != nil, got)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
