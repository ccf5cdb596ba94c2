package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestHealth asks one server that lives and is not ready, and one that answers too late.
func TestHealth(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("pipeline games: failed\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}))
	t.Cleanup(s.Close)
	hung := make(chan struct{})
	late := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hung }))
	t.Cleanup(func() { close(hung); late.Close() })
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--url", s.URL}, exitOK, "/livez 200\nok\n"},
		{[]string{"--url", s.URL + "/", "--ready"}, exitEnvironment, "/readyz 503\npipeline games: failed\n"},
		{[]string{"--url", s.URL, "--ready", "--json"}, exitEnvironment, `"status": 503`},
		{[]string{"--url", late.URL, "--timeout", "50ms"}, exitEnvironment, "ACQ-ENV-004"},
	} {
		var out, wrong bytes.Buffer
		began := time.Now()
		code := execute(t.Context(), append([]string{"health"}, c.args...), terminal{out: &out, err: &wrong})
		if code != c.code || !strings.Contains(out.String()+wrong.String(), c.want) {
			t.Errorf("%v: %d after %v\n%s%s", c.args, code, time.Since(began), out.String(), wrong.String())
		}
	}
}
