package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/cost"
	"github.com/acequia-io/acequia/internal/obs"
)

type planCmd struct {
	files
	Connect bool `help:"Ask databases for their tables and columns, and how their changes can be found."`
	JSON    bool `help:"Write JSON."`

	Cost    bool  `help:"Estimate what it costs on AWS in a day, with what is assumed for it."`
	Rows    int64 `help:"For the cost: rows of each stream in a day." default:"100000" placeholder:"N"`
	Bytes   int64 `name:"row-bytes" help:"For the cost: bytes of a row, as JSON." default:"1000" placeholder:"N"`
	Days    int   `name:"keep-days" help:"For the cost: days that data is kept." default:"30" placeholder:"N"`
	Queries int64 `help:"For the cost: queries of the lake in a day, each over the rows of a day." default:"100" placeholder:"N"`
}

// Help shows examples.
func (planCmd) Help() string {
	return `Shows what acequia run would do: what is read, what each step makes of the columns, the tables and where they stand, what
would be created, and what cannot be promised. Nothing is written, and without --connect nothing is connected to. --cost adds an estimate of what
AWS takes for it in a day (S3, DynamoDB, SQS, EventBridge, Athena, RDS), from dated list prices.

Examples:
  acequia plan games.yaml
  acequia plan pipelines/ --json
  acequia plan shop.yaml --connect
  acequia plan games.yaml --cost --rows 1000000 --queries 500

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
	if c.Cost {
		load := cost.Load{Rows: c.Rows, Bytes: c.Bytes, Days: c.Days, Queries: c.Queries}
		if load.Rows < 0 || load.Bytes < 1 || load.Days < 0 || load.Queries < 0 {
			return &fault.Error{Code: "ACQ-USE-074", Place: "plan --cost", Err: errors.New("a quantity is below what it can be"), Remedy: "see acequia plan --help"}
		}
		plan.Cost = project.Cost(load)
	}
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
	if plan.Cost != nil {
		showCost(&b, plan.Cost)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// showCost writes an estimate, and what it stands on.
func showCost(b *strings.Builder, e *cost.Estimate) {
	fmt.Fprintf(b, "AWS takes about %.2f USD a day (list prices of %s)\n", e.USD, e.Prices)
	for _, l := range e.Lines {
		fmt.Fprintf(b, "  %10.4f  %-11s %s: %s, %s\n", l.USD, l.Service, l.For, humanize.Commaf(math.Round(l.Quantity*1e4)/1e4), l.What)
	}
	for _, a := range e.Assumptions {
		fmt.Fprintf(b, "  assumed: %s\n", a)
	}
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
