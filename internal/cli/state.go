package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/obs"
)

type stateCmd struct {
	Show   stateShowCmd   `cmd:"" help:"Show where each lane stands."`
	Rewind stateRewindCmd `cmd:"" help:"Have tables read anew by the next run."`
}

type stateShowCmd struct {
	target
	JSON bool `help:"Write JSON."`
}

// Help shows examples.
func (stateShowCmd) Help() string {
	return `Shows the checkpoint of each lane: its position, its last commit group, how many rows are visible. A lane is a part of a source that
has an order: a file, a range of a table's keys, the changes of a table. A process that runs is not disturbed.

Examples:
  acequia state show shop.yaml
  acequia state show shop.yaml shop --tables orders --json

Exit codes: 0 ok, 2 usage or configuration, 3 there is no state, or it cannot be read.`
}

// Run shows.
func (c stateShowCmd) Run(ctx context.Context, t terminal) error {
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	all, err := project.Lanes(ctx, c.Pipeline)
	if err != nil {
		return err
	}
	lanes := []app.LaneStand{}
	for _, l := range all {
		in, err := chosen(c.Tables, l.Stream)
		if err != nil {
			return err
		}
		if in {
			lanes = append(lanes, l)
		}
	}
	if c.JSON {
		return writeJSON(t.out, lanes)
	}
	return showLanes(t.out, lanes)
}

// shownPosition is how many characters of a position are shown for people.
const shownPosition = 40

func showLanes(out io.Writer, lanes []app.LaneStand) error {
	if len(lanes) == 0 {
		_, err := fmt.Fprintln(out, "No lane has begun.")
		return err
	}
	w := tabwriter.NewWriter(out, 0, 2, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "PIPELINE\tLANE\tSTATE\tROWS\tGROUP\tPOSITION\tSAVED")
	for _, l := range lanes {
		state, saved := "open", "-"
		switch {
		case l.Pending:
			state = "group half committed"
		case l.Ended:
			state = "ended"
		}
		if !l.Saved.IsZero() {
			saved = l.Saved.Local().Format(time.DateTime)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.Pipeline, l.Lane, state, thousands(l.Rows), l.Group, orDash(middleOut(l.Position, shownPosition)), saved)
	}
	return w.Flush()
}

type stateRewindCmd struct {
	target
	Lanes []string `help:"In the place of tables: lanes, as state show names them, whose source cannot read its streams anew. What they read again is in a lake twice." placeholder:"LANE"`
	JSON  bool     `help:"Write JSON."`
}

// Help shows examples.
func (stateRewindCmd) Help() string {
	return `Has the next run read tables of a database anew, at a new epoch: when all of a table was read, what is gone from it goes from the sinks.
Nothing is read now; acequia backfill does both. No process may run the pipelines meanwhile.

Examples:
  acequia state rewind shop.yaml
  acequia state rewind shop.yaml shop --tables orders
  acequia state rewind files.yaml sales --lanes file:data/a.csv

Exit codes: 0 ok, 2 usage or configuration, 3 the state is held by another process, or the database cannot be asked.`
}

// Run rewinds.
func (c stateRewindCmd) Run(ctx context.Context, t terminal) error {
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	options := app.ServiceOptions{Log: obs.NewLogger(t.err, slog.LevelWarn), Forms: true}
	if len(c.Lanes) > 0 {
		return c.lanes(ctx, t, project, options)
	}
	streams, err := project.Rewind(ctx, c.Pipeline, c.Tables, options)
	if err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, streams)
	}
	for _, pipeline := range slices.Sorted(maps.Keys(streams)) {
		if len(streams[pipeline]) == 0 {
			_, _ = fmt.Fprintf(t.out, "%s: no table that was chosen has been read yet\n", pipeline)
			continue
		}
		_, _ = fmt.Fprintf(t.out, "%s: the next run reads anew: %s\n", pipeline, strings.Join(streams[pipeline], ", "))
	}
	return nil
}

func (c stateRewindCmd) lanes(ctx context.Context, t terminal, project *app.Project, o app.ServiceOptions) error {
	if c.Pipeline == "" || len(c.Tables) > 0 {
		return &fault.Error{
			Code: "ACQ-USE-054", Place: "--lanes", Err: errors.New("lanes are of one pipeline, and stand in the place of tables"),
			Remedy: "name the pipeline after the file, and leave --tables out",
		}
	}
	if err := project.RewindLanes(ctx, c.Pipeline, c.Lanes, o); err != nil {
		return err
	}
	if c.JSON {
		return writeJSON(t.out, map[string][]string{c.Pipeline: c.Lanes})
	}
	_, err := fmt.Fprintf(t.out, "%s: the next run reads these lanes from their start: %s\nWhat it reads again is in a lake twice; the view of the newest rows stays right.\n",
		c.Pipeline, strings.Join(c.Lanes, ", "))
	return err
}
