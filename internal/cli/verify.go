package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/obs"
	"github.com/acequia-io/acequia/internal/verify"
)

// compareFlags are of commands that compare sources with sinks.
type compareFlags struct {
	target
	Report string `help:"Write the report, as JSON, to this file as well." type:"path" placeholder:"FILE"`
	JSON   bool   `help:"Write the report as JSON."`
}

type verifyCmd struct {
	compareFlags
	Against string `help:"Compare with lake, items, postgres (a warehouse) or both, which is all of them; default: every sink of the pipeline that can be read." enum:"lake,items,postgres,both," default:""`
	Settle  string `help:"How long rows that differ are looked at again; default where a pipeline runs meanwhile: the roll.every of its sinks and 10s more; else once." placeholder:"TIME"`
	Show    int    `help:"How many differences of a table are told in full." default:"20"`
	Repair  bool   `help:"Read the records that differ again from the source, and send them through the pipeline; then compare once more."`
}

// Help shows examples.
func (verifyCmd) Help() string {
	return `Reads the tables of a database and what the pipeline's sinks hold of them, and compares every row: each side is hashed in one
form, and count, xor and sum of the hashes are compared for each range of keys. The source's rows pass the pipeline's steps first; the
sinks' are decoded back from files, items and tables. Where a range differs its rows are compared one by one, and those that differ are looked at
again, so that changes which a running pipeline has not carried yet are no differences.

A table without a key is compared as a whole. Columns that the source has dropped are left out, and named. Nothing is changed, but
with --repair: it needs the state directory, so no other process may run on it.

Examples:
  acequia verify shop.yaml
  acequia verify shop.yaml shop --tables orders --tables 'invoice*' --against lake
  acequia verify shop.yaml --settle 1m --json
  acequia verify shop.yaml --repair --report verified.json

Exit codes: 0 equal, 1 it failed, 2 usage or configuration, 3 environment (unreachable, rights, state), 5 it found differences.`
}

// Run compares.
func (c verifyCmd) Run(ctx context.Context, t terminal) error {
	settle := time.Duration(-1)
	if c.Settle != "" {
		var err error
		if settle, err = time.ParseDuration(c.Settle); err != nil || settle < 0 {
			return &fault.Error{Code: "ACQ-USE-009", Place: "--settle", Err: fmt.Errorf("%q is no time", c.Settle), Remedy: "write 30s or 2m"}
		}
	}
	against := c.Against
	if against == "both" {
		against = ""
	}
	return c.compare(ctx, t, app.VerifyOptions{Against: against, Settle: settle, Show: c.Show}, c.Repair)
}

type sweepCmd struct {
	compareFlags
}

// Help shows examples.
func (sweepCmd) Help() string {
	return `Compares which keys the tables of a database have with which the pipeline's sinks have. A row that only a sink has was deleted
where the pipeline could not see it: its tombstone is written. A row that a sink does not have is sent. What is in the rows is not
compared; acequia verify does that. It needs the state directory, so no other process may run on it.

Examples:
  acequia sweep shop.yaml
  acequia sweep shop.yaml shop --tables orders

Exit codes: 0 the keys are equal now, 1 it failed, 2 usage or configuration, 3 environment, 5 some keys still differ.`
}

// Run compares keys, and mends.
func (c sweepCmd) Run(ctx context.Context, t terminal) error {
	return c.compare(ctx, t, app.VerifyOptions{KeysOnly: true, Show: 20}, true)
}

// compare compares, mends if that is asked for, and tells.
func (c compareFlags) compare(ctx context.Context, t terminal, o app.VerifyOptions, repair bool) error {
	project, err := c.project(ctx, t)
	if err != nil {
		return err
	}
	o.Pipeline, o.Tables = c.Pipeline, app.Tables{Patterns: c.Tables, Choose: chosen}
	log := obs.NewLogger(t.err, slog.LevelWarn)
	var report *verify.Report
	stop := c.progress(t, &o)
	if repair {
		report, err = repaired(ctx, t, project, o, log)
	} else {
		report, err = project.Verify(ctx, o, log)
	}
	stop()
	if err != nil {
		return err
	}
	if err := c.tell(t, report); err != nil {
		return err
	}
	if !report.Equal {
		return toldError{exitDifferent}
	}
	return nil
}

// repaired compares and mends, in the process that holds the state.
func repaired(ctx context.Context, t terminal, project *app.Project, o app.VerifyOptions, log *slog.Logger) (_ *verify.Report, err error) {
	service, err := project.Open(ctx, app.ServiceOptions{Log: log, Wire: t.wire, Forms: true})
	if fault.Code(err) == "ACQ-ENV-002" {
		return nil, &fault.Error{
			Code: "ACQ-ENV-002", Place: project.State, Err: errors.New("another acequia process runs on this state, and only one may write"),
			Remedy: "stop it first; acequia verify without --repair can be asked while it runs",
		}
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	return service.Repair(ctx, o)
}

// progress shows on a terminal how many rows were read.
func (c compareFlags) progress(t terminal, o *app.VerifyOptions) (stop func()) {
	if !obs.Terminal(t.err) {
		return func() {}
	}
	var read atomic.Int64
	var waiting atomic.Pointer[string]
	o.Wait = func(stream, sink string, n int, until time.Time) {
		text := fmt.Sprintf("not equal yet in %[3]s: %[1]s of %[2]s; what runs has until %[4]s to bring them", rows(int64(n)), stream, sink, until.Format(time.TimeOnly))
		waiting.Store(&text)
	}
	o.Read = func(rows int) {
		read.Add(int64(rows))
		waiting.Store(nil)
	}
	began, done := time.Now(), make(chan struct{})
	var showing sync.WaitGroup
	showing.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				_, _ = fmt.Fprint(t.err, "\r\x1b[K")
				return
			case <-tick.C:
				if text := waiting.Load(); text != nil {
					_, _ = fmt.Fprintf(t.err, "\r%s\x1b[K", *text)
					continue
				}
				n := read.Load()
				_, _ = fmt.Fprintf(t.err, "\r%s rows read on both sides, %s a second\x1b[K", thousands(n), thousands(int64(float64(n)/time.Since(began).Seconds())))
			}
		}
	})
	return func() { close(done); showing.Wait() }
}

// tell writes the report.
func (c compareFlags) tell(t terminal, r *verify.Report) error {
	if c.Report != "" {
		text, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = os.WriteFile(c.Report, append(text, '\n'), 0o600)
		}
		if err != nil {
			return &fault.Error{Code: "ACQ-ENV-001", Place: c.Report, Err: err, Remedy: "name a file that can be written"}
		}
	}
	if c.JSON {
		return writeJSON(t.out, r)
	}
	return showReport(t.out, r)
}

// showReport writes it for people.
func showReport(out io.Writer, r *verify.Report) error {
	if r.Found != nil {
		for i := range r.Found.Tables {
			if f := &r.Found.Tables[i]; f.Repaired > 0 {
				_, _ = fmt.Fprintf(out, "%s in %s: %s missing, %s too many, %s different; %s sent again\n", f.Stream, f.Sink, rows(f.Missing), thousands(f.Extra),
					thousands(f.Different), rows(f.Repaired))
			}
		}
	}
	if len(r.Tables) > 0 {
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
		_, _ = fmt.Fprintln(w, "table\tsink\trows\tin the sink\tranges\tdiffering\tmissing\textra\tdifferent\tseconds\t\t")
		for i := range r.Tables {
			v := &r.Tables[i]
			result := "equal"
			if !v.Equal() {
				result = "DIFFERS"
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%.1f\t%s\t\n", v.Stream, v.Sink, thousands(v.Rows), thousands(v.SinkRows), v.Ranges, v.Differing,
				thousands(v.Missing), thousands(v.Extra), thousands(v.Different), v.Seconds, result)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for i := range r.Tables {
		showNotes(out, &r.Tables[i])
	}
	for _, u := range r.Unchecked {
		_, _ = fmt.Fprintf(out, "Not compared: %s: %s\n", strings.Join(slices.DeleteFunc([]string{u.Pipeline, u.Stream, u.Sink}, func(s string) bool { return s == "" }), ", "), u.Reason)
	}
	return nil
}

// showNotes writes what there is to know of a table beside its figures.
func showNotes(out io.Writer, v *verify.Table) {
	note := func(format string, args ...any) {
		_, _ = fmt.Fprintf(out, "%s in %s: %s\n", v.Stream, v.Sink, fmt.Sprintf(format, args...))
	}
	if v.Settled > 0 {
		note("%s differed at first, and were equal when looked at again", rows(v.Settled))
	}
	if v.Refused > 0 {
		note("%s cannot pass, and are dead letters", rows(v.Refused))
	}
	if len(v.LeftOut) > 0 {
		note("the source has no column %s now: not compared", strings.Join(v.LeftOut, ", "))
	}
	if v.Keyless && !v.Equal() {
		note("it has no key: which rows differ cannot be told")
	}
	for _, d := range v.Differ {
		note("%s %s%s", d.Kind, keyText(d.Key), columnsText(d.Columns))
	}
	if left := v.Missing + v.Extra + v.Different - int64(len(v.Differ)); left > 0 && !v.Keyless {
		note("and %s more", rows(left))
	}
}

func keyText(key map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(key)) {
		parts = append(parts, name+"="+shorten(key[name], 60))
	}
	return strings.Join(parts, " ")
}

func columnsText(columns []verify.Values) string {
	var parts []string
	for _, c := range columns {
		parts = append(parts, fmt.Sprintf("%s is %s, in the sink %s", c.Column, shorten(c.Source, 60), shorten(c.Sink, 60)))
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, "; ")
}

type syncCmd struct {
	File  string `arg:"" name:"file" help:"Configuration file."`
	Table string `arg:"" help:"Name of the table."`
	Since string `help:"Only rows that were changed since, a day or a moment, by the column of capture.column (updated_at)." placeholder:"TIME"`
	JSON  bool   `help:"Write JSON."`
}

// Help shows examples.
func (syncCmd) Help() string {
	return `Reads a table of a database again as it is now, and sends it through each pipeline that carries it. Rows that the sinks hold in a
newer version stay. What was deleted is not found so: acequia sweep does that. It needs the state directory, so no other process may run on it.
With --since only rows are read whose column of times (capture.column, updated_at) says so: what does not set it is not seen.

Examples:
  acequia sync shop.yaml orders
  acequia sync shop.yaml public.orders --json
  acequia sync shop.yaml orders --since 2026-11-24T18:30:00Z

Exit codes: 0 ok, 1 it failed, 2 usage or configuration, 3 environment, 4 some records are dead letters.`
}

// Run reads the table again.
func (c syncCmd) Run(ctx context.Context, t terminal) (err error) {
	var since time.Time
	if c.Since != "" {
		if since, err = time.Parse(time.RFC3339, c.Since); err != nil {
			since, err = time.Parse(time.DateOnly, c.Since)
		}
		if err != nil {
			return &fault.Error{Code: "ACQ-USE-062", Place: "--since", Err: err, Remedy: "write a day, 2026-11-24, or a moment, 2026-11-24T18:30:00Z"}
		}
	}
	project, err := target{File: c.File}.project(ctx, t)
	if err != nil {
		return err
	}
	service, err := project.Open(ctx, app.ServiceOptions{Log: obs.NewLogger(t.err, slog.LevelWarn), Wire: t.wire, Forms: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	synced, err := service.ReadAgain(ctx, app.Tables{Patterns: []string{c.Table}, Choose: chosen}, since)
	if err != nil {
		return err
	}
	letters := int64(0)
	for _, s := range synced {
		letters += s.DeadLetters
		if !c.JSON {
			_, _ = fmt.Fprintf(t.out, "%s of %s: %s read, %s\n", s.Stream, s.Pipeline, rows(s.Read), count(int(s.DeadLetters), "dead letter"))
		}
	}
	if c.JSON {
		err = writeJSON(t.out, synced)
	}
	if err == nil && letters > 0 {
		return toldError{exitPartial}
	}
	return err
}
