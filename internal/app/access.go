package app

import (
	"cmp"

	"github.com/acequia-io/acequia/internal/api"
)

// access is who may use the API, as the files say.
func (p *Project) access() api.Access {
	out := api.Access{Rate: p.API.Rate}
	for _, t := range p.API.Tokens {
		out.Tokens = append(out.Tokens, api.Token{Name: t.Name, Secret: string(t.Token), Right: api.RightOf(cmp.Or(t.Rights, "operate"))})
	}
	for _, n := range p.API.Trusted {
		out.Trusted = append(out.Trusted, n.Prefix)
	}
	if o := p.API.OIDC; o != nil {
		out.Verify = &api.OIDC{Issuer: o.Issuer, Audience: o.Audience, Claim: cmp.Or(o.Claim, "acequia")}
	}
	return out
}
