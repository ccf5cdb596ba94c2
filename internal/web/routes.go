package web

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/acequia-io/acequia/internal/page"
)

// Routes gives the whole site: the pages of this package, the forms at / and /forms/, and the static files.
func (p *Pages) Routes(forms http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(page.Frame)
	r.Handle(page.StaticPath+"*", page.Static())
	r.Handle("/", forms)
	r.Handle("/forms/*", forms)
	p.Mount(r)
	return r
}
