package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/config"
	"github.com/acequia-io/acequia/routers"
)

// DemoOptions say how the demo runs.
type DemoOptions struct {
	Port    int    // on loopback; 0: a free one
	Dir     string // "": a temporary one
	Lang    string // of what is printed, "es" or "en"
	Sample  int    // made-up games to register first
	JSON    bool   // print the addresses as one line of JSON
	Version string
	Program string // how the user called this program: what to try next is printed so that it can be pasted
	Out     io.Writer
	Log     *slog.Logger
	// Wire may put something between the parts of a pipeline before it is made: crash tests watch there, die, or take a
	// protection out. Nil otherwise.
	Wire func(p *routers.Pipeline, o *routers.Options)
}

// memory is the target for the process, in bytes, when a file names none.
const memory = 256 << 20

// demoFile is the register as a configuration file: what acequia init form writes.
const demoFile = "templates/form.yaml"

// Demo runs the video-game register until ctx ends: what acequia serve does with the file that acequia init form writes,
// with made-up games and a welcome.
func Demo(ctx context.Context, o DemoOptions) (err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "acequia-"); err != nil {
			return dirError(os.TempDir(), err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	project, err := demoProject(ctx, o.Dir)
	if err != nil {
		return err
	}
	d := &demo{o}
	l := &Live{LiveOptions: LiveOptions{Service: ServiceOptions{Log: o.Log, Wire: d.wire}}, project: project}
	return Serve(ctx, l, ServeOptions{Port: o.Port, Version: o.Version, Log: o.Log, Ready: d.welcome})
}

// demoProject is the register with its state and its lake in a folder.
func demoProject(ctx context.Context, dir string) (*Project, error) {
	text, err := templates.ReadFile(demoFile)
	if err != nil {
		return nil, fmt.Errorf("read register: %w", err)
	}
	file, problems := config.Parse(filepath.Join(dir, "acequia.yaml"), text, nil)
	project, problems := newProject(ctx, catalog.Default(), []*config.File{file}, problems)
	if problems.Errors() {
		return nil, fmt.Errorf("read register: %w", problems)
	}
	project.State = dir
	return project, nil
}

// demo is the running register.
type demo struct{ DemoOptions }

// wire lets what nobody follows become visible sooner than a second.
func (d *demo) wire(p *routers.Pipeline, o *routers.Options) {
	p.Slots = 1
	if p.Limits.Age > 0 {
		p.Limits.Idle = 300 * time.Millisecond
	}
	if d.Wire != nil {
		d.Wire(p, o)
	}
}

// welcome registers the made-up games and prints what to try.
func (d *demo) welcome(ctx context.Context, at Served) error {
	if d.Sample > 0 {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: sampleClients}}
		defer client.CloseIdleConnections()
		err := addSample(ctx, client, at.URL+"/forms/videogames", d.Sample)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if d.JSON {
		return json.NewEncoder(d.Out).Encode(map[string]string{
			"form": at.URL + "/forms/videogames", "query": at.URL + "/query", "status": at.URL + "/status", "dir": at.State,
		})
	}
	text := welcomeEN
	if d.Lang == "es" {
		text = welcomeES
	}
	_, err := fmt.Fprintf(d.Out, text, at.URL, at.State, d.Program)
	return err
}

const welcomeEN = `
acequia is running: each game that you register becomes an item, and a row that SQL can see.

  Form     %[1]s/forms/videogames
  SQL      %[1]s/query
  Status   %[1]s/status

Next, in another terminal:
  curl -H 'Content-Type: application/json' -d '{"title":"Tetris","developer":"N/A","genre":"Puzzle","year":1984,"competitive":true}' %[1]s/forms/videogames
  %[3]s query --dir %[2]s 'select title, genre, year, decade from videogames_latest'
  %[3]s status --dir %[2]s

Ctrl-C stops it.
`

const welcomeES = `
acequia está en marcha: cada juego que registres será un item y una fila que SQL puede ver.

  Formulario  %[1]s/forms/videogames
  SQL         %[1]s/query
  Estado      %[1]s/status

Ahora, en otra terminal:
  curl -H 'Content-Type: application/json' -d '{"title":"Tetris","developer":"N/A","genre":"Puzzle","year":1984,"competitive":true}' %[1]s/forms/videogames
  %[3]s query --dir %[2]s 'select title, genre, year, decade from videogames_latest'
  %[3]s status --dir %[2]s

Ctrl-C lo detiene.
`
