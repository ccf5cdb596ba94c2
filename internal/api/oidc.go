package api

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

// oidcTime bounds a question to the provider.
const oidcTime = 10 * time.Second

// OIDC takes the tokens of an OpenID Connect provider, which is asked for its keys when the first comes.
type OIDC struct {
	Issuer, Audience string
	Claim            string // that holds read, operate or admin, or a list with one of them

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil: the provider has not answered yet
}

var _ Verifier = (*OIDC)(nil)

// Verify checks signature, issuer, audience and time of a token (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation).
func (o *OIDC) Verify(ctx context.Context, token string) (Caller, error) {
	ctx, cancel := context.WithTimeout(ctx, oidcTime)
	defer cancel()
	verifier, err := o.provider(ctx)
	if err != nil {
		return Caller{}, err
	}
	known, err := verifier.Verify(ctx, token)
	if err != nil {
		return Caller{}, unauthorized("the token is not taken: " + err.Error())
	}
	claims := map[string]any{}
	if err := known.Claims(&claims); err != nil {
		return Caller{}, unauthorized("the claims of the token cannot be read: " + err.Error())
	}
	text := func(name string) string { s, _ := claims[name].(string); return s }
	who := Caller{Name: cmp.Or(text("preferred_username"), text("email"), known.Subject)}
	switch held := claims[o.Claim].(type) {
	case string:
		who.Right = RightOf(held)
	case []any:
		for _, one := range held {
			name, _ := one.(string)
			who.Right = max(who.Right, RightOf(name))
		}
	}
	if who.Right == None {
		return who, problem(http.StatusForbidden, "ACQ-API-016", who.Name+" has no rights here: the claim "+o.Claim+" of the token holds none",
			"have the provider put read, operate or admin there")
	}
	return who, nil
}

// provider asks for the description of the provider once; one that does not answer is asked again by the next token.
func (o *OIDC) provider(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.verifier != nil {
		return o.verifier, nil
	}
	// The context of the provider is kept for later questions: it must not end with this request.
	client := &http.Client{Timeout: oidcTime}
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), client), o.Issuer)
	if err != nil {
		return nil, err
	}
	o.verifier = p.Verifier(&oidc.Config{ClientID: o.Audience})
	return o.verifier, nil
}
