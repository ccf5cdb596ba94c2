package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/app"
)

type doctorCmd struct {
	files
	spoken
	Listen string `help:"Where acequia serve would listen." default:"127.0.0.1" placeholder:"ADDR"`
	Port   int    `help:"Its port." default:"3006"`
	JSON   bool   `help:"Write JSON."`
}

// Help shows examples.
func (doctorCmd) Help() string {
	return `Looks at all that the pipelines of the files need: the program, disks, the credentials of AWS and the clock, the port, the state, and what
each source and sink can reach and may do; and says what to do about what is wrong. Nothing runs, and nothing is left behind. A warning (!) does
not keep anything from running.

Examples:
  acequia doctor shop.yaml
  acequia doctor --lang es
  acequia doctor pipelines/ --json

Exit codes: 0 well, perhaps with warnings, 2 the configuration has mistakes, 3 something cannot be used.`
}

// Run looks.
func (c doctorCmd) Run(ctx context.Context, t terminal) error {
	t.lang = language(c.Lang)
	project, problems, err := c.load(ctx, t)
	if err != nil {
		return err
	}
	found := app.Diagnose(version(), problems.In(t.lang))
	if !problems.Errors() {
		found = append(found, project.Doctor(ctx, c.Listen, c.Port)...)
	}
	if c.JSON {
		err = writeJSON(t.out, found)
	} else {
		err = c.show(t, found)
	}
	switch {
	case err != nil:
		return err
	case problems.Errors():
		return toldError{exitUsage}
	case app.Unwell(found):
		return toldError{exitEnvironment}
	}
	return nil
}

func (c doctorCmd) show(t terminal, found []app.Finding) error {
	var b strings.Builder
	say := c.translation()
	for _, f := range found {
		name := say(f.Kind) + " " + f.Name
		if f.Type != "" {
			name += " (" + f.Type + ")"
		}
		switch {
		case f.OK && !f.Warning:
			fmt.Fprintf(&b, "✓ %s: %s\n", name, say(f.Found))
			continue
		case f.OK:
			fmt.Fprintf(&b, "! %s\n", strings.TrimSpace(name+"  "+f.Code))
		default:
			fmt.Fprintf(&b, "✗ %s\n", strings.TrimSpace(name+"  "+f.Code))
		}
		fmt.Fprintf(&b, "  %s\n", strings.ReplaceAll(say(f.Reason), "\n", "\n  "))
		if f.Remedy != "" {
			fmt.Fprintf(&b, "  → %s\n", say(f.Remedy))
		}
	}
	_, err := fmt.Fprint(t.out, b.String())
	return err
}
