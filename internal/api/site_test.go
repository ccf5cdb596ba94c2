package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/acequia-io/acequia/catalog"
	"github.com/acequia-io/acequia/internal/api"
	"github.com/acequia-io/acequia/internal/app"
)

// site is acequia serve over a file, in this process.
type site struct {
	url  string
	dir  string
	log  *bytes.Buffer // read it when the site has stopped
	stop func() error

	spec     map[string]any
	compiler *jsonschema.Compiler
}

// locked lets several goroutines write.
type locked struct {
	mu sync.Mutex
	io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Writer.Write(p)
}

// serve serves the file of a folder until the test ends, or stop is called. %DSN% in it stands for the databases.
func serve(t *testing.T, dir, file string, options ...func(*app.ServeOptions)) *site {
	t.Helper()
	return serveWith(t, app.LiveOptions{Plugins: catalog.Default()}, dir, file, options...)
}

// serveWith does it with other plugins, or with probes.
func serveWith(t *testing.T, with app.LiveOptions, dir, file string, options ...func(*app.ServeOptions)) *site {
	t.Helper()
	path := filepath.Join(dir, "acequia.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, log: &bytes.Buffer{}}
	log := slog.New(slog.NewJSONHandler(&locked{Writer: s.log}, nil))
	with.Paths, with.Service.Log = []string{path}, log
	live, problems, err := app.LoadLive(t.Context(), with)
	if err != nil || problems.Errors() {
		t.Fatal(err, problems)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan string, 1), make(chan error, 1)
	o := app.ServeOptions{Version: "test", Log: log, Ready: func(_ context.Context, at app.Served) error { ready <- at.URL; return nil }}
	for _, set := range options {
		set(&o)
	}
	go func() { ended <- app.Serve(ctx, live, o) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.log.String())
		}
	})
	select {
	case s.url = <-ready:
	case err := <-ended:
		t.Fatal(err, s.log.String())
	}
	s.describe(t)
	return s
}

// client keeps no connection, so that no goroutine is left.
func client() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

// describe reads the description that the answers are held against.
func (s *site) describe(t *testing.T) {
	t.Helper()
	_, text := s.raw(t, http.MethodGet, "/openapi.json", "", nil)
	if err := json.Unmarshal(text, &s.spec); err != nil {
		t.Fatal(err)
	}
	if v := s.spec["openapi"]; v != "3.1.0" {
		t.Fatalf("openapi %v", v)
	}
	s.compiler = jsonschema.NewCompiler()
	s.compiler.DefaultDraft(jsonschema.Draft2020)
	s.compiler.AssertFormat()
	if err := s.compiler.AddResource("http://acequia/openapi.json", s.spec); err != nil {
		t.Fatal(err)
	}
}

// raw asks, and gives the answer as it came.
func (s *site) raw(t *testing.T, method, path, body string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	maps.Copy(request.Header, header)
	answer, err := client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer, text
}

// call asks, holds the answer against the description, wants a status, and reads the body into out.
func (s *site) call(t *testing.T, method, path, body string, want int, out any, header ...string) *http.Response {
	t.Helper()
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	answer, text := s.raw(t, method, path, body, h)
	if err := s.conforms(method, path, answer, text); err != nil {
		t.Errorf("%s %s is not as described: %v\n%s", method, path, err, text)
	}
	if answer.StatusCode != want {
		t.Fatalf("%s %s: %d, want %d\n%s", method, path, answer.StatusCode, want, text)
	}
	if out != nil {
		reflect.ValueOf(out).Elem().SetZero()
		if err := json.Unmarshal(text, out); err != nil {
			t.Fatal(err)
		}
	}
	return answer
}

// conforms holds an answer against the description: a path and a method that it has, a status, a media type, and a body that its schema
// allows.
func (s *site) conforms(method, path string, answer *http.Response, text []byte) error {
	template, responses, err := s.operation(method, path)
	if err != nil {
		return err
	}
	status := fmt.Sprint(answer.StatusCode)
	response, ok := responses[status].(map[string]any)
	if !ok {
		if response, ok = responses["default"].(map[string]any); !ok || answer.StatusCode < 400 {
			return fmt.Errorf("no answer %s is described", status)
		}
		status = "default"
	}
	kind := strings.TrimSpace(strings.Split(answer.Header.Get("Content-Type"), ";")[0])
	content, _ := response["content"].(map[string]any)
	if content[kind] == nil {
		return fmt.Errorf("of %s no %q is described, only %v", status, kind, content)
	}
	if !strings.HasSuffix(kind, "json") {
		return nil
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "+", "%2B")
	schema, err := s.compiler.Compile("http://acequia/openapi.json#/paths/" + escape.Replace(template) + "/" + strings.ToLower(method) + "/responses/" + status +
		"/content/" + escape.Replace(kind) + "/schema")
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// operation finds the described path that a path is of, one without parameters first.
func (s *site) operation(method, path string) (template string, responses map[string]any, err error) {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	paths, _ := s.spec["paths"].(map[string]any)
	for _, parameters := range []bool{false, true} {
		for t, item := range paths {
			names := strings.Split(t, "/")
			same := len(names) == len(parts)
			for i := range names {
				same = same && (names[i] == parts[i] || parameters && strings.HasPrefix(names[i], "{"))
			}
			methods, _ := item.(map[string]any)
			if op, ok := methods[strings.ToLower(method)].(map[string]any); same && ok {
				responses, _ = op["responses"].(map[string]any)
				return t, responses, nil
			}
		}
	}
	return "", nil, fmt.Errorf("no %s %s is described", method, path)
}

// wait has a job end in a state.
func (s *site) wait(t *testing.T, job api.Job, state string) api.Job {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		var now api.Job
		s.call(t, http.MethodGet, "/v1/jobs/"+job.ID, "", http.StatusOK, &now)
		if now.State == state {
			return now
		}
		if now.Ended != nil || time.Now().After(deadline) {
			text, _ := json.Marshal(now)
			t.Fatalf("the job is %s, want %s: %s", now.State, state, text)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// sql runs statements.
func sql(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range statements {
		if _, err := c.Exec(ctx, one); err != nil {
			t.Error(one, err)
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

// hold locks a table until release is called.
func hold(t *testing.T, dsn, table string) (release func()) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	c, err := pgx.Connect(ctx, dsn)
	if err == nil {
		_, err = c.Exec(ctx, "begin; lock table "+table+" in access exclusive mode")
	}
	if err != nil {
		t.Fatal(err)
	}
	release = sync.OnceFunc(func() { _ = c.Close(ctx) })
	t.Cleanup(release)
	return release
}
