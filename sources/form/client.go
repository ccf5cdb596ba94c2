package form

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// client gives the address that a request comes from. X-Forwarded-For is believed from the right, as far as trusted
// proxies have written it.
func (s *Source) client(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	client := peer.Addr().Unmap().WithZone("")
	if !s.trusted(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(hops) {
		hop, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return client
		}
		if client = hop.Unmap().WithZone(""); !s.trusted(client) {
			return client
		}
	}
	return client
}

func (s *Source) trusted(a netip.Addr) bool {
	for _, p := range s.proxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// tooMany counts a request and says whether its client has sent too many this minute. An IPv6 client is its /64: whoever
// has one address there has all of them.
func (s *Source) tooMany(w http.ResponseWriter, r *http.Request) bool {
	if s.limit == nil {
		return false
	}
	a := s.client(r)
	if a.IsLoopback() {
		return false
	}
	key := a.String()
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			key = p.String()
		}
	}
	return s.limit.OnLimit(w, r, key)
}
