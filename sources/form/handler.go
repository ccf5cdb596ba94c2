package form

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/acequia-io/acequia/schemas"
)

// ServeHTTP serves /forms/<table>, / as the same form, /forms/<table>/<id>, and sends /forms and /forms/ to the form. It
// wants page.Frame around it.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := s.Path()
	switch at := r.URL.Path; {
	case at == "/" || at == path:
		s.serveForm(w, r)
	case at == "/forms" || at == "/forms/" || at == path+"/":
		if s.reads(w, r) {
			http.Redirect(w, r, path, http.StatusSeeOther)
		}
	case strings.HasPrefix(at, path+"/"):
		if s.reads(w, r) {
			s.serveRecord(w, r, at[len(path)+1:])
		}
	default:
		s.refuse(w, r, &refusedNotFound, "")
	}
}

// Path is where the form is served.
func (s *Source) Path() string { return pathOf(s.table) }

func pathOf(t *schemas.Table) string { return "/forms/" + t.Name }

// Title is the heading of the form.
func (s *Source) Title(lang string) string { return s.table.Title.In(lang) }

// reads says whether the method only reads, and refuses it otherwise.
func (s *Source) reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	s.refuse(w, r, &refusedMethod, "")
	return false
}

func (s *Source) serveForm(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		s.showForm(w, r, http.StatusOK, formState{key: uuid.NewString()})
	case http.MethodPost:
		s.post(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		s.refuse(w, r, &refusedMethod, "")
	}
}

// post registers a record.
func (s *Source) post(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	json, known := isJSON(r.Header)
	if err := s.origins.Check(r); err != nil {
		s.refuse(w, r, &refusedOrigin, "")
		return
	}
	if !known {
		w.Header().Set("Accept-Post", "application/json, application/x-www-form-urlencoded")
		s.refuse(w, r, &refusedType, "")
		return
	}
	body := newSent(s.table)
	defer body.release()
	a := answer{s: s, w: w, r: r, sent: body, json: json}
	if err := body.read(w, r); err != nil {
		a.unread(err)
		return
	}
	s.posts.Add(1)
	defer s.posts.Add(-1)
	if err := body.decode(s.table, json); err != nil {
		s.refuse(w, r, &refusedBody, err.Error())
		return
	}
	key, err := keyOf(r.Header)
	if err == nil && key == "" && body.key != "" {
		key, err = body.key, checkKey(body.key)
	}
	switch {
	case err != nil:
		a.refuse(&refusedKey, nil)
		return
	case s.tooMany(w, r):
		a.refuse(&refusedRate, nil)
		return
	case body.trapped:
		a.refuse(&refusedTrap, nil)
		return
	}
	if problems := append(s.table.Check(body.inputs, body.values, at), body.unknown...); len(problems) > 0 {
		a.refuse(&refusedFields, problems)
		return
	}
	id, err := s.register(r.Context(), key, body, at)
	a.outcome(id, err)
}

func (s *sent) decode(t *schemas.Table, json bool) error {
	if json {
		return s.decodeJSON(t)
	}
	return s.decodeForm(t)
}

// answer is how one post is answered.
type answer struct {
	s    *Source
	w    http.ResponseWriter
	r    *http.Request
	sent *sent
	json bool
}

// unread answers a body that did not come in whole.
func (a *answer) unread(err error) {
	var timeout net.Error
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		a.s.refuse(a.w, a.r, &refusedSize, "")
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		a.w.Header().Set("Connection", "close")
		a.s.refuse(a.w, a.r, &refusedSlow, "")
	default:
		a.w.Header().Set("Connection", "close")
		a.s.refuse(a.w, a.r, &refusedBody, "the body ends too early")
	}
}

// outcome answers what became of the record.
func (a *answer) outcome(id string, err error) {
	switch {
	case err == nil:
		a.registered(id)
	case errors.Is(err, context.Canceled) && a.r.Context().Err() != nil: // nobody is there
	case errors.Is(err, errConflict):
		a.refuse(&refusedConflict, nil)
	default:
		a.s.log.Debug("record not saved", slog.Any("error", err))
		a.refuse(&refusedNow, nil)
	}
}

func (a *answer) registered(id string) {
	h := a.w.Header()
	location := a.s.Path() + "/" + id
	h["Location"] = []string{location}
	if !a.json && !wantsJSON(a.r) {
		a.w.WriteHeader(http.StatusSeeOther)
		return
	}
	h["Content-Type"] = jsonType
	a.w.WriteHeader(http.StatusCreated)
	b := append(a.sent.scratch[:0], `{"id":"`...)
	b = append(append(b, id...), '"', '}', '\n')
	a.sent.scratch = b
	if _, err := a.w.Write(b); err != nil { //nolint:gosec // JSON around a UUID that this house made
		a.s.log.Debug("answer not written", slog.Any("error", err))
	}
}

var jsonType = []string{"application/json"} //nolint:gochecknoglobals // a constant

// refuse answers in the language and the form of who asks: with problem+json, or with the page filled in.
func (a *answer) refuse(why *refusal, problems []schemas.Problem) {
	if a.json || wantsJSON(a.r) {
		a.s.writeProblem(a.w, a.r, why, "", problems)
		return
	}
	key := a.sent.key
	if why == &refusedConflict || why == &refusedKey || key == "" {
		key = uuid.NewString()
	}
	retryAfter(a.w.Header(), why)
	a.s.showForm(a.w, a.r, why.status, formState{key: key, why: why, problems: problems, inputs: a.sent.inputs})
}

// refuse answers a request of which no field was read. more, when not empty, says to programs what exactly is wrong.
func (s *Source) refuse(w http.ResponseWriter, r *http.Request, why *refusal, more string) {
	if wantsJSON(r) || sendsNoForm(r) {
		s.writeProblem(w, r, why, more, nil)
		return
	}
	retryAfter(w.Header(), why)
	s.showRefusal(w, r, why)
}

// sendsNoForm says whether a program sends something: JSON, or what no page would send.
func sendsNoForm(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return false
	}
	sent := r.Header.Get("Content-Type")
	return strings.Contains(sent, "json") || !acceptsHTML(r) && !strings.Contains(sent, "form-urlencoded")
}

func acceptsHTML(r *http.Request) bool {
	return strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "text/html")
}

// wantsJSON says whether a program asks: one that accepts JSON and no page.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "json") && !acceptsHTML(r)
}
