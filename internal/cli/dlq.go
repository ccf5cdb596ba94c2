package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/obs"
)

type dlqCmd struct {
	List    dlqListCmd    `cmd:"" help:"List the dead letters, oldest first."`
	Show    dlqShowCmd    `cmd:"" help:"Show one dead letter with its record."`
	Edit    dlqEditCmd    `cmd:"" help:"Mend the record of a dead letter."`
	Retry   dlqRetryCmd   `cmd:"" help:"Send dead letters again, through the step that refused them and what comes after."`
	Drop    dlqDropCmd    `cmd:"" help:"Forget dead letters for good."`
	Export  dlqExportCmd  `cmd:"" help:"Write the dead letters as lines of JSON."`
	Redrive dlqRedriveCmd `cmd:"" help:"Send the messages of a dead-letter queue of SQS back."`
}

// letters opens the state file, which must be there.
func (f stateFlags) letters(
	ctx context.Context, t terminal, open func(app.StatePlace, context.Context) (*checkpoint.Store, error), do func(*checkpoint.Store) error,
) (err error) {
	dir, project, err := f.subject(ctx, t)
	if err != nil {
		return err
	}
	store, err := open(statePlace(dir, project), ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return do(store)
}

const lettersExits = `
Exit codes: 0 ok, 1 it failed, 2 usage, configuration, or no such letter, 3 environment (no state, rights, disk).`

type dlqListCmd struct {
	stateFlags
	Pipeline string `help:"Only those of this pipeline." placeholder:"NAME"`
	Limit    int    `help:"At most so many; 0: all." default:"100"`
	JSON     bool   `help:"Write JSON."`
}

// Help shows examples.
func (dlqListCmd) Help() string {
	return `Examples:
  acequia dlq list
  acequia dlq list -f games.yaml --pipeline games --limit 0 --json
` + lettersExits
}

// Run lists.
func (c dlqListCmd) Run(ctx context.Context, t terminal) error {
	return c.letters(ctx, t, app.StatePlace.OpenToRead, func(s *checkpoint.Store) error {
		total, err := s.CountDeadLetters(ctx, c.Pipeline)
		if err != nil {
			return err
		}
		letters := []*checkpoint.DeadLetter{}
		if err := app.EachLetter(ctx, s, c.Pipeline, c.Limit, func(d *checkpoint.DeadLetter) error {
			letters = append(letters, d)
			return nil
		}); err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(t.out, letters)
		}
		if total == 0 {
			_, err := fmt.Fprintln(t.out, "There are no dead letters.")
			return err
		}
		w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
		_, _ = fmt.Fprintln(w, "id\tpipeline\tstream\tstep\tcolumn\tattempts\treason\trecord")
		for _, d := range letters {
			_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", d.ID, d.Pipeline, d.Stream, d.Step, d.Column, d.Attempts, shorten(d.Reason, 60), shorten(content(d), 60))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if int64(len(letters)) < total {
			_, err = fmt.Fprintf(t.out, "%d of %s; --limit 0 lists all\n", len(letters), count(int(total), "dead letter"))
		}
		return err
	})
}

// content is the record as text: its fields, or the bytes that could not be read.
func content(d *checkpoint.DeadLetter) string {
	if len(d.Row) > 0 {
		return string(d.Row)
	}
	return string(d.Raw)
}

// shorten makes a text fit a cell: one line of at most n characters, nothing that a terminal would obey.
func shorten(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s[:min(len(s), 8*n)])
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

type dlqShowCmd struct {
	stateFlags
	ID   int64 `arg:"" help:"As acequia dlq list shows it."`
	JSON bool  `help:"Write JSON."`
}

// Help shows examples.
func (dlqShowCmd) Help() string {
	return `Examples:
  acequia dlq show 17
  acequia dlq show 17 -f games.yaml --json
` + lettersExits
}

// Run shows.
func (c dlqShowCmd) Run(ctx context.Context, t terminal) error {
	return c.letters(ctx, t, app.StatePlace.OpenToRead, func(s *checkpoint.Store) error {
		d, found, err := s.DeadLetter(ctx, c.ID)
		if err != nil {
			return err
		}
		if !found {
			return noLetter(c.ID)
		}
		if c.JSON {
			return writeJSON(t.out, d)
		}
		return showLetter(t.out, &d)
	})
}

func noLetter(id int64) error {
	return &fault.Error{
		Code: "ACQ-USE-003", Place: fmt.Sprintf("dead letter %d", id), Err: errors.New("there is none of this number"),
		Remedy: "acequia dlq list shows what there is",
	}
}

func showLetter(out io.Writer, d *checkpoint.DeadLetter) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	for _, line := range [][2]string{
		{"id", strconv.FormatInt(d.ID, 10)},
		{"pipeline", d.Pipeline},
		{"lane", d.Lane},
		{"stream", d.Stream},
		{"position", fmt.Sprintf("%q, row %d", d.Position, d.Index)},
		{"step", d.Step},
		{"column", d.Column},
		{"code", d.Code},
		{"reason", d.Reason},
		{"op", d.Op},
		{"version", d.Version},
		{"attempts", attempts(d)},
		{"at", d.At.Format(time.RFC3339)},
	} {
		if line[1] != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", line[0], shorten(line[1], 500))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(d.Row) > 0 {
		return writeJSON(out, d.Row)
	}
	_, err := fmt.Fprintf(out, "%q\n", d.Raw)
	return err
}

// attempts tells how often a record was tried, and since when if that was more than once.
func attempts(d *checkpoint.DeadLetter) string {
	text := strconv.FormatInt(d.Attempts, 10)
	if d.Attempts > 1 {
		text += ", the first at " + d.First.Format(time.RFC3339)
	}
	return text
}

type dlqDropCmd struct {
	stateFlags
	IDs  []int64 `arg:"" name:"id" help:"As acequia dlq list shows them."`
	JSON bool    `help:"Write JSON."`
}

// Help shows examples.
func (dlqDropCmd) Help() string {
	return `Examples:
  acequia dlq drop 17 18
  acequia dlq drop 17 18 -f games.yaml --json
` + lettersExits
}

// Run drops.
func (c dlqDropCmd) Run(ctx context.Context, t terminal) error {
	return c.letters(ctx, t, app.StatePlace.OpenThere, func(s *checkpoint.Store) error {
		for _, id := range c.IDs {
			_, found, err := s.DeadLetter(ctx, id)
			if err != nil {
				return err
			}
			if !found {
				return noLetter(id)
			}
		}
		n, err := s.DropDeadLetters(ctx, checkpoint.LetterFilter{IDs: c.IDs})
		if err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(t.out, map[string]int64{"dropped": n})
		}
		_, err = fmt.Fprintf(t.out, "%s dropped\n", count(int(n), "dead letter"))
		return err
	})
}

type dlqExportCmd struct {
	stateFlags
	Pipeline string `help:"Only those of this pipeline." placeholder:"NAME"`
	JSON     bool   `help:"Write JSON, as without it." hidden:""`
}

// Help shows examples.
func (dlqExportCmd) Help() string {
	return `Examples:
  acequia dlq export --pipeline games > letters.ndjson
  acequia dlq export -f games.yaml | jq -r .reason
` + lettersExits
}

// Run exports.
func (c dlqExportCmd) Run(ctx context.Context, t terminal) error {
	return c.letters(ctx, t, app.StatePlace.OpenToRead, func(s *checkpoint.Store) error {
		out := json.NewEncoder(t.out)
		return app.EachLetter(ctx, s, c.Pipeline, 0, func(d *checkpoint.DeadLetter) error { return out.Encode(d) })
	})
}

type dlqEditCmd struct {
	stateFlags
	ID     int64    `arg:"" help:"As acequia dlq list shows it."`
	Set    []string `help:"A column's new value, as JSON or as text; may be repeated." placeholder:"COLUMN=VALUE"`
	Record string   `help:"The whole record as JSON." placeholder:"JSON"`
	JSON   bool     `help:"Write JSON."`
}

// Help shows examples.
func (dlqEditCmd) Help() string {
	return `What was read at first is kept beside the new record. acequia dlq retry sends it again.

Examples:
  acequia dlq edit 17 --set year=2004
  acequia dlq edit 17 --record '{"rank": 3, "name": "Madden", "year": 2004}'
  acequia dlq edit 17 -f games.yaml --set year=2004 --json
` + lettersExits
}

// Run edits.
func (c dlqEditCmd) Run(ctx context.Context, t terminal) error {
	return c.letters(ctx, t, app.StatePlace.OpenThere, func(s *checkpoint.Store) error {
		d, found, err := s.DeadLetter(ctx, c.ID)
		if err != nil {
			return err
		}
		if !found {
			return noLetter(c.ID)
		}
		row, err := c.edited(d.Row)
		if err != nil {
			return err
		}
		if _, err := s.EditDeadLetter(ctx, c.ID, row); err != nil {
			return err
		}
		if c.JSON {
			return writeJSON(t.out, map[string]any{"id": c.ID, "before": content(&d), "after": row})
		}
		_, err = fmt.Fprintf(t.out, "- %s\n+ %s\n", shorten(content(&d), 2000), shorten(string(row), 2000))
		return err
	})
}

// edited gives the new record. Its values are checked when it is sent again.
func (c dlqEditCmd) edited(row json.RawMessage) (json.RawMessage, error) {
	wrong := func(format string, args ...any) error {
		return &fault.Error{Code: "ACQ-USE-006", Place: fmt.Sprintf("dead letter %d", c.ID), Err: fmt.Errorf(format, args...), Remedy: "acequia dlq edit --help shows examples"}
	}
	if c.Record != "" {
		row = json.RawMessage(c.Record)
	}
	if (c.Record == "") == (len(c.Set) == 0) {
		return nil, wrong("give --set or --record")
	}
	if len(row) == 0 {
		return nil, wrong("no record could be made of what was read: give a whole one with --record")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(row, &members); err != nil {
		return nil, wrong("the record is not a JSON object: %w", err)
	}
	for _, text := range c.Set {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, wrong("%q is not COLUMN=VALUE", text)
		}
		encoded := []byte(value)
		if !json.Valid(encoded) {
			encoded, _ = json.Marshal(value)
		}
		members[name] = encoded
	}
	return json.Marshal(members)
}

type dlqRetryCmd struct {
	File     string  `short:"f" help:"Configuration file of the pipeline." type:"path" default:"acequia.yaml" placeholder:"FILE"`
	Dir      string  `help:"State directory of a running process, instead of a file." type:"path" placeholder:"DIR"`
	Pipeline string  `arg:"" help:"Name of the pipeline."`
	IDs      []int64 `arg:"" optional:"" name:"id" help:"As acequia dlq list shows them; none: all of the pipeline."`
	JSON     bool    `help:"Write JSON."`
}

// Help shows examples.
func (dlqRetryCmd) Help() string {
	return `A record that passes reaches each sink once, with the version that it had, and is a dead letter no longer. One that is
refused again stays a dead letter, with one attempt more. A running process that has a web server is asked to do it, as its
page /deadletters would; one that has none must be stopped first.

Examples:
  acequia dlq retry games -f games.yaml
  acequia dlq retry games 17 18 -f games.yaml
  acequia dlq retry videogames-lake --dir ./games

Exit codes: 0 all passed, 1 it failed, 2 usage or configuration, 3 environment, 4 some were refused again.`
}

// Run sends them again.
func (c dlqRetryCmd) Run(ctx context.Context, t terminal) error {
	result, err := c.retry(ctx, t)
	if err != nil {
		return err
	}
	if c.JSON {
		err = writeJSON(t.out, result)
	} else {
		_, err = fmt.Fprintf(t.out, "%d passed, %d refused again\n", result.Passed, result.Refused)
	}
	if err == nil && result.Refused > 0 {
		return toldError{exitPartial}
	}
	return err
}

// retry sends them again here, or where the state is held by a running process, there.
func (c dlqRetryCmd) retry(ctx context.Context, t terminal) (result app.Retried, err error) {
	if c.Dir != "" {
		return c.retryRunning(ctx, c.Dir)
	}
	project, problems, err := t.load(ctx, []string{c.File})
	if err != nil {
		return result, err
	}
	if problems.Errors() {
		tell(t.err, problems)
		return result, toldError{exitUsage}
	}
	service, err := project.Open(ctx, app.ServiceOptions{Log: obs.NewLogger(t.err, slog.LevelWarn), Wire: t.wire, Forms: true})
	if fault.Code(err) == "ACQ-ENV-002" { // held
		if _, none := app.ReadAddress(project.State); none == nil {
			return c.retryRunning(ctx, project.State)
		}
		return result, &fault.Error{
			Code: "ACQ-ENV-002", Place: project.State, Err: errors.New("another acequia process runs on this state, and has no web server that could be asked"),
			Remedy: "stop it first; what acequia serve runs can be asked while it runs",
		}
	}
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	return service.Retry(ctx, c.Pipeline, c.IDs...)
}
