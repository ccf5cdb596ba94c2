package app_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
)

// loaded reads files of these texts.
func loaded(t *testing.T, texts ...string) (project *app.Project, problems string) {
	t.Helper()
	dir := t.TempDir()
	for i, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	project, found, err := app.LoadProject(t.Context(), catalog.Default(), []string{dir}, noVariables)
	if err != nil {
		t.Fatal(err)
	}
	return project, strings.ReplaceAll(found.Error(), dir+"/", "")
}

// TestItemsHaveTheColumnsOfWhatFeedsThem follows a table to who reads it: through a second table, and into another file.
func TestItemsHaveTheColumnsOfWhatFeedsThem(t *testing.T) {
	t.Parallel()
	const reader = `version: 1
sources:
  more: { type: itemchanges, table: decades }
sinks:
  lake: { type: lake, url: lake, partition: [decade] }
pipelines:
  last: { from: more, steps: [ { filter: 'row.dcade > 1950' } ], to: [lake] }
`
	const writers = `version: 1
sources:
  changes: { type: itemchanges, table: videogames }
  form: { type: form, schema: videogames }
sinks:
  items: { type: items }
  again: { type: items, tables: { videogames: { name: decades } } }
pipelines:
  middle: { from: changes, steps: [ { derive: { decade: 'row.year / 10 * 10' } } ], to: [again] }
  first: { from: form, to: [items] }
`
	_, problems := loaded(t, reader, writers)
	if want := "ACQ-FILTER-001: a.yaml:7:47: "; !strings.HasPrefix(problems, want) || !strings.Contains(problems, "did you mean decade?") || strings.Contains(problems, "\n") {
		t.Errorf("want the misspelt column alone, found:\n%s", problems)
	}
	project, problems := loaded(t, strings.Replace(reader, "dcade", "decade", 1), writers)
	if problems != "" {
		t.Fatal(problems)
	}
	var names []string
	for _, d := range project.Pipelines {
		names = append(names, d.Name)
	}
	if !slices.Equal(names, []string{"last", "middle", "first"}) || project.Pipelines[0].In[0].Stream != "decades" {
		t.Errorf("pipelines %v, the last reads %s", names, project.Pipelines[0].In[0].Stream)
	}
}

func TestFormsAndItemsAreChecked(t *testing.T) {
	t.Parallel()
	_, problems := loaded(t, `version: 1
sources:
  one: { type: form, schema: videogames, trusted_proxies: [192.0.2.1, nowhere], trusted_origins: [example.com], rate: -2 }
  two: { type: form, schema: videogames }
  three: { type: form, schema: nowhere.yaml }
  lost: { type: itemchanges, table: nothing }
  quiet: { type: itemchanges, table: form_keys }
  told: { type: itemchanges, table: other, key: [idd], schema: { id: strin, n: int32 } }
  keyless: { type: itemchanges, table: other, schema: { id: string } }
  good: { type: itemchanges, table: other, key: [id], schema: { id: string, n: int32 } }
sinks:
  items: { type: items, tables: { videogames: { name: games, indexes: [ { name: by_what, columns: [what] } ] } } }
  lake: { type: lake, url: lake }
pipelines:
  one: { from: one, to: [items] }
  two: { from: two, steps: [ { normalize: {} } ], to: [items] }
  again: { from: two, to: [items, lake] }
  three: { from: three, to: [items] }
  lost: { from: lost, to: [lake] }
  quiet: { from: quiet, to: [lake] }
  told: { from: told, to: [lake] }
  keyless: { from: keyless, to: [lake] }
  good: { from: good, to: [lake] }
`)
	for _, want := range []string{
		"3:71: trusted_proxies.1: ", "3:99: trusted_origins.0: ", "3:119: rate: ", "5:32: schema: open",
		"6:37: table: no pipeline here feeds the changes of an items table \"nothing\"", "or name a table that is fed here: games",
		"7:38: table: no pipeline", "8:50: key.0: schema has no column \"idd\"", "8:70: schema.id: \"strin\" is no type", "9:47: schema: the key of the items is missing",
		"12:55: tables.videogames.name: a form reads its items where it wrote them: the table must be called videogames",
		"videogames has no column \"what\"", "16:21: pipeline two: a form's record is kept as it was answered",
		"17:18: pipeline again: the form of videogames feeds pipeline two already", "pipeline again: a form answers when its items are durable",
	} {
		if !strings.Contains(problems, want) {
			t.Errorf("%q is missing", want)
		}
	}
	if t.Failed() {
		t.Log(problems)
	}
}

// TestExampleIsTheTemplate keeps the example, the demo and what init writes the same.
func TestExampleIsTheTemplate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "form.yaml")
	if err := app.WriteTemplate("form", path); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join("..", "..", "examples", "videogames", "videogames.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(example) != string(template) {
		t.Error("examples/videogames/videogames.yaml is not internal/app/templates/form.yaml")
	}
}
