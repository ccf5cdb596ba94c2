package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/config"
)

// live reads the files of a command that runs them, and prints what is wrong with them.
func (f files) live(ctx context.Context, t terminal, o app.LiveOptions) (*app.Live, error) {
	var err error
	if o.Paths, err = f.named(t); err != nil {
		return nil, err
	}
	v, err := t.variables()
	if err != nil {
		return nil, err
	}
	o.Plugins, o.Lookup = t.plugins, v.Lookup
	live, problems, err := app.LoadLive(ctx, o)
	if err != nil {
		return nil, err
	}
	tell(t.err, problems.In(t.lang))
	if problems.Errors() {
		return nil, toldError{exitUsage}
	}
	return live, nil
}

// reloads tells what became of changes of the files that run.
type reloads struct {
	terminal
	json bool
	lang string
}

// reloadEvent is a line of --json.
type reloadEvent struct {
	Event     string          `json:"event"` // reloaded, or refused
	Pipelines []string        `json:"pipelines,omitempty"`
	Problems  config.Problems `json:"problems,omitempty"`
	Error     string          `json:"error,omitempty"`
}

func (t reloads) tell(r app.Reload) {
	if t.json {
		e := reloadEvent{Event: "reloaded", Pipelines: r.Pipelines, Problems: r.Problems}
		if r.Refused() {
			e.Event = "refused"
		}
		if r.Err != nil {
			e.Error = r.Err.Error()
		}
		_ = json.NewEncoder(t.out).Encode(e)
		return
	}
	tell(t.err, r.Problems.In(t.lang))
	report(t.err, r.Err)
	refused, taken := "✗ the change is not taken up: what ran before goes on", "✓ the change is taken up: "
	if t.lang == "es" {
		refused, taken = "✗ el cambio no se adopta: sigue en marcha lo de antes", "✓ el cambio se adopta: "
	}
	if r.Refused() {
		_, _ = fmt.Fprintln(t.err, refused)
		return
	}
	_, _ = fmt.Fprintln(t.err, taken+strings.Join(r.Pipelines, ", "))
}
