package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/acequia-io/acequia/internal/app"
)

type serveCmd struct {
	files
	Port   int    `help:"Port; 0 takes a free one." default:"3006"`
	Listen string `help:"Address to listen on; by default only this machine reaches it." default:"127.0.0.1" placeholder:"ADDR"`
	Lang   string `help:"Language of what is printed: ${enum}." enum:"es,en" default:"en" env:"ACEQUIA_LANG"`
	Watch  bool   `help:"Take up changes of the files."`
	JSON   bool   `help:"Write what happens as lines of JSON."`
}

// Help shows examples.
func (serveCmd) Help() string {
	return `Runs the pipelines of the files as acequia run does, with a web server before them: forms at /forms/<table>, SQL over the
lakes at /query, the pipelines at /status, and /v1/status, /livez, /readyz and /metrics for machines. Ctrl-C stops it cleanly:
what was accepted is finished. Jobs are asked for at /migrate, /backup and /sync/TABLE, and those under schedule: begin at their times; /docs shows the API. This machine needs no token; where
--listen lets others in, they need one (api.tokens of the file) for all but forms. Where several lakes have a table of one name, /query
shows that of the first.

Without a file the environment alone says what there is (acequia --mode api): nothing is read until it is asked for, and no job begins by
itself.

With --watch a file that changes and has no mistakes takes the place of what runs; requests wait for that moment. One with
mistakes is told, and nothing changes.

Examples:
  acequia serve videogames.yaml
  acequia serve pipelines/ --port 8080 --watch --lang es

Exit codes: 0 ok, 1 a pipeline failed, 2 the configuration has mistakes, 3 environment.`
}

// Run serves until the context ends.
func (c serveCmd) Run(ctx context.Context, t terminal) error {
	_, err := os.Stat(usualFile)
	return c.serve(ctx, t, len(c.Paths) == 0 && errors.Is(err, fs.ErrNotExist)) // what the environment alone implies waits to be asked
}

// serve serves; asked has databases read only when a job asks for it.
func (c serveCmd) serve(ctx context.Context, t terminal, asked bool) (err error) {
	t.lang = c.Lang
	log, closed, err := t.log()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closed()) }()
	live, err := c.live(ctx, t, app.LiveOptions{
		Service: app.ServiceOptions{Log: log, Wire: t.wire, Probe: t.probe, Asked: asked}, Watch: c.Watch, Told: reloads{t, c.JSON, c.Lang}.tell,
	})
	if err != nil {
		return err
	}
	if asked {
		_, _ = fmt.Fprintln(t.err, c.say("Las bases de datos se leen cuando se pide: POST /migrate, /sync/TABLA, /backup. Para el horario: acequia --mode scheduler, o acequia serve FICHERO.",
			"Databases are read when it is asked for: POST /migrate, /sync/TABLE, /backup. For the schedule: acequia --mode scheduler, or acequia serve FILE."))
	}
	began := time.Now()
	err = app.Serve(ctx, live, app.ServeOptions{
		Listen: c.Listen, Port: c.Port, Version: version(), Log: log,
		Ready: func(_ context.Context, at app.Served) error { return c.welcome(t, at) },
	})
	if c.JSON {
		for _, s := range live.Status() {
			err = errors.Join(err, json.NewEncoder(t.out).Encode(event{Event: "end", Seconds: time.Since(began).Seconds(), Status: s}))
		}
	}
	return err
}

// say chooses between the languages.
func (c serveCmd) say(es, en string) string {
	if c.Lang == "es" {
		return es
	}
	return en
}

// servedEvent is the first line of --json.
type servedEvent struct {
	Event  string   `json:"event"` // serving
	URL    string   `json:"url"`
	Forms  []string `json:"forms"`
	Query  string   `json:"query"`
	Status string   `json:"status"`
	State  string   `json:"state"`
}

// welcome prints where everything is.
func (c serveCmd) welcome(t terminal, at app.Served) error {
	forms := make([]string, len(at.Forms))
	for i, path := range at.Forms {
		forms[i] = at.URL + path
	}
	if c.JSON {
		return json.NewEncoder(t.out).Encode(servedEvent{
			Event: "serving", URL: at.URL, Forms: forms, Query: at.URL + "/query", Status: at.URL + "/status", State: at.State,
		})
	}
	say := c.say
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n\n", say("acequia está en marcha.", "acequia is running."))
	for _, form := range forms {
		fmt.Fprintf(&b, "  %-11s %s\n", say("Formulario", "Form"), form)
	}
	fmt.Fprintf(&b, "  %-11s %s/query\n  %-11s %s/status\n  %-11s %s/docs\n\n", "SQL", at.URL, say("Estado", "Status"), at.URL, "API", at.URL)
	if c.Watch {
		fmt.Fprintln(&b, say("Si un archivo cambia y no tiene errores, el cambio se adopta.", "A file that changes and has no mistakes is taken up."))
	}
	fmt.Fprintln(&b, say("Ctrl-C lo detiene.", "Ctrl-C stops it."))
	_, err := fmt.Fprint(t.out, b.String())
	return err
}
