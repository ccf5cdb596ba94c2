package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/checkpoint"
	"github.com/acequia-io/acequia/internal/itemstore"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/routers"
	"github.com/acequia-io/acequia/schemas/videogames"
	"github.com/acequia-io/acequia/sources/form"
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

// stopTime bounds the orderly stop of the HTTP server; the pipelines have their own.
const stopTime = 10 * time.Second

// demo is the running register.
type demo struct {
	DemoOptions
	dir    *Dir
	state  *checkpoint.Store
	items  *itemstore.Store
	form   *form.Source
	engine *query.Engine
	runs   []*routers.Run
	server *http.Server
	url    string
}

// Demo runs the video-game register until ctx ends, then stops in order: HTTP first, then the pipelines, which commit
// what they have taken, then the files.
func Demo(ctx context.Context, o DemoOptions) (err error) {
	debug.SetMemoryLimit(memory * 85 / 100)
	debug.SetGCPercent(400) // the live heap is small, and the limit stands above it
	d := &demo{DemoOptions: o}
	if d.dir, err = OpenDir(o.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.dir.Close()) }()
	if d.state, err = checkpoint.Open(ctx, d.dir.file("state.db")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.state.Close()) }()
	if d.items, err = itemstore.Open(ctx, d.dir.file("items.db"), itemstore.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.items.Close()) }()
	if d.engine, err = query.New(query.Config{Lake: d.dir.Lake(), Scratch: ""}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.engine.Close()) }()
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
	if err != nil {
		return &fault.Error{
			Code: "ACQ-ENV-003", Place: "port " + strconv.Itoa(o.Port), Err: err, Remedy: "stop what listens there, or give another --port",
		}
	}
	if err := d.build(ctx); err != nil {
		return errors.Join(err, listener.Close())
	}
	return d.serve(ctx, listener)
}

// build makes the form, the pipelines and the server.
func (d *demo) build(ctx context.Context) error {
	table, err := videogames.Table()
	if err != nil {
		return err
	}
	register, err := newRegister(table)
	if err != nil {
		return err
	}
	if d.form, err = form.New(form.Config{Table: table}, d.items, d.Log); err != nil {
		return err
	}
	parts := pipelineParts{state: d.state, items: d.items, log: d.Log, wire: d.Wire}
	if d.runs, err = register.pipelines(ctx, d.dir, d.form, parts); err != nil {
		return err
	}
	handler, err := d.handler()
	if err != nil {
		return err
	}
	d.server = &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(d.Log.Handler(), slog.LevelDebug),
	}
	return nil
}

// serve starts everything, prints what to try, and stops it when ctx ends or a part fails.
func (d *demo) serve(ctx context.Context, listener net.Listener) error {
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	d.url = "http://localhost:" + port
	if err := d.dir.announce(d.url); err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	background := context.WithoutCancel(ctx)
	var pipelines, web sync.WaitGroup
	errs := make([]error, len(d.runs))
	for i, run := range d.runs {
		pipelines.Go(func() { errs[i] = run.Run(background) })
	}
	var serveErr error
	web.Go(func() {
		if err := d.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			serveErr = fmt.Errorf("serve: %w", err)
			cancel(serveErr)
		}
	})
	sampleErr := d.welcome(ctx)
	if sampleErr == nil {
		<-ctx.Done()
	}
	stopping, done := context.WithTimeout(background, stopTime)
	defer done()
	stopErr := d.server.Shutdown(stopping)
	web.Wait()
	for _, run := range d.runs {
		run.Stop()
	}
	pipelines.Wait()
	return errors.Join(errors.Join(errs...), serveErr, stopErr, sampleErr)
}

// welcome registers the made-up games and prints what to try.
func (d *demo) welcome(ctx context.Context) error {
	if d.Sample > 0 {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: sampleClients}}
		defer client.CloseIdleConnections()
		err := addSample(ctx, client, d.url+"/forms/videogames", d.Sample)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if d.JSON {
		return json.NewEncoder(d.Out).Encode(map[string]string{
			"form": d.url + "/forms/videogames", "query": d.url + "/query", "status": d.url + "/status", "dir": d.dir.Path,
		})
	}
	text := welcomeEN
	if d.Lang == "es" {
		text = welcomeES
	}
	_, err := fmt.Fprintf(d.Out, text, d.url, d.dir.Path, d.Program)
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
