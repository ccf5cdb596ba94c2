package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/acequia-io/acequia/fault"
	"github.com/acequia-io/acequia/internal/jobs"
)

// problemType is the media type of errors (RFC 9457).
const problemType = "application/problem+json"

// ProblemError is an error as the API answers it.
type ProblemError struct {
	Title       string              `json:"title" doc:"what the status says"`
	Status      int                 `json:"status"`
	Detail      string              `json:"detail,omitempty" doc:"what is wrong"`
	Code        string              `json:"code,omitempty" doc:"stable, such as ACQ-API-001"`
	Place       string              `json:"place,omitempty" doc:"table, database or setting"`
	Remedy      string              `json:"remedy,omitempty" doc:"what to do"`
	Suggestions []string            `json:"suggestions,omitempty" nullable:"false" doc:"what was probably meant"`
	Errors      []*huma.ErrorDetail `json:"errors,omitempty" nullable:"false" doc:"which parts of the request are wrong"`
	Job         *Job                `json:"job,omitempty" doc:"the job that does the same work already"`
}

// schemaName names a type in the description, where the problem is no Go error.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	if name == reflect.TypeFor[ProblemError]().Name() {
		return "Problem"
	}
	return name
}

// Error says what is wrong.
func (p *ProblemError) Error() string { return p.Detail }

// GetStatus is the status of the answer.
func (p *ProblemError) GetStatus() int { return p.Status }

// ContentType is that of the answer.
func (p *ProblemError) ContentType(string) string { return problemType }

func statusText(status int) string { return strconv.Itoa(status) }

func problem(status int, code, detail, remedy string) *ProblemError {
	return &ProblemError{Title: http.StatusText(status), Status: status, Code: code, Detail: detail, Remedy: remedy}
}

// ownProblems makes problems of the errors that huma finds in requests, and tells all in the language of the request.
func ownProblems(ctx huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*ProblemError)
	if e, theirs := v.(*huma.ErrorModel); theirs {
		p = problem(e.Status, "ACQ-API-001", e.Detail, "look at /docs")
		p.Errors = e.Errors
	} else if !ok {
		return v, nil
	}
	r, _ := humachi.Unwrap(ctx)
	return spoken(r, p), nil
}

// problemOf is the answer to an error.
func problemOf(err error) error {
	if unknown, ok := errors.AsType[*jobs.UnknownError](err); ok {
		p := problem(http.StatusNotFound, "ACQ-API-009", unknown.Error(), "name a table that a pipeline carries")
		if unknown.Near != "" {
			p.Suggestions, p.Remedy = []string{unknown.Near}, "did you mean "+unknown.Near+"?"
		}
		return p
	}
	if many, ok := errors.AsType[*jobs.AmbiguousError](err); ok {
		p := problem(http.StatusConflict, "ACQ-API-010", many.Error(), "say which with ?source_db=")
		p.Suggestions = many.In
		return p
	}
	trouble := jobs.TroubleOf(err)
	status := http.StatusInternalServerError
	switch {
	case trouble.Code == jobs.ErrNoJob.Code, trouble.Code == jobs.CodeNoTimed:
		status = http.StatusNotFound
	case fault.Of(err) == fault.Retryable:
		status = http.StatusServiceUnavailable
	case trouble.Code == "ACQ-API-004" || trouble.Code == "ACQ-API-005" || trouble.Code == "ACQ-BACKUP-008":
		status = http.StatusUnprocessableEntity
	}
	p := problem(status, trouble.Code, trouble.Reason, trouble.Remedy)
	p.Place = trouble.Place
	if status == http.StatusServiceUnavailable {
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {"5"}})
	}
	return p
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, r *http.Request, p *ProblemError) {
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(spoken(r, p)) // a client that has gone needs no answer
}
