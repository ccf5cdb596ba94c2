package api

import (
	"bytes"
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/acequia-io/acequia/internal/page"
)

// docsView is the description as /docs shows it.
type docsView struct {
	Lead, Answers string
	Groups        []docsGroup
}

type docsGroup struct {
	Title      string
	Operations []docsOperation
}

type docsOperation struct {
	Method, Path, Summary, Description, Curl, Answers string
	Parameters                                        []docsParameter
}

type docsParameter struct{ Name, In, Description string }

// docs shows the description to people. What it says of the operations is in English, as the description is.
func (a *API) docs(w http.ResponseWriter, r *http.Request) {
	page.Frame(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		frame := page.Of(r, "API")
		v := &docsView{
			Lead:    frame.T("Todo lo que se puede pedir, con un ejemplo cada cosa. La descripción para programas (OpenAPI 3.1):", "All that can be asked for, each with an example. The description for programs (OpenAPI 3.1):"), //nolint:misspell // Spanish
			Answers: frame.T("Respuestas", "Answers"),
			Groups:  a.groups("http://" + cmp.Or(r.Host, "localhost:3006")),
		}
		var text bytes.Buffer
		if err := docsPage(frame, v).Render(r.Context(), &text); err != nil { //nolint:contextcheck // it takes the closures that templ generates for calls without a context
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(text.Bytes()) // a client that has gone needs no answer
	})).ServeHTTP(w, r)
}

// groups gives the operations by their tags, in the order of these.
func (a *API) groups(at string) []docsGroup {
	spec := a.huma.OpenAPI()
	out := make([]docsGroup, len(spec.Tags))
	for i, tag := range spec.Tags {
		out[i].Title = tag.Description
		for _, path := range slices.Sorted(maps.Keys(spec.Paths)) {
			item := spec.Paths[path]
			for _, op := range []*huma.Operation{item.Get, item.Post} {
				if op != nil && slices.Contains(op.Tags, tag.Name) {
					out[i].Operations = append(out[i].Operations, a.documented(op, at))
				}
			}
		}
	}
	return out
}

func (a *API) documented(op *huma.Operation, at string) docsOperation {
	d := docsOperation{Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description}
	path := op.Path
	for _, p := range op.Parameters {
		d.Parameters = append(d.Parameters, docsParameter{p.Name, p.In, p.Description})
		if example, ok := p.Schema.Examples, len(p.Schema.Examples) > 0; ok && p.In == "path" {
			if text, ok := example[0].(string); ok {
				path = strings.Replace(path, "{"+p.Name+"}", text, 1)
			}
		}
	}
	d.Parameters = append(d.Parameters, a.bodyOf(op)...)
	d.Curl = "curl " + at + path
	if op.Method != http.MethodGet {
		d.Curl = "curl -X " + op.Method + " " + at + path
	}
	d.Answers = strings.Join(slices.Sorted(maps.Keys(op.Responses)), ", ")
	d.Answers = strings.Replace(d.Answers, "default", "problem+json", 1)
	return d
}

// bodyOf gives the fields of the JSON that an operation takes.
func (a *API) bodyOf(op *huma.Operation) (out []docsParameter) {
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return nil
	}
	schema := op.RequestBody.Content["application/json"].Schema
	if schema.Ref != "" {
		schema = a.huma.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		out = append(out, docsParameter{name, "JSON", schema.Properties[name].Description})
	}
	return out
}
