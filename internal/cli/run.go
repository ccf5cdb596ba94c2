package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/sources"
)

type runCmd struct {
	files
	UntilIdle bool          `help:"Stop when nothing has come for a while. Pipelines over files end by themselves."`
	Idle      time.Duration `help:"How long that while is." default:"3s"`
	Watch     bool          `help:"Take up changes of the files, and go on until Ctrl-C."`
	DryRun    bool          `help:"Only show what would be done, as acequia plan does."`
	JSON      bool          `help:"Write progress and result as lines of JSON."`
}

// Help shows examples.
func (runCmd) Help() string {
	return `Runs the pipelines of the files until all have read what there is, or until Ctrl-C, which stops them cleanly. What was
read is never read again by the next run; what is new is. Rows that cannot pass are kept as dead letters. With --watch a file
that changes and has no mistakes takes the place of what runs, which is stopped cleanly and goes on where it was; one with
mistakes is told, and nothing changes.

Examples:
  acequia run games.yaml
  acequia run pipelines/ --until-idle
  acequia run games.yaml --watch

Exit codes: 0 ok, 1 a pipeline failed, 2 the configuration has mistakes, 3 environment, 4 some rows are dead letters.`
}

// Run runs the pipelines.
func (c runCmd) Run(ctx context.Context, t terminal) (err error) {
	if c.DryRun {
		return planCmd{files: c.files, JSON: c.JSON}.Run(ctx, t)
	}
	t.err = onScreen(t.err)
	log, closed, err := t.log()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	live, err := c.live(ctx, t, app.LiveOptions{
		Service: app.ServiceOptions{Log: log, Wire: t.wire, Probe: t.probe}, Watch: c.Watch, Told: reloads{t, c.JSON, "en"}.tell,
	})
	if err != nil {
		return err
	}
	if c.UntilIdle {
		live.UntilIdle = c.Idle
	}
	began := time.Now()
	watching, done := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		(&progress{t: t, log: log, json: c.JSON, status: live.Status, expected: live.Expected, began: began}).follow(watching)
	})
	runErr := live.Run(ctx)
	done()
	telling.Wait()
	if err := errors.Join(c.result(t, live.Status(), time.Since(began)), runErr); err != nil {
		return err
	}
	if live.DeadLetters() > 0 {
		return toldError{exitPartial}
	}
	return nil
}

// event is a line of --json.
type event struct {
	Event   string  `json:"event"` // progress, or end
	Seconds float64 `json:"seconds"`
	routers.Status
}

// result is the last thing that the command prints.
func (c runCmd) result(t terminal, statuses []routers.Status, took time.Duration) error {
	if c.JSON {
		var errs []error
		for _, s := range statuses {
			errs = append(errs, json.NewEncoder(t.out).Encode(event{Event: "end", Seconds: took.Seconds(), Status: s}))
		}
		return errors.Join(errs...)
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "pipeline\tstate\tread\tdone\tdead letters\tseconds\t")
	for _, s := range statuses {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.1f\t\n", s.Pipeline, s.State, thousands(s.RowsRead), thousands(s.RowsCommitted),
			thousands(s.DeadLetters), took.Seconds())
	}
	err := w.Flush()
	for _, s := range statuses {
		if s.Unrouted > 0 {
			_, _ = fmt.Fprintf(t.out, "%s: %s records were for no sink of its route, and went nowhere.\n", s.Pipeline, thousands(s.Unrouted))
		}
		if s.Others.Rows > 0 {
			_, _ = fmt.Fprintf(t.out, "%s: other processes read %s more records of its tables.\n", s.Pipeline, thousands(s.Others.Rows))
		}
		tellUnfit(t, s)
	}
	return err
}

// tellUnfit says which columns had values that they cannot hold.
func tellUnfit(t terminal, s routers.Status) {
	if s.Source == nil {
		return
	}
	for _, one := range s.Source.Streams {
		for _, text := range unfit(one) {
			_, _ = fmt.Fprintf(t.out, "%s: %s: %s\n", s.Pipeline, one.Stream, text)
		}
	}
}

// unfit says which values of a stream are text in columns of their own.
func unfit(s sources.StreamReport) (texts []string) {
	for _, column := range slices.Sorted(maps.Keys(s.Unfit)) {
		texts = append(texts, "values that are text in "+column+", for their column cannot hold them: "+thousands(s.Unfit[column]))
	}
	return texts
}

// thousands writes a number with commas.
func thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
