package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/config"
)

// toldError is of a command that has printed what is wrong: only the exit code is left to give.
type toldError struct{ exit int }

func (e toldError) Error() string { return fmt.Sprintf("exit code %d", e.exit) }

// files are the configuration files of a command.
type files struct {
	Paths []string `arg:"" optional:"" name:"file" help:"Configuration files, or folders of them; default ./acequia.yaml, else what the environment implies."`
}

// named gives the files that a command is to read.
func (f files) named(t terminal) ([]string, error) {
	if len(f.Paths) > 0 {
		return f.Paths, nil
	}
	usual, err := t.usual()
	return []string{usual}, err
}

// load reads the files. An error says that the project cannot be used.
func (f files) load(ctx context.Context, t terminal) (*app.Project, config.Problems, error) {
	paths, err := f.named(t)
	if err != nil {
		return nil, nil, err
	}
	return t.load(ctx, paths)
}

// tell prints problems for people.
func tell(w io.Writer, problems config.Problems) {
	config.Render(w, problems, func(path string) []byte {
		text, err := os.ReadFile(path) //nolint:gosec // a file that the user named
		if err != nil {
			return nil
		}
		return text
	})
}

type checkCmd struct {
	files
	spoken
	Connect bool   `help:"Look too whether each source, sink and the state can be reached and written."`
	Listen  string `help:"With --connect: where acequia serve would listen." default:"127.0.0.1" placeholder:"ADDR"`
	Port    int    `help:"With --connect: its port." default:"3006"`
	JSON    bool   `help:"Write the problems as a JSON list; with --connect an object with problems and endpoints." xor:"output"`
	SARIF   bool   `name:"sarif" help:"Write the problems as SARIF 2.1.0, for code hosts." xor:"output"`
}

// Help shows examples.
func (checkCmd) Help() string {
	return `Prints every mistake at once, with its place and what to do. Nothing runs, and without --connect nothing is connected to.
--connect leaves nothing behind.

Examples:
  acequia check games.yaml
  acequia check pipelines/ --json
  acequia check pipelines/ --connect
  acequia check pipelines/ --sarif > acequia.sarif
  acequia check games.yaml --lang es

Exit codes: 0 no mistakes, 2 mistakes, 3 a file cannot be read, or --connect found a place that cannot be used.`
}

// Run checks the files.
func (c checkCmd) Run(ctx context.Context, t terminal) error {
	t.lang = language(c.Lang)
	project, problems, err := c.load(ctx, t)
	if err != nil {
		return err
	}
	var endpoints []app.Endpoint
	if c.Connect && !problems.Errors() {
		endpoints = project.Connect(ctx, c.Listen, c.Port)
	}
	if err := c.write(t, project, problems, endpoints); err != nil {
		return err
	}
	switch {
	case problems.Errors():
		return toldError{exitUsage}
	case slices.ContainsFunc(endpoints, func(e app.Endpoint) bool { return !e.OK }):
		return toldError{exitEnvironment}
	}
	return nil
}

func (c checkCmd) write(t terminal, project *app.Project, problems config.Problems, endpoints []app.Endpoint) error {
	if problems == nil {
		problems = config.Problems{}
	}
	switch {
	case c.SARIF:
		if err := writeJSON(t.out, problems.SARIF(version())); err != nil {
			return err
		}
		tellEndpoints(t.err, endpoints, language(c.Lang))
		return nil
	case c.JSON && c.Connect:
		return writeJSON(t.out, connected{problems, endpoints})
	case c.JSON:
		return json.NewEncoder(t.out).Encode(problems)
	}
	lang := language(c.Lang)
	tell(t.out, problems.In(lang))
	switch {
	case problems.Errors():
	case lang == "es":
		_, _ = fmt.Fprintf(t.out, "✓ %s: sin errores\n", cuenta(len(project.Pipelines)))
	default:
		_, _ = fmt.Fprintf(t.out, "✓ %s: no mistakes\n", count(len(project.Pipelines), "pipeline"))
	}
	tellEndpoints(t.out, endpoints, lang)
	return nil
}

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// cuenta writes a number of pipelines in Spanish.
func cuenta(n int) string {
	if n == 1 {
		return "1 canal"
	}
	return fmt.Sprintf("%d canales", n)
}
