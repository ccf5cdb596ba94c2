package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/obs"
)

type planCmd struct {
	files
	Connect bool `help:"Ask databases for their tables and columns, and how their changes can be found."`
	JSON    bool `help:"Write JSON."`
}

// Help shows examples.
func (planCmd) Help() string {
	return `Shows what acequia run would do: what is read, what each step makes of the columns, the tables and where they stand, what
would be created, and what cannot be promised. Nothing is written, and without --connect nothing is connected to.

Examples:
  acequia plan games.yaml
  acequia plan pipelines/ --json
  acequia plan shop.yaml --connect

Exit codes: 0 ok, 2 the configuration has mistakes, 3 a file cannot be read, or a database not asked.`
}

// Run plans.
func (c planCmd) Run(ctx context.Context, t terminal) error {
	project, problems, err := c.load(ctx, t)
	if err != nil {
		return err
	}
	tell(t.err, problems)
	if problems.Errors() {
		return toldError{exitUsage}
	}
	if c.Connect {
		problems, err := project.Ask(ctx, obs.NewLogger(t.err, slog.LevelWarn))
		if err != nil {
			return err
		}
		tell(t.err, problems)
		if problems.Errors() {
			return toldError{exitUsage}
		}
	}
	plan := project.Plan(ctx)
	if c.JSON {
		return writeJSON(t.out, plan)
	}
	return showPlan(t.out, plan)
}

func showPlan(out io.Writer, plan app.Plan) error {
	var b strings.Builder
	for _, p := range plan.Pipelines {
		fmt.Fprintf(&b, "%s\n", p.Name)
		showPart(&b, "from", p.Source)
		for _, s := range p.Streams {
			fmt.Fprintf(&b, "    stream %s, key %s\n", s.Stream, strings.Join(orNone(s.Key), ", "))
			fmt.Fprintf(&b, "    %s\n", strings.Join(s.Columns, ", "))
			for i, step := range s.Steps {
				fmt.Fprintf(&b, "  %d %s: %s\n", i+1, step.Step, step.Text)
				if len(step.Changes) > 0 {
					fmt.Fprintf(&b, "    %s\n", strings.Join(step.Changes, ", "))
				}
			}
		}
		for _, sink := range p.Sinks {
			showPart(&b, "to", sink)
		}
		for _, note := range p.Notes {
			fmt.Fprintf(&b, "  note: %s\n", note)
		}
	}
	fmt.Fprintf(&b, "state in %s", plan.State)
	if plan.New {
		b.WriteString(", which the first run makes")
	}
	b.WriteString("\n")
	_, err := io.WriteString(out, b.String())
	return err
}

func orNone(key []string) []string {
	if len(key) == 0 {
		return []string{"none"}
	}
	return key
}

func showPart(b *strings.Builder, how string, p app.PartPlan) {
	fmt.Fprintf(b, "  %-4s %s (%s)\n", how, p.Name, p.Type)
	for _, line := range p.Lines {
		fmt.Fprintf(b, "    %s\n", line)
	}
}
