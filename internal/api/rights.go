package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Right is what somebody may do; each holds those before it.
type Right int

// The rights.
const (
	None    Right = iota
	Read          // looks
	Operate       // begins and cancels jobs, mends dead letters
	Admin         // changes what goes on by itself
)

// RightOf reads the name of a right; None: it is none.
func RightOf(name string) Right {
	switch name {
	case "read":
		return Read
	case "operate":
		return Operate
	case "admin":
		return Admin
	}
	return None
}

// String names it.
func (r Right) String() string { return [...]string{"none", "read", "operate", "admin"}[r] }

// Access says who may do what. This machine may do all.
type Access struct {
	Tokens  []Token
	Trusted []netip.Prefix // may operate without a token
	Verify  Verifier       // nil: no tokens but those
	Rate    int            // requests a second and address; 0: 1000
}

// Token is a bearer token.
type Token struct {
	Name, Secret string
	Right        Right
}

// Verifier says whose a token is, and what it may do: a *ProblemError where it is nobody's.
type Verifier interface {
	Verify(ctx context.Context, token string) (Caller, error)
}

// Caller is who makes a request.
type Caller struct {
	Name  string
	Right Right
}

type callerKey struct{}

// callerOf gives who makes the request of a context; nobody, outside of one.
func callerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// needed is the right that a request needs.
func needed(r *http.Request) Right {
	path := r.URL.Path
	switch {
	case path == "/" || path == "/livez" || path == "/readyz" || path == "/health" || path == "/openapi.json" || path == "/openapi.yaml" || path == "/docs",
		path == "/forms", strings.HasPrefix(path, "/forms/"), strings.HasPrefix(path, "/static/"), strings.HasPrefix(path, "/web/"):
		return None // forms are for whoever is to fill them in
	case r.Method == http.MethodGet || r.Method == http.MethodHead || path == "/query" || path == "/query.csv":
		return Read
	case strings.HasPrefix(path, "/v1/schedules/") && !strings.HasSuffix(path, "/run"):
		return Admin
	}
	return Operate
}

// caller finds who makes a request. A token that is sent must be right, wherever it comes from.
func (a *API) caller(r *http.Request) (Caller, error) {
	if header := r.Header.Get("Authorization"); header != "" {
		token, ok := strings.CutPrefix(header, "Bearer ")
		if !ok {
			return Caller{}, unauthorized("the Authorization header holds no bearer token")
		}
		return a.holder(r.Context(), strings.TrimSpace(token))
	}
	address, _ := netip.ParseAddrPort(r.RemoteAddr)
	peer := address.Addr().Unmap()
	if !peer.IsValid() { // who comes from no address is nobody
		return Caller{}, nil
	}
	if own(r, peer) && !forwarded(r) && localName(r.Host) {
		return Caller{"this machine", Admin}, nil
	}
	for _, network := range a.Access.Trusted {
		if network.Contains(peer) {
			return Caller{"network " + network.String(), Operate}, nil
		}
	}
	return Caller{}, nil
}

// holder finds whose a token is. All are compared, so that time tells nothing of them.
func (a *API) holder(ctx context.Context, token string) (Caller, error) {
	sum := sha256.Sum256([]byte(token))
	var found Caller
	for _, t := range a.Access.Tokens {
		known := sha256.Sum256([]byte(t.Secret))
		if subtle.ConstantTimeCompare(sum[:], known[:]) == 1 && t.Secret != "" {
			found = Caller{t.Name, t.Right}
		}
	}
	if found.Right != None || a.Access.Verify == nil {
		if found.Right == None {
			return Caller{}, unauthorized("the token is nobody's")
		}
		return found, nil
	}
	return a.Access.Verify.Verify(ctx, token)
}

// own says whether a request comes from this machine: over the loopback, or from the address that it was sent to.
func own(r *http.Request, peer netip.Addr) bool {
	if peer.IsLoopback() {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap() == peer
}

// forwarded says whether a proxy sends the request for somebody else.
func forwarded(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// localName says whether a request was meant for this machine: a page elsewhere can have a name of its own lead here, and its browser would
// then ask as this machine does.
func localName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	_, err = netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil // an address cannot be made to lead elsewhere
}

func unauthorized(detail string) *ProblemError {
	return problem(http.StatusUnauthorized, "ACQ-API-014", detail, "send Authorization: Bearer with a token that the configuration names under api")
}
