package api_test

import (
	"bytes"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/acequia-io/acequia/internal/api"
)

// guarded is an API before pages that answer all that reaches them.
func guarded(log *bytes.Buffer, rate int) http.Handler {
	return api.New(api.Config{
		Log: slog.New(slog.NewTextHandler(log, nil)),
		Access: api.Access{
			Tokens: []api.Token{
				{Name: "grafana", Secret: "r-token", Right: api.Read},
				{Name: "deploy", Secret: "o-token", Right: api.Operate},
				{Name: "root", Secret: "a-token", Right: api.Admin},
				{Name: "empty", Secret: "", Right: api.Admin},
			},
			Trusted: []netip.Prefix{netip.MustParsePrefix("172.18.0.0/16")}, Rate: rate,
		},
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	const looks, begins, rules, fills = "GET /v1/status", "POST /deadletters/retry", "POST /v1/schedules/sync/of-the-pages", "POST /forms/videogames"
	for name, c := range map[string]struct {
		from, host string
		header     http.Header
		want       map[string]int // 204: it got through
	}{
		"this machine": {"127.0.0.1:5000", "localhost:3006", nil, map[string]int{looks: 204, begins: 204, rules: 204, fills: 204}},
		"IPv6":         {"[::1]:5000", "[::1]:3006", nil, map[string]int{looks: 204, begins: 204, rules: 204}},
		"elsewhere":    {"192.0.2.7:5000", "acequia:3006", nil, map[string]int{looks: 401, begins: 401, rules: 401, fills: 204}},
		"a name that leads here": {
			"127.0.0.1:5000", "evil.example:3006", nil, map[string]int{looks: 401, begins: 401},
		},
		"a proxy on this machine":           {"127.0.0.1:5000", "localhost:3006", http.Header{"X-Forwarded-For": {"192.0.2.7"}}, map[string]int{looks: 401, begins: 401}},
		"a page of another site":            {"127.0.0.1:5000", "localhost:3006", http.Header{"Sec-Fetch-Site": {"cross-site"}}, map[string]int{looks: 204, begins: 403, rules: 403}},
		"a trusted network":                 {"172.18.3.4:5000", "api:3006", nil, map[string]int{looks: 204, begins: 204, rules: 403}},
		"beside it":                         {"172.19.3.4:5000", "api:3006", nil, map[string]int{looks: 401, begins: 401}},
		"a mapped address of it":            {"[::ffff:172.18.3.4]:5000", "api:3006", nil, map[string]int{looks: 204}},
		"token to read":                     {"192.0.2.7:5000", "h", bearer("r-token"), map[string]int{looks: 204, begins: 403, rules: 403}},
		"token to operate":                  {"192.0.2.7:5000", "h", bearer("o-token"), map[string]int{looks: 204, begins: 204, rules: 403}},
		"token to rule":                     {"192.0.2.7:5000", "h", bearer("a-token"), map[string]int{looks: 204, begins: 204, rules: 204}},
		"a wrong token, from here":          {"127.0.0.1:5000", "localhost", bearer("x"), map[string]int{looks: 401, begins: 401}},
		"an empty token":                    {"192.0.2.7:5000", "h", bearer(""), map[string]int{looks: 401}},
		"a password":                        {"192.0.2.7:5000", "h", http.Header{"Authorization": {"Basic cm9vdDphLXRva2Vu"}}, map[string]int{looks: 401}},
		"a wrong token, of a trusted place": {"172.18.3.4:5000", "h", bearer("x"), map[string]int{looks: 401}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, want := range c.want {
				log := &bytes.Buffer{}
				method, path, _ := strings.Cut(what, " ")
				r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
				r.RemoteAddr, r.Host = c.from, c.host
				maps.Copy(r.Header, c.header)
				w := httptest.NewRecorder()
				guarded(log, 0).ServeHTTP(w, r)
				if w.Code != want {
					t.Errorf("%s: %d, want %d: %s", what, w.Code, want, w.Body)
				}
				if w.Code >= 400 && (w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "ACQ-API-0")) {
					t.Errorf("%s: no problem: %s", what, w.Body)
				}
				if audited := strings.Contains(log.String(), "msg=audit"); audited != (method == http.MethodPost && what != fills) {
					t.Errorf("%s: audit %v: %s", what, audited, log)
				}
				if strings.Contains(log.String(), "token") && strings.Contains(log.String(), "-token") {
					t.Errorf("the log holds a token: %s", log)
				}
			}
		})
	}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestRequestsAreLimited(t *testing.T) {
	t.Parallel()
	h := guarded(&bytes.Buffer{}, 5)
	ask := func(from string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", http.NoBody)
		r.RemoteAddr, r.Host = from, "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	refused := 0
	for range 30 {
		if w := ask("127.0.0.1:1"); w.Code == http.StatusTooManyRequests {
			refused++
			if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "ACQ-API-018") {
				t.Error(w.Header(), w.Body)
			}
		}
	}
	if refused < 10 {
		t.Errorf("%d of 30 requests in a moment were refused, with 5 a second", refused)
	}
	if w := ask("[::1]:1"); w.Code != http.StatusNoContent {
		t.Errorf("another address is refused: %d", w.Code)
	}
}

// Who asks in Spanish is told in Spanish; the code stays.
func TestProblemsInSpanish(t *testing.T) {
	t.Parallel()
	for language, want := range map[string]string{"es-PE,es;q=0.9": "Hace falta un token válido", "en": "from 192.0.2.7:1 a token is needed", "": "a token is needed"} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", http.NoBody)
		r.RemoteAddr = "192.0.2.7:1"
		r.Header.Set("Accept-Language", language)
		w := httptest.NewRecorder()
		guarded(&bytes.Buffer{}, 0).ServeHTTP(w, r)
		if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), want) || !strings.Contains(w.Body.String(), `"ACQ-API-014"`) {
			t.Errorf("%q: %d %s", language, w.Code, w.Body)
		}
	}
}
