package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/jobs"
)

// diff says what a replay would change, and changes it with --apply.
func (c replayCmd) diff(ctx context.Context, t terminal, service *app.Service) error {
	found, err := service.Diff(ctx, app.DiffOptions{Pipeline: c.Pipeline, Lake: c.FromLake, Tables: c.Table, Apply: c.Apply, Grace: c.Grace})
	if len(found.Tables) > 0 { // an error may be of what came after
		if c.JSON {
			err = firstError(json.NewEncoder(t.out).Encode(found), err)
		} else {
			err = firstError(c.showDiff(t, &found), err)
		}
	}
	if err != nil {
		return err
	}
	if found.DeadLetters > 0 {
		return toldError{exitPartial}
	}
	return nil
}

// firstError gives the error of the work, or else that of the output.
func firstError(output, work error) error {
	if work != nil {
		return work
	}
	return output
}

// shownPartitions bounds what people are shown.
const shownPartitions = 50

func (c replayCmd) showDiff(t terminal, d *app.Diff) error {
	_, _ = fmt.Fprintf(t.out, "%s replayed, %s: %s\n", rows(d.Read), count(int(d.DeadLetters), "dead letter"), "nothing was written to the pipeline's sinks")
	for i := range d.Tables {
		table := &d.Tables[i]
		_, _ = fmt.Fprintf(t.out, "\ntable %s of %s, keys: %s\n", table.Table, table.Sink, table.Summary())
		if len(table.Partitions) == 0 {
			continue
		}
		w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
		_, _ = fmt.Fprintln(w, "partition\tchanged\tonly here\tonly there\tnewer here\tfiles\tfiles replayed\t")
		for _, p := range table.Partitions[:min(shownPartitions, len(table.Partitions))] {
			showPartition(w, p)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if left := len(table.Partitions) - shownPartitions; left > 0 {
			_, _ = fmt.Fprintf(t.out, "and %s; --json has all\n", count(left, "partition"))
		}
		if table.Replaced > 0 {
			_, _ = fmt.Fprintf(t.out, "%s replaced; the old files stay for %s\n", count(table.Replaced, "partition"), c.Grace)
		}
	}
	return nil
}

func showPartition(w *tabwriter.Writer, p jobs.PartitionChange) {
	_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t\n", p.Folder, thousands(p.Changed), thousands(p.Gone), thousands(p.New), thousands(p.Newer),
		p.FilesNow, p.FilesNew)
}
