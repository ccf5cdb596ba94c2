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
