package api_test

import (
	"bytes"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/acequia-io/acequia/internal/api"
)

// issuer is an OpenID Connect provider, as far as who verifies tokens asks it.
type issuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	mux := http.NewServeMux()
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(v) }
	}
	mux.Handle("/.well-known/openid-configuration", answer(map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL, "token_endpoint": i.URL, "id_token_signing_alg_values_supported": []string{"RS256"},
	}))
	mux.Handle("/keys", answer(map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes()),
	}}}))
	return i
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token signs claims (RFC 7515, RS256).
func (i *issuer) token(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	all := map[string]any{"iss": i.URL, "aud": "acequia", "sub": "7", "email": "ana@example.org", "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed := b64([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + b64(text)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(signature)
}

// forged are tokens that nobody with the key has signed.
func (i *issuer) forged(t *testing.T) map[string]string {
	t.Helper()
	right := strings.Split(i.token(t, i.key, map[string]any{"roles": "admin"}), ".")
	public, err := x509.MarshalPKIXPublicKey(i.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	symmetric := b64([]byte(`{"alg":"HS256","kid":"1"}`)) + "." + right[1]
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	mac.Write([]byte(symmetric))
	return map[string]string{
		"alg none":                           b64([]byte(`{"alg":"none"}`)) + "." + right[1] + ".",
		"alg none, and a signature":          b64([]byte(`{"alg":"none","kid":"1"}`)) + "." + right[1] + "." + right[2],
		"the public key as a secret (HS256)": symmetric + "." + b64(mac.Sum(nil)),
		"no signature":                       right[0] + "." + right[1] + ".",
		"other claims":                       right[0] + "." + strings.Split(i.token(t, i.key, map[string]any{"roles": "admin", "sub": "8"}), ".")[1] + "." + right[2],
		"no token":                           "a.b.c",
	}
}

func TestTokensOfAProvider(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	h := api.New(api.Config{
		Log: slog.New(slog.NewTextHandler(log, nil)), Access: api.Access{Verify: &api.OIDC{Issuer: i.URL, Audience: "acequia", Claim: "roles"}},
	}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for name, c := range map[string]struct {
		key    *rsa.PrivateKey
		claims map[string]any
		want   int
	}{
		"operate":          {i.key, map[string]any{"roles": []string{"x", "read", "operate"}}, 204},
		"a text":           {i.key, map[string]any{"roles": "admin"}, 204},
		"read":             {i.key, map[string]any{"roles": []string{"read"}}, 403},
		"no right":         {i.key, nil, 403},
		"another audience": {i.key, map[string]any{"roles": "admin", "aud": "other"}, 401},
		"another issuer":   {i.key, map[string]any{"roles": "admin", "iss": "http://other"}, 401},
		"too old":          {i.key, map[string]any{"roles": "admin", "exp": time.Now().Add(-time.Hour).Unix()}, 401},
		"no end":           {i.key, map[string]any{"roles": "admin", "exp": nil}, 401},
		"not yet":          {i.key, map[string]any{"roles": "admin", "nbf": time.Now().Add(time.Hour).Unix()}, 401},
		"another's key":    {other, map[string]any{"roles": "admin"}, 401},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/deadletters/retry", http.NoBody)
		r.Header = bearer(i.token(t, c.key, c.claims))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d: %s", name, w.Code, c.want, w.Body)
		}
	}
	for name, token := range i.forged(t) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/deadletters/retry", http.NoBody)
		r.Header = bearer(token)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d, want 401: %s", name, w.Code, w.Body)
		}
	}
	if !bytes.Contains(log.Bytes(), []byte("who=ana@example.org")) {
		t.Errorf("the log does not say who: %s", log)
	}
	away := api.New(api.Config{
		Log: slog.New(slog.DiscardHandler), Access: api.Access{Verify: &api.OIDC{Issuer: "http://127.0.0.1:1", Audience: "acequia", Claim: "roles"}},
	}, http.NotFoundHandler())
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/status", http.NoBody)
	r.Header = bearer(i.token(t, i.key, nil))
	w := httptest.NewRecorder()
	if away.ServeHTTP(w, r); w.Code != http.StatusServiceUnavailable {
		t.Errorf("a provider that is away: %d %s", w.Code, w.Body)
	}
}
