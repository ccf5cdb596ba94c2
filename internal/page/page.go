// Package page is the frame of every HTML page: layout, style, language, security headers.
package page

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/text/language"
)

// Page is what the frame needs to know of a page.
type Page struct {
	Title   string
	Lang    string // "es" or "en"
	Path    string // path and query of the request, for the language switch
	Refresh int    // seconds after which the page is loaded again, for readers without JavaScript; 0: never
	Letters string // how many dead letters there are; "": no link leads to them
}

// Of gives the frame's data for a request.
func Of(r *http.Request, title string) Page {
	return Page{Title: title, Lang: Language(r), Path: r.URL.RequestURI(), Letters: lettersOf(r.Context())}
}

// cookieName holds the language that was chosen with the switch.
const cookieName = "lang"

//nolint:gochecknoglobals // a constant: what can be spoken, the first when nothing fits
var spoken = language.NewMatcher([]language.Tag{language.English, language.Spanish})

// Language is the language of the answer: the switch's (?lang=), else the cookie's, else the best of Accept-Language,
// else English.
func Language(r *http.Request) string {
	if lang := switched(r); lang != "" {
		return lang
	}
	if c, err := r.Cookie(cookieName); err == nil && known(c.Value) {
		return c.Value
	}
	header := r.Header.Get("Accept-Language")
	if header == "" {
		return "en"
	}
	wanted, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return "en"
	}
	if _, i, confidence := spoken.Match(wanted...); i == 1 && confidence > language.No {
		return "es"
	}
	return "en"
}

func known(lang string) bool { return lang == "es" || lang == "en" }

// switched gives the language of the switch, or "".
func switched(r *http.Request) string {
	if !strings.Contains(r.URL.RawQuery, "lang=") {
		return ""
	}
	if lang := r.URL.Query().Get("lang"); known(lang) {
		return lang
	}
	return ""
}

// policy lets nothing run or load but our own files: there is no inline script or style.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// frameHeaders have canonical names and are set as they are, so that a busy form makes none of them anew for each request.
// Nobody may change the values.
//
//nolint:gochecknoglobals // a constant table
var frameHeaders = []struct {
	name  string
	value []string
}{
	{"Content-Security-Policy", []string{policy}},
	{"X-Content-Type-Options", []string{"nosniff"}},
	{"Referrer-Policy", []string{"same-origin"}},
	{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
	{"Permissions-Policy", []string{"camera=(), geolocation=(), microphone=()"}},
}

// Frame sets the headers of every page and remembers a language that was switched to. The referrer policy keeps the
// origin of our own posts, which the check of cross-origin posts needs.
func Frame(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		for i := range frameHeaders {
			h[frameHeaders[i].name] = frameHeaders[i].value
		}
		h.Add("Vary", "Accept-Language, Cookie")
		if lang := switched(r); lang != "" {
			http.SetCookie(w, &http.Cookie{ //nolint:gosec // not secret, and it must work over plain HTTP on localhost
				Name: cookieName, Value: lang, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode,
			})
		}
		next.ServeHTTP(w, r)
	})
}

// switchTo gives the address of the same page in another language, on this host whatever the path.
func (p Page) switchTo(lang string) string {
	u, err := url.ParseRequestURI(p.Path)
	if err != nil {
		return "?lang=" + lang
	}
	q := u.Query()
	q.Set("lang", lang)
	return "/" + strings.TrimLeft(u.EscapedPath(), "/") + "?" + q.Encode()
}

// here says whether a link of the navigation leads to this page. The home page is the form.
func (p Page) here(path string) bool {
	at, _, _ := strings.Cut(p.Path, "?")
	return strings.HasPrefix(at, path) || path == formPath && at == "/"
}

// formPath leads to the form.
const formPath = "/forms/"

// T gives the text of the page's language.
func (p Page) T(es, en string) string {
	if p.Lang == "es" {
		return es
	}
	return en
}
