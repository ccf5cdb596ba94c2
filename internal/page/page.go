// Package page is the frame of every HTML page: layout, style, language, security headers.
package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/text/language"
)

//go:embed static
var static embed.FS

// Page is what the frame needs to know of a page.
type Page struct {
	Title   string
	Lang    string // "es" or "en"
	Path    string // path and query of the request, for the language switch
	Refresh int    // seconds after which the page is loaded again, for readers without JavaScript; 0: never
}

// Of gives the frame's data for a request.
func Of(r *http.Request, title string) Page {
	return Page{Title: title, Lang: Language(r), Path: r.URL.RequestURI()}
}

// cookieName holds the language that was chosen with the switch.
const cookieName = "lang"

// Language is the language of the answer: the switch's (?lang=), else the cookie's, else the best of Accept-Language,
// else English.
func Language(r *http.Request) string {
	if lang := r.URL.Query().Get("lang"); lang == "es" || lang == "en" {
		return lang
	}
	if c, err := r.Cookie(cookieName); err == nil && (c.Value == "es" || c.Value == "en") {
		return c.Value
	}
	matcher := language.NewMatcher([]language.Tag{language.English, language.Spanish})
	wanted, _, err := language.ParseAcceptLanguage(r.Header.Get("Accept-Language"))
	if err != nil {
		return "en"
	}
	if _, i, confidence := matcher.Match(wanted...); i == 1 && confidence > language.No {
		return "es"
	}
	return "en"
}

// Frame sets the headers of every page and remembers a language that was switched to. default-src 'none' means that
// nothing runs or loads but our own files: there is no inline script or style.
func Frame(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Add("Vary", "Accept-Language, Cookie")
		if lang := r.URL.Query().Get("lang"); lang == "es" || lang == "en" {
			http.SetCookie(w, &http.Cookie{
				Name: cookieName, Value: lang, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteLaxMode,
			})
		}
		next.ServeHTTP(w, r)
	})
}

// StaticPath is where Static is to be mounted.
const StaticPath = "/static/"

// Asset gives the address of a static file, with a hash of its content, so that it may be kept for ever.
func Asset(name string) string {
	text, err := static.ReadFile("static/" + name)
	if err != nil {
		return StaticPath + name
	}
	sum := sha256.Sum256(text)
	return StaticPath + name + "?v=" + hex.EncodeToString(sum[:6])
}

// Static serves the files that Asset names.
func Static() http.Handler {
	files := http.FileServerFS(static)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		if r.URL.Query().Has("v") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		files.ServeHTTP(w, r)
	})
}

// switchTo gives the address of the same page in another language.
func (p Page) switchTo(lang string) string {
	u, err := url.Parse(p.Path)
	if err != nil {
		return "?lang=" + lang
	}
	q := u.Query()
	q.Set("lang", lang)
	return u.Path + "?" + q.Encode()
}

// here says whether a link of the navigation leads to this page.
func (p Page) here(path string) bool { return strings.HasPrefix(p.Path, path) }

// T gives the text of the page's language.
func (p Page) T(es, en string) string {
	if p.Lang == "es" {
		return es
	}
	return en
}
