package app_test

import (
	"fmt"
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

// TestMistakesHideNoOthers wants those behind a mistake, and none that is only its consequence.
func TestMistakesHideNoOthers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x.yaml")
	text := `version: 1
sources:
  sound: { type: file, path: "data/*.csv", stream: games, key: [rank], schema: { rank: int64, year: int32, name: string } }
  typed: { type: file, path: "data/*.csv", stream: games, key: [rank, nme], schema: { rank: int64, year: int32, name: strin } }
  half: { type: fil, path: "data/*.csv", keyy: [rank], schema: { rank: int64, year: int32, b: blub } }
  unset: { type: postgres, dsn: "${env:NOTHING}", tables: ["public.*"] }
sinks:
  lake: { type: lake, url: lake, partition: [two, age, there] }
  items: { type: items }
  gone: { type: lak, url: lake, partitoin: [decade] }
pipelines:
  sound:
    from: sound
    steps:
      - filter: 'row.year'
      - derive: { age: 'row.yeer', two: '2' }
      - filter: 'row.name > 3'
      - filter: 'row.age > "x"'
      - cast: { age: int32, nme: string, rank: date }
      - filter: 'row.two == "2"'
    to: [lake]
  typed:
    from: typed
    steps: [ { filter: 'row.year == "x"' }, { derive: { n: 'row.name + 1' } } ]
    to: [items]
  half:
    from: half
    steps: [ { filter: 'row.year >' }, { derve: { x: 'row.nothing' } }, { project: { drop: [x, bb] } }, { unknown: 1 }, { filter: 'row.a == 1' } ]
    to: [items]
  unset:
    from: unset
    to: [gone]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{path}, noVariables)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Message))
	}
	want := []string{
		`4:71 key.1: there is no column "nme"`,
		`4:119 schema.name: "strin" is no type`,
		`5:17 unknown source type "fil"`,
		`5:42 unknown key "keyy" in source half`,
		`5:95 schema.b: "blub" is no type`,
		`6:34 the variable NOTHING is not set`,
		`8:56 partition.2: games has no column "there"`,
		`10:17 unknown sink type "lak"`,
		`10:33 unknown key "partitoin" in sink gone`,
		`15:17 filter: the expression is int64, a filter wants a bool`,
		`16:29 age: there is no column yeer`,
		`17:27 filter: row.name is string, 3 is int`,
		`19:34 nme: no column has this name`,
		`19:48 rank: is int64, which never becomes date`,
		`20:26 filter: row.two is int, "2" is string`,
		`24:34 filter: row.year is int, "x" is string`,
		`28:35 filter: mismatched input`,
		`28:42 unknown step type "derve"`,
		`28:59 x: there is no column nothing`,
		`28:96 drop.1: no column is named bb`,
		`28:107 unknown step type "unknown"`,
	}
	if len(got) != len(want) {
		t.Errorf("got %d mistakes, want %d", len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("got %s, want %s", got[i], want[i])
		}
	}
	if t.Failed() {
		t.Log(strings.Join(got, "\n"))
	}
}
