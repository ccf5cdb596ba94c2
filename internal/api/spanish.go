package api

import (
	"net/http"
	"strings"

	"github.com/acequia-io/acequia/internal/page"
)

// spoken gives a problem in the language of a request. What programs look at (status, code, place) stays; of mistakes that huma finds in
// requests the places are told, in English.
func spoken(r *http.Request, p *ProblemError) *ProblemError {
	if page.Language(r) != "es" {
		return p
	}
	title := spanishTitle(p.Status)
	detail, remedy := p.spanish()
	if detail == "" {
		return p
	}
	out := *p
	out.Title, out.Detail, out.Remedy = title, detail, remedy
	return &out
}

func spanishTitle(status int) string {
	return map[int]string{
		http.StatusUnauthorized: "No identificado", http.StatusForbidden: "Prohibido", http.StatusNotFound: "No encontrado",
		http.StatusMethodNotAllowed: "Método no permitido", http.StatusConflict: "Conflicto", http.StatusRequestEntityTooLarge: "Demasiado grande",
		http.StatusUnprocessableEntity: "No se puede procesar", http.StatusTooManyRequests: "Demasiadas peticiones",
		http.StatusServiceUnavailable: "No disponible ahora", http.StatusInternalServerError: "Error interno",
	}[status]
}

// spanish says what is wrong, and what to do; "": it is told in English alone.
func (p *ProblemError) spanish() (detail, remedy string) {
	which := strings.Join(p.Suggestions, ", ")
	meant := "nombra una tabla que lleve algún canal"
	if which != "" {
		meant = "¿quisiste decir " + which + "?"
	}
	texts := map[string][2]string{
		"ACQ-API-001":    {"La petición no es válida", "mira /docs"},
		"ACQ-API-002":    {"El mismo trabajo ya está en marcha", "espera a ese trabajo, o cancélalo"},
		"ACQ-API-003":    {"Esta ruta tiene otros métodos", "mira /docs"},
		"ACQ-API-004":    {"Ningún canal lee esa base de datos: " + p.Place, "nombra otra: mysql, postgresql, mongodb, un origen o un canal"},
		"ACQ-API-005":    {"Ningún canal lee una base de datos", "añade uno al fichero de configuración"},
		"ACQ-API-006":    {"La tabla ya no está: " + p.Place, ""},
		"ACQ-API-008":    {"Ninguna base de datos que responde tiene esa tabla: " + p.Place, "mira GET /health, y pídelo otra vez cuando respondan todas"},
		"ACQ-API-009":    {"No hay ninguna tabla de ese nombre", meant},
		"ACQ-API-010":    {"Varias bases de datos tienen una tabla de ese nombre: " + which, "di cuál con ?source_db="},
		"ACQ-API-011":    {"La Idempotency-Key se envió antes con otro trabajo", "envía cada trabajo con su propia clave"},
		"ACQ-API-012":    {"El trabajo ya terminó", ""},
		"ACQ-API-014":    {"Hace falta un token válido", "envía Authorization: Bearer con un token que la configuración nombre bajo api"},
		"ACQ-API-015":    {"El proveedor de los tokens no responde", "inténtalo otra vez cuando responda"},
		"ACQ-API-016":    {"Ese derecho no alcanza para esto", "usa un token con más derechos"},
		"ACQ-API-017":    {"Lo pide una página de otro sitio", "pídelo desde un programa, o desde una página de acequia"},
		"ACQ-API-018":    {"Esta dirección pregunta demasiado", "pregunta otra vez tras los segundos de Retry-After, o sube api.rate"},
		"ACQ-JOB-001":    {"acequia se detuvo antes de que el trabajo terminara", "pídelo otra vez: lo que ya está guardado no se hace dos veces"},
		"ACQ-JOB-002":    {"No hay tal trabajo", "mira GET /v1/jobs; se guardan los últimos 1.000"},
		"ACQ-JOB-004":    {"El horario no tiene tal trabajo: " + p.Place, "mira GET /v1/schedules"},
		"ACQ-BACKUP-008": {"Nada de eso se puede copiar: " + p.Place, "nombra un origen que sea una base de datos"},
	}
	one := texts[p.Code]
	return one[0], one[1]
}
