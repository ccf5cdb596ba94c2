// Package api is the control API: jobs, items and health, as JSON over HTTP. It describes itself as OpenAPI 3.1 at /openapi.json, and
// for people at /docs.
package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/acequia-io/acequia/internal/jobs"
)

// Config says what the API answers with.
type Config struct {
	Version   string
	Jobs      *jobs.Board
	Work      Work
	Items     Items
	Backups   Backups
	Health    func(ctx context.Context) map[string]jobs.Check // within two seconds
	Pipelines func(ctx context.Context) []Pipeline
	Schedules Schedules
	Access    Access
	Log       *slog.Logger
}

// Work makes jobs of what is asked for. A *jobs.UnknownError is of a table that is not there, a *jobs.AmbiguousError of one that several
// databases have.
type Work interface {
	Migrate(r jobs.MigrateRequest) (jobs.Order, error)
	Sync(ctx context.Context, r jobs.SyncRequest) (jobs.Order, error)
	Backup(ctx context.Context, r jobs.BackupRequest) (jobs.Order, error)
}

// Pipeline is what a pipeline does, as far as /readyz wants to know.
type Pipeline struct {
	Name, State, Reason string
	Ready               bool
}

// API answers requests of its own paths, and hands the others on.
type API struct {
	Config
	router *chi.Mux
	huma   huma.API
}

// New makes the API before the pages, which answer what it does not know.
func New(c Config, pages http.Handler) *API {
	a := &API{Config: c, router: chi.NewRouter()}
	a.router.Use(a.limited(), headers, a.guard())
	a.router.NotFound(pages.ServeHTTP)
	a.router.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, problem(http.StatusMethodNotAllowed, "ACQ-API-003", r.Method+" "+r.URL.Path+": this path has other methods", "look at /docs"))
	})
	a.huma = humachi.New(a.router, config(c.Version))
	a.huma.UseMiddleware(patient)
	a.health()
	a.orders()
	a.backups()
	a.jobs()
	a.schedules()
	a.items()
	a.router.Get("/docs", a.docs)
	return a
}

// ServeHTTP answers.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.router.ServeHTTP(w, r) }

// OpenAPI is the description that /openapi.json gives.
func (a *API) OpenAPI() *huma.OpenAPI { return a.huma.OpenAPI() }

func config(version string) huma.Config {
	c := huma.DefaultConfig("acequia", version)
	c.Info.Description = "Moves the data of databases into items, a lake and backups, and tells how it goes. Long work is a job: it is answered with 202 " +
		"and its place (Location); with `Prefer: wait=N` the answer waits up to N seconds for its end. Errors are application/problem+json with a stable code."
	c.DocsPath, c.SchemasPath = "", ""
	c.CreateHooks = nil // no $schema in bodies
	c.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "Not needed by this machine"}}
	c.Security = []map[string][]string{{}, {"token": {}}}
	c.Transformers = []huma.Transformer{ownProblems}
	c.Tags = []*huma.Tag{
		{Name: "work", Description: "What can be asked for"},
		{Name: "jobs", Description: "What was asked for"},
		{Name: "items", Description: "The items tables, under the paths of the service that this one takes the place of"},
		{Name: "health", Description: "For who watches"},
	}
	return c
}

// headers are those of answers to programs. Pages set their own.
func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// mostBody is how much a request may carry.
const mostBody = 1 << 20

// patient reads what a request carries while the server's time for that runs, and then lets the answer take its own: the end of
// that time would end the request, also one that waits for a job.
func patient(ctx huma.Context, next func(huma.Context)) {
	r, w := humachi.Unwrap(ctx)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostBody))
	if err != nil {
		writeProblem(w, r, problem(http.StatusRequestEntityTooLarge, "ACQ-API-001", "the request cannot be read: "+err.Error(), "send less, in time"))
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // what has none needs none taken away
	next(ctx)
}

// register adds an operation, whose errors are problems.
func register[I, O any](a *API, op huma.Operation, more []int, do func(context.Context, *I) (*O, error)) {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "Error",
		Content:     map[string]*huma.MediaType{problemType: {Schema: huma.SchemaFromType(a.huma.OpenAPI().Components.Schemas, reflect.TypeFor[ProblemError]())}},
	}
	op.BodyReadTimeout = -1 // see patient
	op.OperationID = strings.ReplaceAll(op.OperationID, " ", "-")
	huma.Register(a.huma, op, do)
	of := op.Responses[statusText(op.DefaultStatus)]
	for _, status := range more { // the same body with another status
		op.Responses[statusText(status)] = &huma.Response{Description: http.StatusText(status), Content: of.Content, Headers: of.Headers}
	}
}
