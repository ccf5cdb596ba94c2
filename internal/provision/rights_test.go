package provision_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/setup"
)

var named = regexp.MustCompile(`\(((?:, )?(?:s3|dynamodb|sqs|events|iam|pipes):[A-Za-z]+(?:, [a-z0-9]+:[A-Za-z]+)*)\)`)

// TestRightsAreThoseOfTheCalls compares the rights that errors name with those that setup iam prints for who makes and deletes.
func TestRightsAreThoseOfTheCalls(t *testing.T) {
	t.Parallel()
	var calls []string
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasSuffix(f, "_test.go") {
				calls = append(calls, strings.Split(m[1], ", ")...)
			}
		}
	}
	file, _ := config.Parse("games.yaml", []byte(`
version: 1
sources: { form: { type: form, schema: videogames }, changes: { type: sqs, queue: games, table: videogames } }
sinks: { items: { type: items, url: "dynamodb://", tables: { videogames: {} } }, lake: { type: lake, url: "s3://games-lake" } }
pipelines: { answers: { from: form, to: [items] }, changes: { from: changes, to: [lake] } }
`), func(string) (string, bool) { return "", false })
	var given []string
	for _, s := range setup.Making([]*config.File{file}, setup.Options{Project: "games", Athena: setup.Athena{Workgroup: "games", Database: "games"}}).Document.Statement {
		given = append(given, s.Action...)
	}
	slices.Sort(calls)
	slices.Sort(given)
	same(t, slices.Compact(calls), slices.Compact(given))
}
