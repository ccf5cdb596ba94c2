package cli

import (
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/app"
)

type initCmd struct {
	Template string `arg:"" optional:"" help:"Which one; --list names them." default:"file"`
	File     string `short:"f" help:"Where to write it." type:"path" default:"acequia.yaml" placeholder:"FILE"`
	List     bool   `help:"Name the templates."`
	FromEnv  bool   `help:"Write what the variables of the cinema service imply, those of a .env file included."`
	JSON     bool   `help:"Write JSON."`
}

// Help shows examples.
func (initCmd) Help() string {
	return `Writes a commented configuration file that passes acequia check. A file that is there is never overwritten.

With --from-env it is the configuration of the cinema service that environment variables imply: MYSQL_HOST, POSTGRES_HOST,
MONGODB_URI and the others that .env.example shows. Commands that name no file use the same, without writing it here.

Examples:
  acequia init
  acequia init file -f sales.yaml
  acequia init form -f games.yaml
  acequia init queue -f orders.yaml
  acequia init database -f shop.yaml
  acequia init --from-env
  acequia init --from-env --env-file production.env -f cinema.yaml

Exit codes: 0 ok, 2 there is no such template, or the environment names no database or has mistakes, 3 the file is there already or
cannot be written, or AWS is meant and cannot be used.`
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
	write := func() error { return app.WriteTemplate(c.Template, c.File) }
	if c.FromEnv {
		write = func() error { return c.fromEnvironment(t) }
	}
	if err := write(); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, map[string]string{"file": c.File})
	}
	_, err := fmt.Fprintf(t.out, "%s is written. Next: acequia check %s\n", c.File, c.File)
	return err
}

// fromEnvironment writes what the variables imply.
func (c initCmd) fromEnvironment(t terminal) error {
	v, err := t.variables()
	if err != nil {
		return err
	}
	service, err := t.service(v)
	if err != nil {
		return err
	}
	text, err := service.YAML()
	if err != nil {
		return err
	}
	return app.WriteNew(c.File, text)
}
