package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
)

type testCmd struct {
	files
	Only string `name:"run" help:"Only the tests whose pipeline/name this regular expression matches." placeholder:"PATTERN"`
	JSON bool   `help:"Write the results as JSON."`
}

// Help shows examples.
func (testCmd) Help() string {
	return `Runs the tests of configuration files: the records of each go through the real steps of its pipeline, and what comes
out is compared. Nothing is read, written or connected to. Masks have a fixed key in tests.

  tests:
    - name: old games go
      input: [ { rank: 1, year: 1979 }, { rank: 2, year: 1985 } ]
      output: [ { rank: 2, decade: 1980 } ]

Examples:
  acequia test games.yaml
  acequia test pipelines/ --run 'games/old'
  acequia test --json

Exit codes: 0 all passed, 1 a test failed, 2 mistakes in a file, 3 a file cannot be read.`
}

// Run runs the tests.
func (c testCmd) Run(ctx context.Context, t terminal) error {
	pattern, err := regexp.Compile(c.Only)
	if err != nil {
		return &fault.Error{Code: "ACQ-USE-040", Place: "--run", Err: err, Remedy: "write a regular expression, such as games/old"}
	}
	project, problems, err := c.load(ctx, t)
	if err != nil {
		return err
	}
	tell(t.err, problems)
	if problems.Errors() {
		return toldError{exitUsage}
	}
	results, err := project.Test(ctx, pattern.MatchString)
	if err != nil {
		return err
	}
	if len(results) == 0 && c.Only != "" {
		return &fault.Error{
			Code: "ACQ-USE-041", Place: "--run " + c.Only, Err: errors.New("no test has such a name"), Remedy: "leave --run out to see all",
		}
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	if c.JSON {
		err = writeJSON(t.out, append([]app.TestResult{}, results...))
	} else {
		err = showTests(t.out, results, failed)
	}
	if err == nil && failed > 0 {
		err = toldError{exitFailed}
	}
	return err
}

func showTests(out io.Writer, results []app.TestResult, failed int) error {
	var b strings.Builder
	for _, r := range results {
		if r.Passed {
			fmt.Fprintf(&b, "✓ %s: %s\n", r.Pipeline, r.Name)
			continue
		}
		fmt.Fprintf(&b, "✗ %s: %s   %s:%d:%d\n", r.Pipeline, r.Name, r.File, r.Line, r.Column)
		if r.Error != "" {
			fmt.Fprintf(&b, "    the pipeline stopped: %s\n", r.Error)
		}
		showDifferences(&b, r.Differences)
	}
	switch {
	case len(results) == 0:
		b.WriteString("There are no tests.\n")
	case failed == 0:
		fmt.Fprintf(&b, "%s passed\n", count(len(results), "test"))
	default:
		fmt.Fprintf(&b, "%s failed, %d passed\n", count(failed, "test"), len(results)-failed)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// showDifferences writes a heading a row, and under it what was wanted beside what came.
func showDifferences(b *strings.Builder, all []app.Difference) {
	heading := ""
	for i, d := range all {
		at := fmt.Sprintf("dead letter %d", d.Row)
		if d.Sink != "" {
			at = fmt.Sprintf("%s, row %d", d.Sink, d.Row)
		}
		if at != heading {
			fmt.Fprintf(b, "    %s\n", at)
			heading = at
		}
		want, got := orNothing(d.Want), orNothing(d.Got)
		if d.Column == "" {
			fmt.Fprintf(b, "      want %s\n      got  %s\n", want, got)
			continue
		}
		names, wants := widths(all[i:], d)
		fmt.Fprintf(b, "      %s  want %s  got %s\n", padded(d.Column, names), padded(want, wants), got)
	}
}

// widths gives those of the columns' names and of what was wanted in one row.
func widths(rest []app.Difference, of app.Difference) (names, wants int) {
	for _, d := range rest {
		if d.Sink == of.Sink && d.Row == of.Row && d.Column != "" {
			names = max(names, utf8.RuneCountInString(d.Column))
			wants = max(wants, utf8.RuneCountInString(orNothing(d.Want)))
		}
	}
	return names, wants
}

func padded(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-utf8.RuneCountInString(text)))
}

func orNothing(text string) string {
	if text == "" {
		return "nothing"
	}
	return text
}
