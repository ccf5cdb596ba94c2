package cli

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/app"
)

type initCmd struct {
	Template string `arg:"" optional:"" help:"Which one; --list names them." default:"files"`
	File     string `short:"f" help:"Where to write it." type:"path" default:"acequia.yaml" placeholder:"FILE"`
	List     bool   `help:"Name the templates."`
	JSON     bool   `help:"Write JSON."`
}

// Help shows examples.
func (initCmd) Help() string {
	return `Writes a commented configuration file that passes acequia check. A file that is there is never overwritten.

Examples:
  acequia init
  acequia init files -f sales.yaml
  acequia init form -f games.yaml
  acequia init queue -f orders.yaml
  acequia init database -f shop.yaml

Exit codes: 0 ok, 2 there is no such template, 3 the file is there already or cannot be written.`
}

// Run writes.
func (c initCmd) Run(t terminal) error {
	if c.List {
		names, err := app.Templates()
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(t.out, names)
		}
		_, err = fmt.Fprintln(t.out, strings.Join(names, "\n"))
		return err
	}
	if err := app.WriteTemplate(c.Template, c.File); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, map[string]string{"file": c.File})
	}
	_, err := fmt.Fprintf(t.out, "%s is written. Next: acequia check %s\n", c.File, c.File)
	return err
}
