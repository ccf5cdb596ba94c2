// Package web serves the pages that show what acequia does: the query page, the status page, and for machines
// /v1/status and /metrics. Every page works without JavaScript.
package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/internal/query"
)

// Config says what the pages show.
type Config struct {
	Query   *query.Engine
	Status  func(ctx context.Context) []Pipeline // as they are now
	Metrics http.Handler                         // answers /metrics; nil: nothing does
	Letters Letters                              // the dead letters; nil: there are no pages for them
	Log     *slog.Logger
	MaxRows int // rows of a result that the page shows; 500. A CSV has as many as the engine gives
	// CountLetters counts the dead letters up to a number, for the navigation; nil: no link leads to them.
	CountLetters func(ctx context.Context, most int) (int, error)
}

// Pages answers the requests of this package.
type Pages struct {
	cfg     Config
	saved   []query.Saved
	origins *http.CrossOriginProtection
}

// New makes the pages.
func New(cfg Config) (*Pages, error) {
	saved, err := query.SavedQueries()
	if err != nil {
		return nil, fmt.Errorf("make pages: %w", err)
	}
	if cfg.MaxRows <= 0 {
		cfg.MaxRows = 500
	}
	return &Pages{cfg: cfg, saved: saved, origins: http.NewCrossOriginProtection()}, nil
}

// Mount adds the routes. Requests must come through the middleware of package page.
func (p *Pages) Mount(r chi.Router) {
	r.Get("/query", p.query)
	r.Post("/query", p.query)
	r.Get("/query.csv", p.download)
	r.Post("/query.csv", p.download)
	r.Get("/status", p.status)
	r.Get("/status/live", p.statusLive)
	r.Get("/v1/status", p.statusJSON)
	r.Get("/web/{file}", asset)
	if p.cfg.Letters != nil {
		p.mountLetters(r)
	}
	if p.cfg.Metrics != nil {
		r.Method(http.MethodGet, "/metrics", p.cfg.Metrics)
	}
}

// maxForm holds the longest statement with every byte percent-encoded.
const maxForm = 3*query.MaxSQL + 4096

// asked is what a request asks of the query page.
type asked struct {
	sql   string
	saved string
	plot  query.Plot

	foreign bool // the browser says that another site asks
}

// readAsk reads the fields of a form or of a link.
func readAsk(w http.ResponseWriter, r *http.Request) (asked, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return asked{}, fmt.Errorf("read form: %w", err)
	}
	return asked{
		sql: r.Form.Get("sql"), saved: r.Form.Get("saved"),
		plot:    query.Plot{Kind: r.Form.Get("plot"), X: r.Form.Get("x"), Y: r.Form.Get("y")},
		foreign: r.Header.Get("Sec-Fetch-Site") == "cross-site",
	}, nil
}

func (p *Pages) query(w http.ResponseWriter, r *http.Request) {
	v := p.newQueryView(r)
	ask, err := readAsk(w, r)
	if err == nil {
		err = p.answer(r.Context(), v, ask)
	}
	p.showQuery(w, r, v, err)
}

// answer runs what was asked, if anything was.
func (p *Pages) answer(ctx context.Context, v *queryView, ask asked) error {
	if ask.saved != "" {
		saved, err := query.FindSaved(ask.saved)
		if err != nil {
			return err
		}
		ask.sql = saved.SQL
		if ask.plot.Kind == "" {
			ask.plot = saved.Plot
		}
	}
	v.SQL = ask.sql
	for _, s := range p.saved {
		if s.SQL == ask.sql {
			v.Chosen = s.Name
		}
	}
	switch {
	case ask.sql == "":
		v.SQL = v.first()
		return nil
	case ask.foreign:
		return nil // a link on another site may fill in a query, but not run it
	}
	rows, err := p.cfg.Query.Query(ctx, query.Request{SQL: ask.sql, MaxRows: p.cfg.MaxRows})
	if err != nil {
		return err
	}
	if v.Result, err = readResult(rows); err != nil {
		v.Result = nil
		return err
	}
	v.draw(ask.plot)
	return nil
}

func (p *Pages) newQueryView(r *http.Request) *queryView {
	lang := page.Language(r)
	v := &queryView{Lang: lang, T: textsFor(lang), Saved: p.saved}
	tables, err := p.cfg.Query.Tables(r.Context())
	if err != nil {
		v.TablesErr = err.Error()
		p.cfg.Log.WarnContext(r.Context(), "tables cannot be read", slog.Any("error", err))
	}
	v.Tables = tables
	if len(tables) > 0 && !slices.ContainsFunc(tables, func(t query.TableInfo) bool { return t.Name == query.SavedTable }) {
		v.Saved = nil // they ask what is not here
	}
	return v
}

// showQuery writes the query page, with the error if there is one.
func (p *Pages) showQuery(w http.ResponseWriter, r *http.Request, v *queryView, err error) {
	if r.Context().Err() != nil {
		return // nobody waits for the answer
	}
	status := http.StatusOK
	if err != nil {
		v.Err, status = failureOf(v.Lang, err), statusOf(err)
		if status >= http.StatusInternalServerError {
			p.cfg.Log.ErrorContext(r.Context(), "query failed", slog.Any("error", err))
		}
	}
	frame := page.Of(r, v.T.QueryTitle)
	frame.Path = v.link()
	p.render(w, r, status, queryPage(frame, v))
}

// statusOf gives the HTTP status of a query's failure.
func statusOf(err error) int {
	switch fault.Code(err) {
	case "ACQ-QUERY-001":
		return http.StatusNotImplemented
	case "ACQ-QUERY-002", "ACQ-QUERY-003", "ACQ-QUERY-004", "ACQ-QUERY-005":
		return http.StatusUnprocessableEntity
	case "ACQ-QUERY-006":
		return http.StatusServiceUnavailable
	case "ACQ-QUERY-007":
		return http.StatusNotFound
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusInternalServerError
}

// download answers with the whole result as CSV, or with the query page when the query fails before its first row.
func (p *Pages) download(w http.ResponseWriter, r *http.Request) {
	ask, err := readAsk(w, r)
	if err == nil && ask.saved != "" {
		var saved query.Saved
		saved, err = query.FindSaved(ask.saved)
		ask.sql = saved.SQL
	}
	var rows *query.Rows
	if err == nil {
		rows, err = p.cfg.Query.Query(r.Context(), query.Request{SQL: ask.sql})
	}
	if err != nil {
		v := p.newQueryView(r)
		v.SQL = ask.sql
		p.showQuery(w, r, v, err)
		return
	}
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", `attachment; filename="acequia.csv"`)
	w.Header().Set("Cache-Control", "no-store")
	if err := query.Write(w, rows, query.CSV); err != nil && r.Context().Err() == nil {
		p.cfg.Log.ErrorContext(r.Context(), "download failed", slog.Any("error", err))
	}
}

func (p *Pages) report(ctx context.Context) Report { return report(time.Now(), p.cfg.Status(ctx)) }

func (p *Pages) status(w http.ResponseWriter, r *http.Request) {
	v := newStatusView(page.Language(r), p.report(r.Context()))
	frame := page.Of(r, v.T.StatusTitle)
	frame.Refresh = 5
	p.render(w, r, http.StatusOK, statusPage(frame, v))
}

func (p *Pages) statusLive(w http.ResponseWriter, r *http.Request) {
	v := newStatusView(page.Language(r), p.report(r.Context()))
	p.render(w, r, http.StatusOK, statusLive(v))
}

// render writes a page once all of it has been made.
func (p *Pages) render(w http.ResponseWriter, r *http.Request, status int, content templ.Component) {
	var text bytes.Buffer
	if err := content.Render(r.Context(), &text); err != nil {
		p.cfg.Log.ErrorContext(r.Context(), "page cannot be made", slog.Any("error", err))
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text.Bytes()) // a client that has gone needs no answer
}

func (p *Pages) statusJSON(w http.ResponseWriter, r *http.Request) {
	p.writeJSON(w, r, http.StatusOK, p.report(r.Context()))
}

func (p *Pages) writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		p.cfg.Log.ErrorContext(r.Context(), "answer cannot be written", slog.Any("error", err))
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a client that has gone needs no answer
}
