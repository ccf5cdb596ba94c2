package form

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/a-h/templ"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/schemas"
)

// problem is an error as RFC 9457 writes it.
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Code   string         `json:"code"`
	Detail string         `json:"detail,omitempty"`
	Errors []problemField `json:"errors,omitempty"`
}

// problemField is what is wrong with one field.
type problemField struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// said is what a refusal says in each language.
func said(code string) schemas.Text {
	switch code {
	case "invalid":
		return schemas.Text{EN: "Some fields need your attention.", ES: "Hay campos que revisar."}
	case "too_many_requests":
		return schemas.Text{EN: "Too many requests. Please wait a moment and try again.", ES: "Demasiadas peticiones. Espera un momento y vuelve a intentarlo."}
	case "method_not_allowed":
		return schemas.Text{EN: "This address does not take that method.", ES: "Esta dirección no admite ese método."}
	case "not_found":
		return schemas.Text{EN: "There is nothing here.", ES: "Aquí no hay nada."}
	case "unsupported_media_type":
		return schemas.Text{EN: "Send application/json, or use the form.", ES: "Envía application/json o usa el formulario."}
	case "too_large":
		return schemas.Text{EN: "That is more than 64 KiB.", ES: "Eso ocupa más de 64 KiB."}
	case "unreadable":
		return schemas.Text{EN: "What was sent cannot be read.", ES: "No se puede leer lo que se envió."}
	case "bad_key":
		return schemas.Text{EN: "The idempotency key is not valid.", ES: "La clave de idempotencia no es válida."}
	case "key_reused":
		return schemas.Text{EN: "This request was already sent with other values.", ES: "Esta petición ya se envió con otros valores."}
	}
	return schemas.Text{
		EN: "It could not be saved now. Nothing was registered; please try again.",
		ES: "Ahora no se ha podido guardar. No se ha registrado nada; vuelve a intentarlo.",
	}
}

// refuse answers an error, as a page or as problem+json.
func (s *Source) refuse(w http.ResponseWriter, r *http.Request, status int, code, detail string) {
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "2")
	}
	lang := page.Language(r)
	if wantsJSON(r) {
		s.writeProblem(w, problem{Title: said(code).In(lang), Status: status, Code: code, Detail: detail})
		return
	}
	s.render(w, r, status, refusedPage(page.Of(r, said(code).In(lang)), said(code).In(lang), detail, s.Path()))
}

func (s *Source) writeProblem(w http.ResponseWriter, p problem) {
	p.Type = "about:blank"
	text, err := json.Marshal(p)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(text, '\n'))
}

// explain answers what is wrong with each field at once: 422.
func (s *Source) explain(w http.ResponseWriter, r *http.Request, e *entry, problems []schemas.Problem) {
	lang := page.Language(r)
	if wantsJSON(r) {
		p := problem{Title: said("invalid").In(lang), Status: http.StatusUnprocessableEntity, Code: "invalid"}
		for _, x := range problems {
			p.Errors = append(p.Errors, problemField{x.Name, string(x.Code), s.config.Table.Message(x, lang)})
		}
		s.writeProblem(w, p)
		return
	}
	v := formView{frame: page.Of(r, said("invalid").In(lang)), key: e.key, inputs: e.inputs, problems: problems}
	s.render(w, r, http.StatusUnprocessableEntity, s.page(v))
}

// render writes a page whole, or an error: never half a page with status 200.
func (s *Source) render(w http.ResponseWriter, r *http.Request, status int, content templ.Component) {
	var out bytes.Buffer
	if err := content.Render(r.Context(), &out); err != nil {
		s.log.Error("form: a page could not be made", "error", err.Error())
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = out.WriteTo(w)
	}
}
