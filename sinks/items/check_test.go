package items_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/sinks/items"
)

func TestCheckFindsEveryMistake(t *testing.T) {
	t.Parallel()
	plugin := items.Plugin()
	games, keyless, more := schema(t, "games", []string{"id"}), schema(t, "keyless", nil), schema(t, "more", []string{"id"})
	c := &items.Config{Tables: map[string]items.Table{
		"games": {Indexes: []itemstore.Index{{Name: "by_n", Columns: []string{"n", "nn"}}, {Columns: []string{"n"}}}, TTL: -1},
		"more":  {Name: "games"},
	}}
	got := plugin.Check(c, []*record.Schema{games, keyless, more}).Error()
	for _, want := range []string{
		`tables.games.indexes.0.columns.1: games has no column "nn"`, "tables.games.indexes.1: an index has a name", "tables.games.ttl: ",
		"keyless is left out: its records have no key", "streams games and more would both be the table games",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	c = &items.Config{Tables: map[string]items.Table{"games": {Indexes: []itemstore.Index{{Name: "by_n", Columns: []string{"n"}}}}}}
	if err := plugin.Check(c, []*record.Schema{games, more}); err != nil {
		t.Error(err)
	}
	if err := plugin.Check(&items.Config{}, []*record.Schema{keyless}); err == nil || !strings.Contains(err.Error(), "records of keyless have no key") {
		t.Error(err)
	}
	if lines := plugin.Plan(&items.Config{}, []*record.Schema{keyless, games}); !slices.Equal(lines, []string{"keyless is left out: no key", "table games"}) {
		t.Error(lines)
	}
	if lines := plugin.Plan(c, []*record.Schema{games}); len(lines) != 1 || lines[0] != "table games, with the indexes by_n" {
		t.Error(lines)
	}
}

// A stream that is not under tables becomes no items where only those do, and what an index cannot be of is said.
func TestCheckOfIndexes(t *testing.T) {
	t.Parallel()
	films, err := record.NewSchema("films", []string{"id"}, record.Field{Name: "id", Kind: record.String},
		record.Field{Name: "genres", Kind: record.List, Fields: []record.Field{{Name: "element", Kind: record.String}}},
		record.Field{Name: "size", Kind: record.Struct, Fields: []record.Field{{Name: "x", Kind: record.Int32}}})
	if err != nil {
		t.Fatal(err)
	}
	c := &items.Config{Only: true, Tables: map[string]items.Table{"films": {Indexes: []itemstore.Index{
		{Name: "list", Columns: []string{"genres"}}, {Name: "size", Columns: []string{"size"}}, {Name: "two", Columns: []string{"genres", "id"}, Each: true},
	}}}}
	keyless := schema(t, "keyless", nil)
	got := items.Plugin().Check(c, []*record.Schema{films, keyless}).Error()
	want := strings.Join([]string{
		`tables.films.indexes.0.columns.0: column "genres" is a list (add each: true to the index: items are found by each element)`, `tables.films.indexes.1.columns.0: column "size" is a struct, and nothing can be found by it`,
		"tables.films.indexes.2: an index with each is of one column",
	}, "\n")
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c.Tables["films"] = items.Table{Indexes: []itemstore.Index{{Name: "by_genre", Columns: []string{"genres"}, Each: true}}}
	if err := items.Plugin().Check(c, []*record.Schema{films, keyless}); err != nil {
		t.Error(err)
	}
	lines := items.Plugin().Plan(c, []*record.Schema{keyless, films})
	if !slices.Equal(lines, []string{"keyless is left out: it is not under tables", "table films, with the indexes by_genre"}) {
		t.Error(lines)
	}
}
