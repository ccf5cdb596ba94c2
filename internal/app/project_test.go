package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
)

func noVariables(string) (string, bool) { return "", false }

// TestEveryMistakeIsFound wants mistakes of all kinds from one file: an unknown type hides none.
func TestEveryMistakeIsFound(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.yaml")
	text := `version: 1
sources:
  games: { type: file, path: "data/*.csv", stream: games, key: [rank], schema: { rank: int64, year: int32, name: string } }
  other: { type: nothing, path: 3 }
  form: { type: form, schema: videogames }
sinks:
  lake: { type: lake, url: lake, partition: [decade, wrong] }
pipelines:
  games:
    from: games
    steps: [ { filter: 'row.yaer >= 1980' }, { filtre: x }, { derive: { decade: 'row.year +' } } ]
    to: [lake]
  more:
    from: games
    steps: [ { derive: { decade: 'row.year / 10 * 10', name: { expr: 'row.name', type: strang } } } ]
    to: [lake]
  shaped:
    from: games
    steps: [ { derive: { decade: { expr: 'row.year / 10 * 10', type: int32 } } } ]
    to: [lake]
  form:
    from: form
    to: [lake]
  unknown:
    from: other
    to: [lake]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{path}, noVariables)
	if err != nil {
		t.Fatal(err)
	}
	got := problems.Error()
	for _, want := range []string{
		`:4:18: unknown source type "nothing"`,
		`:7:54: partition.1: games has no column "wrong"`,
		`:11:29: `, "did you mean year",
		`:11:48: unknown step type "filtre" (did you mean filter?)`,
		`:11:92: decade: `,
		`:15:88: `, `"strang"`,
		`:23:5: pipeline form: a form answers when its items are durable`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
