package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
)

// defaultRate is how many requests a second an address may make.
const defaultRate = 1000

// guard lets through who may do what a request wants, and writes a line of each change.
func (a *API) guard() func(http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			need := needed(r)
			who, err := a.caller(r)
			if need == None { // who asks is only told less
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
				return
			}
			if p := a.refusal(r, need, who, err, origins); p != nil {
				a.refuse(w, r, p, who)
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
			if need == Read {
				next.ServeHTTP(w, r)
				return
			}
			seen := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			next.ServeHTTP(seen, r)
			a.audit(r, who, seen.Status(), slog.String("job", seen.Header().Get("Location")))
		})
	}
}

// refusal says why a request is refused; nil: it is not.
func (a *API) refusal(r *http.Request, need Right, who Caller, err error, origins *http.CrossOriginProtection) *ProblemError {
	if err != nil {
		if p, ok := errors.AsType[*ProblemError](err); ok {
			return p
		}
		return problem(http.StatusServiceUnavailable, "ACQ-API-015", err.Error(), "try again when the provider of the tokens answers")
	}
	if who.Right == None {
		return unauthorized("from " + r.RemoteAddr + " a token is needed")
	}
	if who.Right < need {
		return problem(http.StatusForbidden, "ACQ-API-016", fmt.Sprintf("%s may %s, and this needs %s", who.Name, who.Right, need), "use a token with the right "+need.String())
	}
	if err := origins.Check(r); err != nil && r.Header.Get("Authorization") == "" {
		return problem(http.StatusForbidden, "ACQ-API-017", "a page of another site asks", "ask from a program, or from a page of acequia")
	}
	return nil
}

func (a *API) refuse(w http.ResponseWriter, r *http.Request, p *ProblemError, who Caller) {
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="acequia"`)
	}
	writeProblem(w, r, p)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		a.audit(r, who, p.Status, slog.String("refused", p.Code))
	}
}

// audit writes the line of a change, or of an attempt at one.
func (a *API) audit(r *http.Request, who Caller, status int, more slog.Attr) {
	a.Log.InfoContext(r.Context(), "audit", slog.String("who", who.Name), slog.String("right", who.Right.String()), slog.String("from", r.RemoteAddr),
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", status), more)
}

// limited bounds how often an address may ask for what needs a right: forms and probes are for everybody, as often as they like.
func (a *API) limited() func(http.Handler) http.Handler {
	rate := a.Access.Rate
	if rate <= 0 {
		rate = defaultRate
	}
	limit := httprate.LimitBy(rate, time.Second, peerKey, httprate.WithLimitHandler(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, r, problem(http.StatusTooManyRequests, "ACQ-API-018", "this address asks too often", "ask again after the seconds of Retry-After, or raise api.rate"))
	}))
	return func(next http.Handler) http.Handler {
		bounded := limit(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if needed(r) == None {
				next.ServeHTTP(w, r)
				return
			}
			bounded.ServeHTTP(w, r)
		})
	}
}

// peerKey is by which the requests of an address are counted: the peer's own, whatever a header says; of IPv6 its network.
func peerKey(r *http.Request) (string, error) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // what has no port is the address
	return httprate.CanonicalizeIP(cmp.Or(host, r.RemoteAddr)), nil
}
