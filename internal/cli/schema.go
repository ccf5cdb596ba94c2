package cli

import (
	"io"

	"github.com/acequia-io/acequia/internal/app"
)

type schemaCmd struct {
	Markdown bool `help:"Print the reference page instead."`
	JSON     bool `help:"Print JSON, as without it." hidden:""`
}

// Help shows examples.
func (schemaCmd) Help() string {
	return `Editors that know JSON Schema complete and check files whose first line is
  # yaml-language-server: $schema=acequia.schema.json

Examples:
  acequia schema > acequia.schema.json
  acequia schema --markdown > configuration.md

Exit codes: 0 ok, 3 the output cannot be written.`
}

// Run prints.
func (c schemaCmd) Run(t terminal) error {
	if c.Markdown {
		_, err := io.WriteString(t.out, app.Reference(t.plugins))
		return err
	}
	return writeJSON(t.out, app.JSONSchema(t.plugins))
}
