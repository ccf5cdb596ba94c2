package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/sources"
)

type captureCmd struct {
	Install   captureInstallCmd   `cmd:"" help:"Print the SQL that lets changes be found, and run it with --apply."`
	Uninstall captureUninstallCmd `cmd:"" help:"Print the SQL that removes it, and run it with --apply."`
	Status    captureStatusCmd    `cmd:"" help:"Show how the changes of each table can be found, are found, and what that does not see."`
}

// captured is what installing and uninstalling have in common.
type captured struct {
	target
	Apply bool `help:"Run the statements, in order, each on its own."`
	JSON  bool `help:"Write JSON lines: a statement each, and an end."`
}

type captureInstallCmd struct {
	captured
	Strategy string `help:"What to install: log, queue, xid or time; docs/POSTGRES.md, MYSQL.md and MONGODB.md compare them." enum:"log,queue,xid,time" required:"" placeholder:"NAME"`
	PerRow   bool   `help:"Queue: triggers for each row, where one for each statement would do."`
	Overflow string `help:"Queue: alert, or stop_trigger, which stops writing above --max-rows; the table is read anew then." enum:"alert,stop_trigger" default:"alert" placeholder:"WHAT"`
	MaxRows  int64  `help:"Queue: changes of one table that may wait; default 10,000,000." placeholder:"N"`
}

// Help shows examples.
func (captureInstallCmd) Help() string {
	return `Prints the statements that are still to be run, with the reason of each. Nothing is changed without --apply. It can be run again
at any time: what is there is left out.

Examples:
  acequia capture install shop.yaml --strategy queue
  acequia capture install shop.yaml --strategy queue --apply
  acequia capture install shop.yaml shop --strategy xid --tables 'public.order*'
  acequia capture install shop.yaml --strategy log > install.sql
  acequia capture install films.yaml --strategy time

Exit codes: 0 ok, 1 a statement failed, 2 usage or configuration, 3 environment, such as missing rights.`
}

// Run installs.
func (c captureInstallCmd) Run(ctx context.Context, t terminal) error {
	r := sources.InstallRequest{Strategy: c.Strategy, Tables: c.Tables, PerRow: c.PerRow, Overflow: c.Overflow, MaxRows: c.MaxRows}
	return c.each(ctx, t, "install", func(ctx context.Context, i sources.Installer) ([]sources.Statement, error) { return i.Install(ctx, r) })
}

type captureUninstallCmd struct {
	captured
	Strategy string `help:"What to remove: log, queue, xid or time; default: all of them." enum:",log,queue,xid,time" default:"" placeholder:"NAME"`
}

// Help shows examples.
func (captureUninstallCmd) Help() string {
	return `Prints the statements that remove what capture install has put there, and nothing else. Nothing is changed without --apply.

Examples:
  acequia capture uninstall shop.yaml
  acequia capture uninstall shop.yaml --strategy log --apply

Exit codes: 0 ok, 1 a statement failed, 2 usage or configuration, 3 environment, such as missing rights.`
}

// Run removes.
func (c captureUninstallCmd) Run(ctx context.Context, t terminal) error {
	r := sources.InstallRequest{Strategy: c.Strategy, Tables: c.Tables}
	return c.each(ctx, t, "uninstall", func(ctx context.Context, i sources.Installer) ([]sources.Statement, error) {
		return i.Uninstall(ctx, r)
	})
}

// captureEvent is a line of --json.
type captureEvent struct {
	Event      string             `json:"event"` // statement or end
	Pipeline   string             `json:"pipeline"`
	Statement  *sources.Statement `json:"statement,omitempty"`
	Statements int                `json:"statements"` // of an end: how many there were
	Applied    bool               `json:"applied"`
}

// each plans the statements of every source, prints them all, and only then runs them if it was asked to.
func (c captured) each(
	ctx context.Context, t terminal, what string, plan func(context.Context, sources.Installer) ([]sources.Statement, error),
) error {
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	log := obs.NewLogger(t.err, slog.LevelWarn)
	return project.Captures(ctx, c.Pipeline, log, func(pipeline string, i sources.Installer) error {
		statements, err := plan(ctx, i)
		if err != nil {
			return err
		}
		if !c.JSON {
			printStatements(t.out, pipeline, what, statements)
		}
		done := 0
		told := func(s sources.Statement) {
			done++
			if c.JSON {
				_ = json.NewEncoder(t.out).Encode(captureEvent{Event: "statement", Pipeline: pipeline, Statement: &s, Statements: done, Applied: c.Apply})
			}
		}
		if c.Apply {
			err = i.Apply(ctx, statements, told)
		} else {
			for _, s := range statements {
				told(s)
			}
		}
		if c.JSON {
			_ = json.NewEncoder(t.out).Encode(captureEvent{Event: "end", Pipeline: pipeline, Statements: done, Applied: c.Apply && err == nil})
			return err
		}
		switch {
		case err != nil:
			_, _ = fmt.Fprintf(t.err, "%d of %s were run; run the command again when the reason is gone\n", done, count(len(statements), "statement"))
			return err
		case len(statements) == 0:
		case c.Apply:
			_, _ = fmt.Fprintf(t.err, "✓ %s run\n", count(done, "statement"))
		default:
			_, _ = fmt.Fprintf(t.err, "Nothing was changed. --apply runs %s.\n", map[bool]string{true: "it", false: "them"}[len(statements) == 1])
		}
		return nil
	})
}

// printStatements writes SQL, or the commands of a database that speaks none, that can be run as it stands, by a person with more rights, too.
func printStatements(out io.Writer, pipeline, what string, statements []sources.Statement) {
	if len(statements) == 0 {
		_, _ = fmt.Fprintf(out, "-- pipeline %s: there is nothing to %s\n", pipeline, what)
		return
	}
	mark := "--"
	if strings.HasPrefix(statements[0].SQL, "db.") { // for mongosh
		mark = "//"
	}
	_, _ = fmt.Fprintf(out, "%s pipeline %s: %s\n", mark, pipeline, what)
	why := ""
	for _, s := range statements {
		if reason := strings.TrimSpace(strings.TrimSpace(s.Table) + ": " + s.Why); reason != why {
			why = reason
			_, _ = fmt.Fprintf(out, "\n%s %s\n", mark, strings.TrimPrefix(why, ": "))
		}
		_, _ = fmt.Fprintf(out, "%s;\n", strings.TrimSuffix(strings.TrimSpace(s.SQL), ";"))
	}
}

type captureStatusCmd struct {
	target
	JSON bool `help:"Write JSON."`
}

// Help shows examples.
func (captureStatusCmd) Help() string {
	return `Asks the database how the changes of each table can be found: the strategies that are ready, best first, and why others are not; the
one that the pipeline uses, and what that does not see. Nothing is changed, and a pipeline that runs is not disturbed.

Examples:
  acequia capture status shop.yaml
  acequia capture status shop.yaml shop --tables 'public.order*' --json

Exit codes: 0 ok, 2 usage or configuration, 3 the database cannot be asked.`
}

// captureReport is the capture of one pipeline.
type captureReport struct {
	Pipeline string              `json:"pipeline"`
	Tables   []sources.Installed `json:"tables"`
	Held     int64               `json:"held_bytes,omitempty"` // that the database keeps until they were read
	Loss     time.Duration       `json:"loss_ns,omitempty"`    // until it throws away what was not read; 0: never
	Warnings []string            `json:"warnings,omitempty"`
}

// Run shows it.
func (c captureStatusCmd) Run(ctx context.Context, t terminal) error {
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	reports := []captureReport{}
	err = project.Captures(ctx, c.Pipeline, obs.NewLogger(t.err, slog.LevelWarn), func(pipeline string, i sources.Installer) error {
		tables, err := i.Installed(ctx)
		if err != nil {
			return err
		}
		r := captureReport{Pipeline: pipeline, Tables: []sources.Installed{}}
		for _, table := range tables {
			in, err := chosen(c.Tables, table.Table)
			if err != nil {
				return err
			}
			if in {
				r.Tables = append(r.Tables, table)
			}
		}
		if reporter, ok := i.(sources.Reporter); ok {
			stands, err := reporter.Report(ctx)
			if err != nil {
				return err
			}
			r.Held, r.Loss, r.Warnings = stands.Held, stands.Loss, stands.Warnings
		}
		reports = append(reports, r)
		return nil
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, reports)
	}
	for _, r := range reports {
		if err := r.show(t.out); err != nil {
			return err
		}
	}
	return nil
}

func (r captureReport) show(out io.Writer) error {
	_, _ = fmt.Fprintf(out, "%s\n", r.Pipeline)
	w := tabwriter.NewWriter(out, 0, 2, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "  TABLE\tUSES\tREADY\tWAITING\tOLDEST")
	for _, t := range r.Tables {
		waiting, oldest := "-", "-"
		if t.Waiting > 0 {
			waiting, oldest = thousands(t.Waiting), t.Oldest.Round(time.Second).String()
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\n", t.Table, orDash(t.Strategy), orDash(strings.Join(t.Ready, ", ")), waiting, oldest)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var said []string
	of := map[string][]string{} // tables, by what is said of them
	say := func(text, table string) {
		if of[text] == nil {
			said = append(said, text)
		}
		of[text] = append(of[text], table)
	}
	if r.Held > 0 {
		until := ""
		if r.Loss > 0 {
			until = fmt.Sprintf("; at the rate of now the first of it is lost in %.1f hours", r.Loss.Hours())
		}
		_, _ = fmt.Fprintf(out, "  the database keeps %s of its log for the pipeline%s\n", sizeOf(r.Held), until)
	} else if r.Loss > 0 {
		_, _ = fmt.Fprintf(out, "  the database's log forgets what is to be read next in %.1f hours, at the rate at which it was written\n", r.Loss.Hours())
	}
	for _, w := range r.Warnings {
		_, _ = fmt.Fprintf(out, "  warning: %s\n", w)
	}
	for _, t := range r.Tables {
		for _, m := range t.Missing {
			say(strings.TrimPrefix("no "+m.Strategy+": "+m.Reason, "no : "), t.Table)
		}
	}
	for _, t := range r.Tables {
		for _, risk := range t.Risks {
			say("risk: "+risk, t.Table)
		}
	}
	for _, text := range said {
		if _, err := fmt.Fprintf(out, "  %s (%s)\n", text, some(of[text])); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out, "acequia capture install --strategy NAME prints what a strategy lacks; --json tells of each table.")
	return err
}

// namedTables is how many tables are named of those of which the same is to be said.
const namedTables = 3

func some(tables []string) string {
	if len(tables) <= namedTables {
		return strings.Join(tables, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(tables[:namedTables], ", "), len(tables)-namedTables)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
