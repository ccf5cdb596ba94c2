package cli

import (
	"context"
	"log/slog"
	"os"

	"github.com/acequia-io/acequia/internal/app"
	"github.com/acequia-io/acequia/internal/obs"
)

type demoCmd struct {
	Port   int    `help:"Port on this machine; 0 takes a free one." default:"3006"`
	Dir    string `help:"Keep the state here and go on with it next time; without it nothing stays." type:"path" placeholder:"DIR"`
	Lang   string `help:"Language of what is printed: ${enum}." enum:"es,en" default:"en" env:"ACEQUIA_LANG"`
	Sample int    `help:"Register N made-up games first." placeholder:"N"`
	JSON   bool   `help:"Print the addresses as one line of JSON."`
}

// Help shows examples.
func (demoCmd) Help() string {
	return `The form is at /forms/videogames, SQL at /query, the pipelines at /status. Ctrl-C stops it cleanly.

Examples:
  acequia demo
  acequia demo --dir ./games --port 3007 --sample 1000 --lang es

Exit codes: 0 ok, 1 it failed, 2 usage, 3 environment (port, rights, disk, another process holds the directory).`
}

// Run runs the demo until the context ends.
func (c demoCmd) Run(ctx context.Context, t terminal) error {
	return app.Demo(ctx, app.DemoOptions{
		Port: c.Port, Dir: c.Dir, Lang: c.Lang, Sample: max(0, c.Sample), JSON: c.JSON, Version: version(), Program: os.Args[0],
		Out: t.out, Log: obs.NewLogger(t.err, slog.LevelInfo), Wire: t.wire,
	})
}
