package form

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/go-chi/httprate"
	"github.com/google/uuid"

	"github.com/acequia-io/acequia/internal/page"
	"github.com/acequia-io/acequia/schemas"
)

// maxBody is the longest body, in bytes.
const maxBody = 64 << 10

// ServeHTTP answers / and everything below /forms/.
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// protect refuses cross-origin posts and too many requests of one address.
func (s *Source) protect(next http.Handler) http.Handler {
	limiter := httprate.NewRateLimiter(s.config.RatePerMinute, time.Minute,
		httprate.WithKeyFuncs(func(r *http.Request) (string, error) { return s.client(r).String(), nil }),
		httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
			s.refuse(w, r, http.StatusTooManyRequests, "too_many_requests", "")
		}))
	limited := limiter.Handler(next)
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || s.client(r).IsLoopback() {
			next.ServeHTTP(w, r)
			return
		}
		limited.ServeHTTP(w, r)
	}))
}

// client gives the address that a request comes from: the last of X-Forwarded-For that no trusted proxy added.
func (s *Source) client(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && s.trusts(at); i-- {
		before, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		at = before
	}
	return at.Unmap()
}

func (s *Source) trusts(at netip.Addr) bool {
	for _, p := range s.config.TrustedProxies {
		if p.Contains(at.Unmap()) {
			return true
		}
	}
	return false
}

// Path is the address of the form.
func (s *Source) Path() string { return "/forms/" + s.config.Table.Name }

func (s *Source) route(w http.ResponseWriter, r *http.Request) {
	id, inside := strings.CutPrefix(r.URL.Path, s.Path()+"/")
	home := r.URL.Path == "/" || r.URL.Path == "/forms/" || r.URL.Path == s.Path()
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case home && read:
		s.render(w, r, http.StatusOK, s.page(formView{frame: page.Of(r, s.title(r)), key: uuid.NewString()}))
	case r.URL.Path == s.Path() && r.Method == http.MethodPost:
		s.post(w, r)
	case inside && id != "" && read:
		s.show(w, r, id)
	case home, inside:
		allowed := "GET, HEAD"
		if r.URL.Path == s.Path() {
			allowed += ", POST"
		}
		w.Header().Set("Allow", allowed)
		s.refuse(w, r, http.StatusMethodNotAllowed, "method_not_allowed", "")
	default:
		s.refuse(w, r, http.StatusNotFound, "not_found", "")
	}
}

func (s *Source) title(r *http.Request) string { return s.config.Table.Title.In(page.Language(r)) }

// wantsJSON says whether the answer is for a program.
func wantsJSON(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	accept := r.Header.Get("Accept")
	return kind == "application/json" || strings.Contains(accept, "json") && !strings.Contains(accept, "text/html")
}

// post registers one record.
func (s *Source) post(w http.ResponseWriter, r *http.Request) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	decode := decodeJSON
	switch kind {
	case "application/json":
	case "application/x-www-form-urlencoded":
		decode = decodePage
	default:
		s.refuse(w, r, http.StatusUnsupportedMediaType, "unsupported_media_type", "")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		s.refuse(w, r, http.StatusRequestEntityTooLarge, "too_large", "")
		return
	}
	var e *entry
	if err == nil {
		e, err = decode(s.config.Table, body)
	}
	if err != nil {
		s.refuse(w, r, http.StatusBadRequest, "unreadable", err.Error())
		return
	}
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		key = e.key
	}
	if !validKey(key) || e.trap {
		s.refuse(w, r, http.StatusBadRequest, "bad_key", "")
		return
	}
	values := make([]schemas.Value, len(s.config.Table.Fields))
	now := time.Now()
	problems := append(s.config.Table.Check(e.inputs, values, now), e.unknown...)
	if len(problems) > 0 {
		s.explain(w, r, e, problems)
		return
	}
	s.register(w, r, &submission{values: values, key: key, hash: hashOf(values), at: now.UnixMicro(), done: make(chan error, 1)})
}

// register waits until the record is durable, and only then says so.
func (s *Source) register(w http.ResponseWriter, r *http.Request, sub *submission) {
	made, err := uuid.NewV7()
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, "unavailable", "")
		return
	}
	sub.id = made.String()
	for i := range s.config.Table.Fields {
		if s.config.Table.Fields[i].Generated {
			sub.values[i] = schemas.Value{Set: true, Text: []byte(sub.id)}
		}
	}
	id, err := s.once(context.WithoutCancel(r.Context()), sub)
	switch {
	case errors.Is(err, errOtherBody):
		s.refuse(w, r, http.StatusConflict, "key_reused", "")
		return
	case err != nil:
		s.log.Warn("form: a record could not be made durable", "error", err.Error())
		s.refuse(w, r, http.StatusServiceUnavailable, "unavailable", "")
		return
	}
	at := s.Path() + "/" + id
	w.Header().Set("Location", at)
	if !wantsJSON(r) {
		w.WriteHeader(http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"id":"`+id+`"}`+"\n")
}

// show gives a registered record, as a page or as JSON.
func (s *Source) show(w http.ResponseWriter, r *http.Request, id string) {
	item, found, err := s.items.Get(r.Context(), s.config.Table.Name, id)
	switch {
	case err != nil:
		s.refuse(w, r, http.StatusServiceUnavailable, "unavailable", "")
		return
	case !found || item.Deleted:
		s.refuse(w, r, http.StatusNotFound, "not_found", "")
		return
	case wantsJSON(r):
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(item.Doc)
		return
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(item.Doc, &doc); err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, "unavailable", "")
		return
	}
	v := registeredView{frame: page.Of(r, s.config.Table.Noun.In(page.Language(r))), table: s.config.Table, id: id}
	for i := range s.config.Table.Fields {
		f := &s.config.Table.Fields[i]
		v.facts = append(v.facts, fact{f.Label.In(v.frame.Lang), shownValue(f, doc[f.Name], v.frame.Lang)})
	}
	s.render(w, r, http.StatusOK, registeredPage(v))
}

// shownValue is a stored value as a person reads it.
func shownValue(f *schemas.Field, raw json.RawMessage, lang string) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	if label := f.OptionLabel(text, lang); label != "" {
		return label
	}
	return text
}
