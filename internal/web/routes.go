package web

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/sources"
)

// Routes gives the whole site: the pages of this package, the forms, and the static files. The only form is the home page,
// too; where there are several, or none, that is a list of them.
func (p *Pages) Routes(forms ...sources.Served) http.Handler {
	r := chi.NewRouter()
	r.Use(page.Frame)
	if p.cfg.CountLetters != nil {
		r.Use(page.WithLetters(p.cfg.CountLetters))
	}
	r.Handle(page.StaticPath+"*", page.Static())
	if len(forms) == 1 {
		r.Handle("/", forms[0])
		r.Handle("/forms/*", forms[0])
	} else {
		for _, f := range forms {
			r.Handle(f.Path(), f)
			r.Handle(f.Path()+"/*", f)
		}
		list := p.listForms(forms)
		r.Get("/", list)
		r.Get("/forms", list)
		r.Get("/forms/", list)
	}
	p.Mount(r)
	return r
}

// formsView is the list of the forms.
type formsView struct {
	T     *texts
	Links []formLink
}

type formLink struct{ Path, Title string }

func (p *Pages) listForms(forms []sources.Served) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		lang := page.Language(r)
		v := &formsView{T: textsFor(lang)}
		for _, f := range forms {
			v.Links = append(v.Links, formLink{f.Path(), f.Title(lang)})
		}
		p.render(w, r, http.StatusOK, formsPage(page.Of(r, v.T.FormsTitle), v))
	}
}
