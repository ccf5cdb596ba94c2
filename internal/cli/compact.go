package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/compaction"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/internal/obs"
)

// age is a duration that may be written in days.
type age time.Duration

// UnmarshalText reads it.
func (a *age) UnmarshalText(text []byte) error {
	d, err := config.ParseDuration(string(text))
	*a = age(d)
	return err
}

// size is a number of bytes, written as in configuration.
type size int64

// UnmarshalText reads it.
func (s *size) UnmarshalText(text []byte) error {
	n, err := config.ParseSize(string(text))
	*s = size(n)
	return err
}

// swapFlags are of commands that replace files of tables.
type swapFlags struct {
	lakeFlags
	Grace  age      `help:"How long files that were replaced stay, for queries and programs that have them open." default:"1h" placeholder:"TIME"`
	DryRun bool     `help:"Say what would be done, and do nothing."`
	JSON   bool     `help:"Write progress and result as lines of JSON."`
	Tables []string `arg:"" optional:"" name:"table" help:"Tables; none: all."`
}

const swapHelp = `
Queries by acequia see the old files or the new ones, never both, also when the command is killed: the next run goes on.
The old files are deleted by the first run after the grace time; until then other programs that read the folder, such as
Athena over a copy of it, see their rows twice in the table, and once in its latest view. Only files whose commit group is
checkpointed in the state directory are touched; the rest are counted as left.

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 environment (rights, disk, another process holds the table).`

type tablesCompactCmd struct {
	swapFlags
	OlderThan age  `help:"A partition is closed, and compacted, when its last file is so old." default:"1h" placeholder:"TIME"`
	Target    size `help:"Size of a merged file." default:"128MiB" placeholder:"SIZE"`
}

// Help shows examples.
func (tablesCompactCmd) Help() string {
	return `Merges the small files of closed partitions into files of the target's size, sorted by key, then version. Every version of
every row is kept. Run it beside running pipelines as you like.

Examples:
  acequia tables compact -f games.yaml
  acequia tables compact --dir D --older-than 30m --target 256MiB videogames
  acequia tables compact -f games.yaml --dry-run
` + swapHelp
}

// Run compacts.
func (c tablesCompactCmd) Run(ctx context.Context, t terminal) error {
	return c.do(ctx, t, func(o compaction.Options) ([]compaction.Result, error) {
		o.OlderThan, o.Target = time.Duration(c.OlderThan), int64(c.Target)
		return compaction.Compact(ctx, o)
	})
}

type tablesExpireCmd struct {
	swapFlags
	OlderThan age    `help:"Drop the partitions of days that are over for so long." placeholder:"TIME"`
	Before    string `help:"Drop the partitions of days before this one." placeholder:"DATE"`
}

// Help shows examples.
func (tablesExpireCmd) Help() string {
	return `Drops whole partitions by their date: dt, or a column of dates that the table is partitioned by. A table without one is
refused. What is dropped is gone from queries at once, and from the disk after the grace time.

Examples:
  acequia tables expire -f games.yaml --older-than 90d
  acequia tables expire --dir D --before 2026-01-01 --dry-run videogames
` + swapHelp
}

// Run expires.
func (c tablesExpireCmd) Run(ctx context.Context, t terminal) error {
	before := time.Now().Add(-time.Duration(c.OlderThan))
	if (c.OlderThan == 0) == (c.Before == "") {
		return &fault.Error{Code: "ACQ-USE-032", Err: errors.New("give --older-than or --before"), Remedy: "acequia tables expire --help shows examples"}
	}
	if c.Before != "" {
		var err error
		if before, err = time.Parse(time.DateOnly, c.Before); err != nil {
			return &fault.Error{Code: "ACQ-USE-032", Place: "--before", Err: fmt.Errorf("%q is no date", c.Before), Remedy: "write it as 2026-01-31"}
		}
	}
	return c.do(ctx, t, func(o compaction.Options) ([]compaction.Result, error) {
		o.Before = before
		return compaction.Expire(ctx, o)
	})
}

// compactMemory is what the process aims to stay below.
const compactMemory = 256 << 20

// do opens lake and state, and prints progress and what was done.
func (c swapFlags) do(ctx context.Context, t terminal, work func(compaction.Options) ([]compaction.Result, error)) error {
	lake, state, err := c.find(ctx, t)
	if err != nil {
		return err
	}
	bucket, err := lake.Bucket(ctx)
	if err != nil {
		return err
	}
	store, err := state.OpenToRead(ctx) // it says which files are settled
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(compactMemory * 85 / 100)
	o := compaction.Options{
		Bucket: bucket, Lanes: store, Tables: c.Tables, Grace: time.Duration(c.Grace), DryRun: c.DryRun,
		Progress: func(r compaction.Result) { c.progress(t, r) },
	}
	results, err := work(o)
	if obs.Terminal(t.err) && !c.JSON {
		_, _ = fmt.Fprint(t.err, "\r\x1b[K")
	}
	return errors.Join(err, c.print(t, results), store.Close())
}

// swapEvent is a line of --json.
type swapEvent struct {
	Event string `json:"event"` // progress, or table when it is done
	compaction.Result
}

func (c swapFlags) progress(t terminal, r compaction.Result) {
	switch {
	case c.JSON:
		_ = json.NewEncoder(t.out).Encode(swapEvent{"progress", r})
	case obs.Terminal(t.err):
		_, _ = fmt.Fprintf(t.err, "\r%s: %s files into %s, %s rows\x1b[K", r.Table, thousands(int64(r.Inputs)), thousands(int64(r.Outputs)), thousands(r.Rows))
	}
}

func (c swapFlags) print(t terminal, results []compaction.Result) error {
	if c.JSON {
		var errs []error
		for _, r := range results {
			errs = append(errs, json.NewEncoder(t.out).Encode(swapEvent{"table", r}))
		}
		return errors.Join(errs...)
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "table\tpartitions\tfiles\tbecame\trows\tMiB\tbecame\topen\tleft\tdeleted\t")
	for _, r := range results {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%.1f\t%.1f\t%d\t%d\t%d\t\n", r.Table, r.Partitions, r.Inputs, r.Outputs, thousands(r.Rows),
			float64(r.BytesIn)/(1<<20), float64(r.BytesOut)/(1<<20), r.Open, r.Left, r.Deleted)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		var err error
		switch {
		case r.DryRun:
			_, err = fmt.Fprintf(t.out, "%s: nothing was done (--dry-run)\n", r.Table)
		case !r.DeleteAfter.IsZero():
			_, err = fmt.Fprintf(t.out, "%s: replaced files will be deleted by a run after %s\n", r.Table, r.DeleteAfter.Local().Format(time.DateTime))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
