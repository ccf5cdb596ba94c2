package config

import (
	"fmt"
	"net/netip"
)

// API says who may use the control API from elsewhere than this machine.
type API struct {
	Tokens  []Token   `yaml:"tokens" doc:"Bearer tokens. Without one, or OIDC, only this machine is let in."`
	OIDC    *OIDC     `yaml:"oidc" doc:"An OpenID Connect provider whose tokens are taken."`
	Trusted []Network `yaml:"trusted_networks" doc:"Networks, as 172.18.0.0/16, that may operate without a token: whoever is in them."`
	Rate    int       `yaml:"rate" doc:"Requests a second that one address may make; default 1000."`
}

// Token is a bearer token.
type Token struct {
	Name   string `yaml:"name" required:"true" doc:"Who has it: jobs and the log name it."`
	Token  Secret `yaml:"token" required:"true" doc:"The token, as ${env:NAME} or ${file:/path}."`
	Rights string `yaml:"rights" enum:"read,operate,admin" doc:"read: looks; operate (default): begins and cancels jobs, mends dead letters; admin: pauses schedules too."`
}

// OIDC is an OpenID Connect provider.
type OIDC struct {
	Issuer   string `yaml:"issuer" required:"true" doc:"Its URL, below which /.well-known/openid-configuration is."`
	Audience string `yaml:"audience" required:"true" doc:"What aud of a token must have."`
	Claim    string `yaml:"claim" doc:"The claim that holds read, operate or admin, or a list with one of them; default acequia."`
}

// Network is a range of addresses, smaller than all of them.
type Network struct{ netip.Prefix }

// UnmarshalText reads a network.
func (n *Network) UnmarshalText(text []byte) error {
	p, err := netip.ParsePrefix(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is no network: want one such as 172.18.0.0/16", text)
	case p.Bits() == 0:
		return fmt.Errorf("%q is everybody: name the network that is trusted", text)
	}
	n.Prefix = p.Masked()
	return nil
}
