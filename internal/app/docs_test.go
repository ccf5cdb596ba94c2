package app_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/record"
	"github.com/acequia-io/acequia/schemas"
)

// frames make whole files of the parts of one that pages show, by page and number of the part; all others must be whole.
func frames() map[string]string {
	const games = `
version: 1
sources:
  games: { type: file, path: "*.csv", stream: games, key: [rank], schema: { rank: int64, year: int32, share: int32, event_id: string, sent_at: timestamp } }
`
	const pipeline = games + `
sinks:
  recent: { type: discard }
  old: { type: discard }
  unknown: { type: discard }
pipelines:
  games:
    from: games
    to: [recent, old, unknown]
`
	const database = "version: 1\nsources: { shop: { type: postgres, dsn: \"${env:DSN}\" } }\nsinks: { lake: { type: lake, url: lake } }\npipelines: { shop: { from: shop, to: [lake] } }\n%s"
	return map[string]string{
		"docs/API.md 1":    database,
		"docs/API.md 2":    database,
		"docs/REPLAY.md 1": games + "%s",
		"docs/REPLAY.md 2": "version: 1\n%s" + "sinks: { gold: { type: lake, url: gold } }\npipelines: { again: { from: raw, to: [gold] } }\n",
		"docs/STEPS.md 1": games + "sinks: { all: { type: discard } }\npipelines:\n  games:\n    from: games\n    steps: [ { filter: 'row.year >= 1980' }, " +
			"{ derive: { decade: 'row.year / 10 * 10', part: '100 / row.share' } } ]\n    to: [all]\n    %s",
		"docs/STEPS.md 2": pipeline + "    steps:\n      %s",
		"docs/STEPS.md 3": pipeline + "    steps:\n      %s",
	}
}

// parts gives the YAML that a page shows.
func parts(page string) (out []string) {
	for i, part := range strings.Split(page, "\n```yaml\n") {
		if i > 0 {
			text, _, _ := strings.Cut(part, "\n```")
			out = append(out, text+"\n")
		}
	}
	return out
}

// TestYAMLOfTheDocsIsRight wants every example of the pages and every file of the examples to be a configuration without mistakes.
func TestYAMLOfTheDocsIsRight(t *testing.T) {
	t.Parallel()
	const root = "../.."
	framed := frames()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(root, path)
		switch {
		case err != nil || relErr != nil:
			return errors.Join(err, relErr)
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "test-output"):
			return filepath.SkipDir
		case name == "examples/custom-handler/greetings.yaml": // its step is not ours: the program of that folder checks it
			return nil
		case strings.HasPrefix(name, "examples/") && filepath.Ext(name) == ".yaml":
			right(t, name, path)
			return nil
		case filepath.Ext(name) != ".md":
			return nil
		}
		page, err := os.ReadFile(path) //nolint:gosec // our own page
		for i, text := range parts(string(page)) {
			part := fmt.Sprintf("%s %d", name, i+1)
			if frame, ok := framed[part]; ok {
				margin := frame[strings.LastIndexByte(frame[:strings.Index(frame, "%s")], '\n')+1 : strings.Index(frame, "%s")]
				text = fmt.Sprintf(frame, strings.ReplaceAll(text, "\n", "\n"+margin)+"\n")
				delete(framed, part)
			}
			folder := withLake(t)
			file := filepath.Join(folder, "part.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				return err
			}
			right(t, part, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for part := range framed {
		t.Error("no page has the part: ", part)
	}
}

// withLake makes a folder with the lake that parts read.
func withLake(t *testing.T) string {
	t.Helper()
	s, err := record.NewSchema("order_lines", []string{"id"}, record.Field{Name: "id", Kind: record.Int64}, record.Field{Name: "amount", Kind: record.Float64, Nullable: true})
	if err != nil {
		t.Fatal(err)
	}
	table, err := schemas.NewLakeTable("order_lines", s, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := table.Encode()
	folder := t.TempDir()
	tables := filepath.Join(folder, "raw", "_tables")
	if err = errors.Join(err, os.MkdirAll(tables, 0o750), os.WriteFile(filepath.Join(tables, "order_lines.json"), text, 0o600)); err != nil {
		t.Fatal(err)
	}
	return folder
}

func right(t *testing.T, what, path string) {
	t.Helper()
	set := func(name string) (string, bool) {
		value, ok := map[string]string{"DSN": "postgres://reader@127.0.0.1/shop", "MONGODB_URI": "mongodb://127.0.0.1/cinema", "GRAFANA_TOKEN": "one", "DEPLOY_TOKEN": "other", "ACEQUIA_STATE_DSN": "postgres://acequia@127.0.0.1/state"}[name]
		return value, ok
	}
	_, problems, err := app.LoadProject(t.Context(), catalog.Default(), []string{path}, set)
	if err != nil || len(problems) > 0 {
		t.Errorf("%s: %v, %v", what, err, problems)
	}
}
