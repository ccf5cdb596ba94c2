package page_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/page"
)

func TestLanguage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ query, cookie, accept, want string }{
		{"", "", "", "en"},
		{"", "", "es", "es"},
		{"", "", "es-PE,es;q=0.9,en;q=0.8", "es"},
		{"", "", "en-GB,es;q=0.5", "en"},
		{"", "", "ca,es;q=0.8", "es"},
		{"", "", "de,fr", "en"},
		{"", "", "not a language;;", "en"},
		{"", "es", "en", "es"},
		{"", "fr", "es", "es"},
		{"lang=en", "es", "es", "en"},
		{"lang=es&sql=a", "en", "en", "es"},
		{"lang=fr", "", "es", "es"},
		{"slang=es", "", "", "en"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+c.query, nil)
		r.Header.Set("Accept-Language", c.accept)
		if c.cookie != "" {
			r.AddCookie(&http.Cookie{Name: "lang", Value: c.cookie})
		}
		if got := page.Language(r); got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
}

// render gives a page at a path, through the frame.
func render(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	h := page.Frame(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := page.Layout(page.Of(r, "A <title>")).Render(context.Background(), w); err != nil {
			t.Error(err)
		}
	}))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	res := rec.Result()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

func TestFrameRunsNothingForeign(t *testing.T) {
	t.Parallel()
	res, text := render(t, "/query?sql=select+1&lang=es")
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
		t.Errorf("the policy is %s", csp)
	}
	for _, h := range []string{"X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "Vary"} {
		if res.Header.Get(h) == "" {
			t.Errorf("%s is missing", h)
		}
	}
	for _, bad := range []string{"<script>", "<style", "style=", "onclick", "http://", "https://"} {
		if strings.Contains(text, bad) {
			t.Errorf("the frame holds %s", bad)
		}
	}
	cookies := res.Cookies()
	if len(cookies) != 1 || cookies[0].Value != "es" || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode {
		t.Errorf("the switch left %v", cookies)
	}
	for _, want := range []string{
		`<html lang="es">`, "A &lt;title&gt; · acequia", `href="/query?lang=en&amp;sql=select+1"`, `href="/query" aria-current="page"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s:\n%s", want, text)
		}
	}
}

func TestSwitchStaysOnThisHost(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"//evil.example/x": `href="/evil.example/x?lang=en"`,
		"/a%22b":           `href="/a%22b?lang=en"`,
		"/":                `href="/?lang=en"`,
	} {
		res, text := render(t, path)
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(text, want) {
			t.Errorf("%s: no %s in\n%s", path, want, text)
		}
	}
}

func TestStaticFilesAreKeptByTheirHash(t *testing.T) {
	t.Parallel()
	for address, c := range map[string]struct {
		status int
		kept   bool
	}{
		page.Asset("style.css"):        {http.StatusOK, true},
		page.Asset("icon.svg"):         {http.StatusOK, true},
		"/static/style.css?v=old":      {http.StatusOK, false},
		"/static/style.css":            {http.StatusOK, false},
		"/static/":                     {http.StatusNotFound, false},
		"/static/../page.go":           {http.StatusNotFound, false},
		page.Asset("nothing-here.css"): {http.StatusNotFound, false},
	} {
		rec := httptest.NewRecorder()
		page.Static().ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil))
		kept := strings.Contains(rec.Header().Get("Cache-Control"), "immutable")
		if rec.Code != c.status || kept != c.kept {
			t.Errorf("%s: %d, kept %t", address, rec.Code, kept)
		}
	}
}
