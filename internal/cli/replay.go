package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/obs"
)

type replayCmd struct {
	File            string        `short:"f" help:"Configuration file of the pipeline." type:"path" default:"acequia.yaml" placeholder:"FILE"`
	Pipeline        string        `arg:"" help:"Name of the pipeline."`
	FromLake        string        `help:"The lake to read in the place of the pipeline's source: a folder, or file:///dir." placeholder:"URI"`
	FromDeadLetters bool          `help:"Send all dead letters of the pipeline again, in the place of a lake."`
	Table           []string      `help:"Tables of the lake, or patterns; default: those of the pipeline's streams." placeholder:"NAME"`
	Where           string        `help:"Only the records for which this CEL expression is true; deletes always pass." placeholder:"CEL"`
	From            string        `help:"Only records of this time or later: 2026-11-24, or 2026-11-24T10:00:00Z." placeholder:"TIME"`
	To              string        `help:"Only records before this time." placeholder:"TIME"`
	Diff            bool          `help:"Change nothing: say what the pipeline's lakes would hold, and what they hold now."`
	Apply           bool          `help:"With --diff: replace the partitions that differ, each table in one step."`
	Grace           time.Duration `help:"With --apply: how long replaced files stay, for queries that began before." default:"1h"`
	JSON            bool          `help:"Write progress and result as lines of JSON."`
}

// Help shows examples.
func (replayCmd) Help() string {
	return `The records pass all steps of the pipeline and reach all of its sinks, as if its source had given them. They keep their
versions, so that a replay never puts an old row above a newer one. The lake holds what the source gave: a pipeline without steps
keeps it. What is read is fixed when the replay begins; one that was cut off goes on where it was when it is asked for in the same
words, and one that has ended is done once more. The pipeline may not run meanwhile.

Where a lake sink is fed its own table, the raw table has those rows twice; the view TABLE_latest stays right.

--diff replays into a scratch folder and compares the newest rows of each key with those of the pipeline's lakes; nothing else is
written to. --apply then replaces the partitions that differ, for who reads the table in one step. It refuses where a row would be
lost: where the lake holds a newer version than the replay has come to, or a record is a dead letter.

Examples:
  acequia replay games -f games.yaml --from-lake raw
  acequia replay games --from-lake file:///data/raw --from 2026-11-01 --to 2026-12-01 --where 'row.country == "ES"'
  acequia replay games --from-lake raw --diff
  acequia replay games --from-lake raw --diff --apply
  acequia replay games --from-dead-letters --json

Exit codes: 0 ok, 1 it failed or was interrupted, 2 usage or configuration, 3 environment, 4 some records are dead letters.`
}

// Run replays.
func (c replayCmd) Run(ctx context.Context, t terminal) (err error) {
	if err := c.usage(); err != nil {
		return err
	}
	project, problems, err := t.load(ctx, []string{c.File})
	if err != nil {
		return err
	}
	if problems.Errors() {
		tell(t.err, problems)
		return toldError{exitUsage}
	}
	t.err = onScreen(t.err)
	log := obs.NewLogger(t.err, slog.LevelWarn)
	service, err := project.Open(ctx, app.ServiceOptions{Log: log, Wire: t.wire, Forms: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, service.Close(context.WithoutCancel(ctx))) }()
	if c.Diff {
		return c.diff(ctx, t, service)
	}
	if c.FromDeadLetters {
		return c.letters(ctx, t, service)
	}
	return c.lake(ctx, t, log, service)
}

// usage says what does not go together.
func (c replayCmd) usage() error {
	wrong := func(place, reason, remedy string) error {
		return &fault.Error{Code: "ACQ-USE-009", Place: place, Err: errors.New(reason), Remedy: remedy}
	}
	switch {
	case c.FromDeadLetters == (c.FromLake != ""):
		return wrong("acequia replay", "what is to be read?", "give --from-lake or --from-dead-letters")
	case c.Diff && (c.FromDeadLetters || c.Where+c.From+c.To != ""):
		return wrong("--diff", "a part cannot be compared with the whole", "leave --where, --from, --to and --from-dead-letters out")
	case c.Apply && !c.Diff:
		return wrong("--apply", "it replaces what --diff has found", "give --diff as well")
	case c.FromDeadLetters && (len(c.Table) > 0 || c.Where+c.From+c.To != ""):
		return wrong("--from-dead-letters", "it sends all of them", "acequia dlq retry sends chosen ones")
	}
	return nil
}

func (c replayCmd) options() app.ReplayOptions {
	return app.ReplayOptions{Pipeline: c.Pipeline, Lake: c.FromLake, Tables: c.Table, Where: c.Where, From: c.From, To: c.To}
}

// letters sends the dead letters again.
func (c replayCmd) letters(ctx context.Context, t terminal, service *app.Service) error {
	result, err := service.Retry(ctx, c.Pipeline)
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

// lake sends what a lake holds.
func (c replayCmd) lake(ctx context.Context, t terminal, log *slog.Logger, service *app.Service) error {
	replay, err := service.Replay(ctx, c.options())
	if err != nil {
		return err
	}
	if len(replay.Doubled) > 0 {
		_, _ = fmt.Fprintf(t.err, "Note: %s is read and written: its raw rows will be there twice; the view of the latest rows stays right.\n", strings.Join(replay.Doubled, ", "))
	}
	watching, done := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		(&progress{t: t, log: log, json: c.JSON, status: replay.Status, began: time.Now()}).follow(watching)
	})
	result, err := replay.Run(ctx)
	done()
	telling.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		_, _ = fmt.Fprintf(t.err, "Interrupted after %s rows; the same command goes on from there.\n", thousands(result.Read))
		return toldError{exitFailed}
	}
	if err != nil {
		return err
	}
	if err := c.result(t, result); err != nil {
		return err
	}
	if result.DeadLetters > 0 {
		return toldError{exitPartial}
	}
	return nil
}

// replayEvent is the last line of --json.
type replayEvent struct {
	Event string `json:"event"`
	app.Replayed
}

func (c replayCmd) result(t terminal, r app.Replayed) error {
	if c.JSON {
		return json.NewEncoder(t.out).Encode(replayEvent{"end", r})
	}
	went := ""
	if r.Resumed {
		went = fmt.Sprintf(", of %s in all since it was begun", thousands(r.Total))
	}
	_, err := fmt.Fprintf(t.out, "%s replayed from %s: %s read%s, %s done, %s\n", r.Pipeline, count(r.Files, "file"), rows(r.Read), went,
		rows(r.Done), count(int(r.DeadLetters), "dead letter"))
	return err
}

// rows counts them for people.
func rows(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return thousands(n) + " rows"
}
