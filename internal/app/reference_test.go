package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/app"
)

// TestReferenceIsCurrent wants the pages that are made from the configuration structs to be as they would be made now.
// ACEQUIA_UPDATE makes them.
func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	schema, err := json.MarshalIndent(app.JSONSchema(catalog.Default()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"configuration.md": app.Reference(catalog.Default()), "acequia.schema.json": string(schema) + "\n"} {
		path := filepath.Join("..", "..", "docs", "reference", name)
		if os.Getenv("ACEQUIA_UPDATE") != "" {
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path) //nolint:gosec // our own page
		if err != nil || string(got) != want {
			t.Errorf("%s is not current (%v): ACEQUIA_UPDATE=1 go test ./internal/app -run Reference", name, err)
		}
	}
}

// TestEveryKeyIsExplained wants a sentence for each key of each plugin.
func TestEveryKeyIsExplained(t *testing.T) {
	t.Parallel()
	for line := range strings.Lines(app.Reference(catalog.Default())) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.TrimSpace(cells[3]) == "" {
			t.Error("no meaning: ", line)
		}
	}
	page := app.Reference(catalog.Default())
	for _, p := range catalog.Default().Sources {
		if !strings.Contains(page, "### "+p.Type+"\n") {
			t.Error("no section of ", p.Type)
		}
	}
}
