//go:build cgo

package web

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/internal/query"
	"github.com/acequia-io/acequia/sources"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const games = `SELECT * FROM (VALUES ('Pong', 'Atari', 'Sports', 1972, true, TIMESTAMP '2026-11-24 10:00:00'),
	('Zelda', 'Nintendo', 'Adventure', 1986, false, TIMESTAMP '2026-11-24 10:00:01'),
	('<script>alert(1)</script>', '"><img src=x onerror=alert(2)>', 'Sports', 1986, NULL, TIMESTAMP '2026-11-24 10:00:02'))
	t(title, developer, genre, year, competitive, _event_ts)`

type site struct {
	*httptest.Server
	pipelines []Pipeline
}

func newSite(t *testing.T, catalog query.Catalog, more ...func(*Config)) *site {
	t.Helper()
	if catalog == nil {
		catalog = func(context.Context, string) ([]query.LakeTable, error) {
			return []query.LakeTable{{
				Name: "videogames", Partition: []string{"dt"},
				Columns: []query.Column{{Name: "title", Type: "VARCHAR"}, {Name: "year", Type: "INTEGER", Kind: query.Number}},
				Views:   []query.View{{Name: "videogames", SQL: games}, {Name: "videogames_latest", SQL: games}},
			}}, nil
		}
	}
	engine, err := query.New(query.Config{Lake: t.TempDir(), Catalog: catalog})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	config := Config{
		Query: engine, Log: slog.New(slog.DiscardHandler), MaxRows: 50,
		Status:  func(context.Context) []Pipeline { return s.pipelines },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "acequia_up 1\n") }),
	}
	for _, change := range more {
		change(&config)
	}
	pages, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	r := chi.NewRouter()
	r.Use(page.Frame)
	pages.Mount(r)
	s.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		s.Close()
		s.Client().CloseIdleConnections()
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *site) do(t *testing.T, method, path, lang string, form url.Values) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Language", lang)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(text)
}

func (s *site) get(t *testing.T, path, lang string) (*http.Response, string) {
	t.Helper()
	return s.do(t, http.MethodGet, path, lang, nil)
}

var (
	changing = regexp.MustCompile(`(&lt; )?\d+([.,]\d+)? (ms|s)\b|\d\d:\d\d:\d\d UTC|v=[0-9a-f]{12}`)
	mainPart = regexp.MustCompile(`(?s)<main.*</main>`)
)

// golden compares the content of a page, without its frame and what changes by the clock.
func golden(t *testing.T, name, got string) {
	t.Helper()
	got = changing.ReplaceAllString(mainPart.FindString(got), "…")
	got = strings.ReplaceAll(got, "><", ">\n<") + "\n"
	path := filepath.Join("testdata", name+".golden.html")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func TestPagesInBothLanguages(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	lag, rows, loss := 1500*time.Millisecond, int64(12000), 5*time.Hour+18*time.Minute
	s.pipelines = []Pipeline{
		{Name: "games-form", State: Running, Unrouted: 12345, Rows: 1234567, RowsPerSecond: 5123.4, Lag: &lag, LagRows: &rows},
		{Name: "games-lake", State: Failed, Reason: "no <space> left", DeadLetters: 2, LastFile: "a.parquet", LastCommit: time.Now()},
		{
			Name: "shop", State: Failed, Rows: 5, Loss: &loss, Lanes: []Lane{
				{ID: "copy-1", State: Ended, Rows: 10},
				{ID: "copy-2", State: Waiting},
				{ID: "log", State: Running, Lag: &lag, LagRows: &rows, Rows: 1234},
				{ID: "poll <x>", State: Failed, Reason: "permission <denied>"},
			},
			Source: &sources.Report{Held: 3 << 30, Loss: loss, Warnings: []string{"max_slot_wal_keep_size is -1"}, Streams: []sources.StreamReport{
				{Stream: "public.orders", Strategy: "log"},
				{Stream: "public.lines", Strategy: "xmin", Risks: []string{"deletes are not seen", "each poll reads the table"}, Anew: "the slot was lost", Held: 9 << 20, Loss: 2 * loss, Unfit: map[string]int64{"at__raw": 1200}},
				{Stream: "public.bad", Stopped: "its key has changed"},
			}},
		},
	}
	for name, path := range map[string]string{
		"query": "/query", "bars": "/query?saved=games-by-genre", "line": "/query?saved=games-by-year",
		"error": "/query?sql=" + url.QueryEscape("SELECT title,\n  nope FROM videogames"), "status": "/status",
		"table": "/query?sql=" + url.QueryEscape("SELECT title, competitive FROM videogames ORDER BY _event_ts"),
	} {
		for _, lang := range []string{"es", "en"} {
			answer, text := s.get(t, path, lang)
			if !strings.Contains(text, `<html lang="`+lang+`"`) || answer.Header.Get("Content-Security-Policy") == "" {
				t.Errorf("%s in %s: no frame", name, lang)
			}
			golden(t, name+"."+lang, text)
		}
	}
}

// inline finds what the content security policy would refuse, in markup without its attributes' values.
var (
	inline = regexp.MustCompile(`(?i)<script(?:>| [^>]*>[^<])|<style| style=|<[^>]* on[a-z]+=|<img`)
	quoted = regexp.MustCompile(`"[^"]*"`)
)

func TestDataAndStatementsCannotBecomeMarkup(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	const evil = `</textarea></title><script>alert(1)</script><img src=x onerror=alert(1)>`
	s.pipelines = []Pipeline{{Name: evil, State: Failed, Reason: evil, LastFile: evil}}
	for _, path := range []string{
		"/query?sql=" + url.QueryEscape("SELECT * FROM videogames"),
		"/query?plot=bar&x=title&y=n&sql=" + url.QueryEscape("SELECT title, 1 AS n FROM videogames"),
		"/query?plot=line&x=title&y=n&sql=" + url.QueryEscape("SELECT title, 1 AS n FROM videogames"),
		"/query?sql=" + url.QueryEscape("SELECT 1 AS \""+evil+"\", 2 AS n"), "/query?sql=" + url.QueryEscape(evil),
		"/query?plot=bar&sql=" + url.QueryEscape("SELECT 'a' AS a, 2 AS \""+evil+"\""),
		"/query?saved=" + url.QueryEscape(evil), "/query?sql=SELECT+1&x=" + url.QueryEscape(evil) + "&plot=" + url.QueryEscape(evil),
		"/status", "/status/live",
	} {
		answer, text := s.get(t, path, "es")
		if found := inline.FindString(quoted.ReplaceAllString(text, `""`)); found != "" || strings.Contains(text, evil[:20]) {
			t.Errorf("%s: markup got through: %q", path, found)
		}
		if !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %s", path, answer.Header.Get("Content-Type"))
		}
	}
}

func TestQueryFormRuns(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	form := url.Values{"sql": {"\nSELECT 'ñ' AS a, 41 + 1 AS b"}, "plot": {"bar"}, "x": {"a"}, "y": {"b"}}
	answer, text := s.do(t, http.MethodPost, "/query", "en", form)
	if answer.StatusCode != http.StatusOK || !strings.Contains(text, ">42</td>") || !strings.Contains(text, "<rect") {
		t.Errorf("status %d: %s", answer.StatusCode, text)
	}
	form.Set("sql", strings.Repeat("é", query.MaxSQL)) // percent-encoded, more than a form may have
	if answer, _ := s.do(t, http.MethodPost, "/query", "en", form); answer.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a form too large: status %d", answer.StatusCode)
	}
}

func TestQueryStatuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for path, want := range map[string]int{
		"/query": 200, "/query?sql=SELEC": 422, "/query?sql=DROP+VIEW+videogames": 422, "/query?saved=nope": 404,
		"/query.csv?sql=SELEC": 422, "/query.csv?saved=nope": 404, "/query?sql=SELECT+%00": 422, "/query.csv": 422,
		"/web/pages.css": 200, "/web/nope.css": 404, "/metrics": 200, "/query?plot=bar&sql=SELECT+1+AS+a+WHERE+false": 200,
	} {
		if answer, text := s.get(t, path, "en"); answer.StatusCode != want {
			t.Errorf("%s: status %d, want %d: %s", path, answer.StatusCode, want, mainPart.FindString(text))
		}
	}
	broken := newSite(t, func(context.Context, string) ([]query.LakeTable, error) { return nil, errors.New("no right to read") })
	answer, text := broken.get(t, "/query?sql=SELECT+1", "en")
	if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(text, "ACQ-QUERY-006") {
		t.Errorf("a lake that cannot be read: status %d", answer.StatusCode)
	}
}

func TestQueryShowsAPartOfAHugeResult(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	sql := url.QueryEscape("SELECT i, repeat('x', 100000) AS long FROM range(1000000) t(i)")
	answer, text := s.get(t, "/query?plot=line&x=i&y=i&sql="+sql, "es")
	if answer.StatusCode != http.StatusOK || len(text) > 200_000 || strings.Count(text, "<tr>") != 51 {
		t.Errorf("status %d, %d bytes, %d rows", answer.StatusCode, len(text), strings.Count(text, "<tr>"))
	}
	for _, want := range []string{spanish.CellCut, "Se muestran las primeras 50 filas"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say: %s", want)
		}
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		path, form := "/query.csv?saved=games-by-genre", url.Values(nil)
		if method == http.MethodPost {
			path, form = "/query.csv", url.Values{"sql": {"SELECT genre, count(*) AS games FROM videogames GROUP BY ALL ORDER BY 2 DESC"}}
		}
		answer, text := s.do(t, method, path, "en", form)
		if text != "genre,games\nSports,2\nAdventure,1\n" || answer.Header.Get("Content-Type") != "text/csv; charset=utf-8" ||
			!strings.HasPrefix(answer.Header.Get("Content-Disposition"), "attachment") {
			t.Errorf("%s: %v %q", method, answer.Header, text)
		}
	}
	answer, text := s.get(t, "/query.csv?sql=SELECT+*+FROM+range(60000)", "en")
	if n := strings.Count(text, "\n"); n != 60001 {
		t.Errorf("status %d, %d lines", answer.StatusCode, n)
	}
}

func TestForeignSiteCannotRunAQuery(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/query?sql=SELECT+6*7", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil || !strings.Contains(string(text), "SELECT 6*7") || strings.Contains(string(text), "<td") {
		t.Errorf("%v: %s", err, mainPart.Find(text))
	}
}

func TestCancelledRequestStopsItsQuery(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	const endless = "/query?sql=SELECT+count(*)+FROM+range(1000000)+a,+range(1000000)+b,+range(1000000)+c"
	for range 6 { // more than may run at a time: each must have given its place back
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+endless, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := s.Client().Do(req)
		cancel()
		if err == nil {
			_ = answer.Body.Close()
			t.Fatalf("status %d for an endless query", answer.StatusCode)
		}
	}
	if answer, text := s.get(t, "/query?sql=SELECT+6*7", "en"); !strings.Contains(text, ">42</td>") {
		t.Errorf("status %d after the cancelled ones", answer.StatusCode)
	}
}

func TestStatusForMachines(t *testing.T) {
	t.Parallel()
	s := newSite(t, nil)
	s.pipelines = []Pipeline{{Name: "a", State: Running}, {Name: "b", State: Retrying, Reason: "disk full"}, {Name: "c", State: Starting}}
	var found Report
	_, text := s.get(t, "/v1/status", "")
	if err := json.Unmarshal([]byte(text), &found); err != nil || found.Ready || !cmp.Equal(found.Pipelines, s.pipelines) {
		t.Errorf("%v: %s", err, text)
	}
	_, text = s.get(t, "/status/live", "es")
	if !strings.HasPrefix(text, `<div id="status-live">`) || !strings.Contains(text, "reintentando") {
		t.Errorf("live part: %s", text)
	}
}

// someForm is a form as the list of forms sees it.
type someForm string

func (f someForm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "form "+r.URL.Path)
}
func (f someForm) Path() string             { return "/forms/" + string(f) }
func (f someForm) Title(lang string) string { return lang + " <" + string(f) + ">" }

func TestFormsAreFound(t *testing.T) {
	t.Parallel()
	pages, err := New(Config{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		forms        []sources.Served
		path, answer string
	}{
		{nil, "/", "Ningún canal empieza en un formulario."},
		{nil, "/forms/a", "404"},
		{[]sources.Served{someForm("a")}, "/", "form /"},
		{[]sources.Served{someForm("a")}, "/forms/b", "form /forms/b"}, // which answers that it is not there
		{[]sources.Served{someForm("a"), someForm("b")}, "/forms/", `<a href="/forms/b">es &lt;b&gt;</a>`},
		{[]sources.Served{someForm("a"), someForm("b")}, "/", `<a href="/forms/a">es &lt;a&gt;</a>`},
		{[]sources.Served{someForm("a"), someForm("b")}, "/forms/b", "form /forms/b"},
		{[]sources.Served{someForm("a"), someForm("b")}, "/forms/a/1", "form /forms/a/1"},
		{[]sources.Served{someForm("a"), someForm("b")}, "/forms/c", "404"},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path+"?lang=es", nil)
		w := httptest.NewRecorder()
		pages.Routes(c.forms...).ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), c.answer) {
			t.Errorf("%d forms, %s: %d %s", len(c.forms), c.path, w.Code, w.Body)
		}
	}
}

// Queries that ask for another table than there is are not offered; the page begins with one that can be run.
func TestSavedQueriesNeedTheirTable(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(context.Context, string) ([]query.LakeTable, error) {
		return []query.LakeTable{{Name: "books", Views: []query.View{{Name: "books", SQL: "SELECT 1 AS n"}, {Name: "books_latest", SQL: "SELECT 2 AS n"}}}}, nil
	})
	answer, err := s.Client().Get(s.URL + "/query")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "?saved=") || !strings.Contains(string(text), "SELECT * FROM &#34;books_latest&#34; LIMIT 20") {
		t.Errorf("%s", text)
	}
}
