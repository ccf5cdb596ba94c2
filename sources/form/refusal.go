package form

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/schemas"
)

// refusal is why a request was not done, as RFC 9457 has it.
type refusal struct {
	status int
	code   string // stable
	title  text
	detail text
	wait   int // seconds until it may be tried again; 0: it is not worth trying
}

type text struct{ en, es string }

func (t text) in(lang string) string {
	if lang == "es" {
		return t.es
	}
	return t.en
}

//nolint:gochecknoglobals // constants
var (
	refusedFields = refusal{http.StatusUnprocessableEntity, "ACQ-FORM-001", text{"Some fields need a correction", "Hay campos que corregir"}, text{
		"Nothing was registered. Correct the fields and send again.", "No se registró nada. Corrige los campos y vuelve a enviar.",
	}, 0}
	refusedBody = refusal{http.StatusBadRequest, "ACQ-FORM-002", text{"The body cannot be read", "No se puede leer lo enviado"}, text{
		"The body is not what its content type says.", "Lo enviado no es lo que dice su tipo de contenido.",
	}, 0}
	refusedSize = refusal{http.StatusRequestEntityTooLarge, "ACQ-FORM-003", text{"Too much was sent", "Se envió demasiado"}, text{
		"A record may have 64 KiB.", "Un registro puede tener 64 KiB.",
	}, 0}
	refusedType = refusal{http.StatusUnsupportedMediaType, "ACQ-FORM-004", text{"The content type is not known here", "Tipo de contenido desconocido"}, text{
		"Send application/json or application/x-www-form-urlencoded in UTF-8, without Content-Encoding.",
		"Envía application/json o application/x-www-form-urlencoded en UTF-8, sin Content-Encoding.",
	}, 0}
	refusedMethod = refusal{http.StatusMethodNotAllowed, "ACQ-FORM-005", text{"The method is not allowed here", "Método no permitido"}, text{
		"See the Allow header.", "Mira la cabecera Allow.",
	}, 0}
	refusedRate = refusal{http.StatusTooManyRequests, "ACQ-FORM-006", text{"Too many registrations", "Demasiados registros"}, text{
		"Too many were sent from this address. Wait a minute and send again.", "Se enviaron demasiados desde esta dirección. Espera un minuto y vuelve a enviar.",
	}, 60}
	refusedNow = refusal{http.StatusServiceUnavailable, "ACQ-FORM-007", text{"It cannot be saved right now", "Ahora no se puede guardar"}, text{
		"What you sent could not be made safe. Send it again in a moment; with the same Idempotency-Key it is never registered twice.",
		"Lo que enviaste no se pudo poner a salvo. Envíalo otra vez en un momento; con la misma Idempotency-Key nunca se registra dos veces.",
	}, 2}
	refusedConflict = refusal{http.StatusConflict, "ACQ-FORM-008", text{"This page was already used", "Esta página ya se usó"}, text{
		"Its Idempotency-Key stands for other data. To register this as well, send it under a new key.",
		"Su Idempotency-Key ya está en otros datos. Para registrar también estos, envíalos con una clave nueva.",
	}, 0}
	refusedKey = refusal{http.StatusBadRequest, "ACQ-FORM-009", text{"The Idempotency-Key is malformed", "La Idempotency-Key no es válida"}, text{
		"Send it once, with 1 to 255 visible ASCII characters without quotes and backslashes.",
		"Envíala una vez, con 1 a 255 caracteres ASCII visibles sin comillas ni barras invertidas.",
	}, 0}
	refusedOrigin = refusal{http.StatusForbidden, "ACQ-FORM-010", text{"Sent from another site", "Enviado desde otro sitio"}, text{
		"A browser may send this form only from its own page.", "Un navegador solo puede enviar este formulario desde su propia página.",
	}, 0}
	refusedNotFound = refusal{http.StatusNotFound, "ACQ-FORM-011", text{"There is nothing here", "Aquí no hay nada"}, text{
		"No form and no record has this address.", "Ningún formulario ni registro tiene esta dirección.",
	}, 0}
	refusedSlow = refusal{http.StatusRequestTimeout, "ACQ-FORM-012", text{"The request came too slowly", "La petición llegó demasiado despacio"}, text{
		"The body did not arrive in time.", "Lo enviado no llegó a tiempo.",
	}, 1}
	refusedTrap = refusal{http.StatusUnprocessableEntity, "ACQ-FORM-013", text{"A hidden field was filled in", "Se rellenó un campo oculto"}, text{
		"Leave the hidden field empty and send again.", "Deja vacío el campo oculto y vuelve a enviar.",
	}, 0}
)

// problem is the body of application/problem+json.
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail"`
	Code   string         `json:"code"`
	Errors []problemField `json:"errors,omitempty"`
}

type problemField struct {
	Field   string `json:"field"`
	Pointer string `json:"pointer"` // RFC 6901, in a URI fragment
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// writeProblem answers a program. more, when not empty, says what exactly is wrong.
func (s *Source) writeProblem(w http.ResponseWriter, r *http.Request, why *refusal, more string, fields []schemas.Problem) {
	lang := page.Language(r)
	p := problem{
		Type: "urn:acequia:problem:" + why.code, Title: why.title.in(lang), Status: why.status, Detail: why.detail.in(lang), Code: why.code,
	}
	if more != "" {
		p.Detail = more
	}
	for _, f := range fields {
		p.Errors = append(p.Errors, problemField{
			Field: f.Name, Pointer: pointer(f.Name), Code: string(f.Code), Detail: s.table.Message(f, lang),
		})
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Language", lang)
	h.Set("Cache-Control", "no-store")
	retryAfter(h, why)
	w.WriteHeader(why.status)
	if err := json.NewEncoder(w).Encode(p); err != nil {
		s.log.DebugContext(r.Context(), "answer not written", slog.Any("error", err))
	}
}

func retryAfter(h http.Header, why *refusal) {
	if why.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(why.wait))
	}
}

// pointer is the address of a member as a fragment: # and a JSON pointer, percent-encoded.
func pointer(name string) string {
	const hex = "0123456789ABCDEF"
	b := []byte("#/")
	for i := range len(name) {
		switch c := name[i]; {
		case c == '~':
			b = append(b, "~0"...)
		case c == '/':
			b = append(b, "~1"...)
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
