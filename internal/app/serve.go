package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/query"
)

// ServeOptions say where a project is served.
type ServeOptions struct {
	Listen  string // address of this machine; "": 127.0.0.1, which only this machine reaches
	Port    int    // 0: a free one
	Version string
	Log     *slog.Logger
	// Ready is called once, when everything answers. Its error stops what was started.
	Ready func(ctx context.Context, at Served) error
}

// Served is where a project answers.
type Served struct {
	URL   string
	Forms []string // their paths
	State string   // folder of the state
}

// stopTime bounds the orderly stop of the HTTP server; the pipelines have their own.
const stopTime = 10 * time.Second

// Serve runs the pipelines of a project with a web server before them, until ctx ends or the server fails. It stops in
// order: HTTP first, then the pipelines, which commit what they have taken, then the files.
func Serve(ctx context.Context, l *Live, o ServeOptions) error {
	debug.SetGCPercent(400) // the live heap is small, and the limit stands above it
	o.Listen = cmp.Or(o.Listen, "127.0.0.1")
	listener, err := listenOn(ctx, o.Listen, o.Port)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	w := &webFront{ServeOptions: o, gate: newGate(), url: urlOf(o.Listen, port)}
	w.server = &http.Server{
		Handler: w, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 60 * time.Second,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	var serveErr error
	serving.Go(func() {
		if err := w.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			serveErr = fmt.Errorf("serve: %w", err)
			cancel()
		}
	})
	l.Service.Forms, l.Service.Jobs, l.front = true, true, w
	err = l.Run(ctx)
	closeErr := w.server.Close() // of a server that was not shut down, because no pipeline began
	serving.Wait()
	return errors.Join(err, serveErr, closeErr)
}

func listenOn(ctx context.Context, address string, port int) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(address, strconv.Itoa(port)))
	if err != nil {
		return nil, &fault.Error{
			Code: "ACQ-ENV-003", Place: "port " + strconv.Itoa(port), Err: err, Remedy: "stop what listens there, or give another --port",
		}
	}
	return listener, nil
}

// urlOf names the address that people open.
func urlOf(listen, port string) string {
	if ip := net.ParseIP(listen); ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		listen = "localhost"
	}
	return "http://" + net.JoinHostPort(listen, port)
}

// webFront is the web server before the pipelines. It goes on while they are changed.
type webFront struct {
	ServeOptions
	gate   *gate
	server *http.Server
	url    string
	engine *query.Engine
	now    *Service
	ready  atomic.Bool // everything has answered once
}

// ServeHTTP answers that the process lives also while the pipelines are changed; the rest waits.
func (w *webFront) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/livez" && w.ready.Load() {
		api.Livez(out, r)
		return
	}
	w.gate.ServeHTTP(out, r)
}

func (w *webFront) began(ctx context.Context, s *Service) (err error) {
	var site http.Handler
	w.now = s
	if site, w.engine, err = s.site(w.Version); err != nil {
		return err
	}
	switch err := s.dir.announce(w.url); {
	case err != nil && !w.ready.Load():
		return err
	case err != nil: // what serves already goes on; only acequia status does not find it
		w.Log.WarnContext(ctx, "address is not written down", slog.String("error", err.Error()))
	}
	w.gate.open(site)
	if w.ready.Swap(true) || w.Ready == nil {
		return nil
	}
	at := Served{URL: w.url, State: s.dir.Path}
	for _, form := range s.served {
		at.Forms = append(at.Forms, form.Path())
	}
	return w.Ready(ctx, at)
}

// ending lets the requests end that are under way. Later ones wait, or find nobody when the program ends.
func (w *webFront) ending(ctx context.Context) {
	stopping, done := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer done()
	if err := w.now.endJobs(); err != nil { // who waits for one is answered
		w.Log.WarnContext(ctx, "jobs did not end well", slog.String("error", err.Error()))
	}
	if ctx.Err() != nil {
		if err := w.server.Shutdown(stopping); err != nil {
			w.Log.WarnContext(ctx, "requests were cut off", slog.String("error", err.Error()))
		}
	} else {
		w.gate.shut(stopping)
	}
	if w.engine != nil {
		if err := w.engine.Close(); err != nil {
			w.Log.WarnContext(ctx, "query engine did not close well", slog.String("error", err.Error()))
		}
	}
}
