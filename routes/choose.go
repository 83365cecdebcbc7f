package routes

import (
	"iter"
	"net/netip"
)

// claimants are the routes that have a pattern, by index, in the order of the configuration.
func (t *Table) claimants(to target) iter.Seq[int] {
	return func(yield func(int) bool) {
		if to&isShared == 0 {
			yield(int(to & targetMask))
			return
		}
		for _, i := range t.shared[to&targetMask] {
			if !yield(int(i)) {
				return
			}
		}
	}
}

// choose is the route that a pattern gives to a client with these protocols.
func (t *Table) choose(to target, alpn []byte) *Route {
	if to&isOpen != 0 {
		return &t.routes[to&targetMask]
	}
	if to&isShared == 0 {
		r := &t.routes[to]
		if len(r.ALPN) == 0 || r.offered(alpn) {
			return r
		}
		return nil
	}
	return t.chooseShared(t.shared[to&targetMask], alpn)
}

// chooseShared follows the client's order of preference, as a server does that selects a protocol for it (RFC 7301
// section 3.2).
func (t *Table) chooseShared(list []uint32, alpn []byte) *Route {
	for p := range protocols(alpn) {
		for _, i := range list {
			if r := &t.routes[i]; r.lists(p) {
				return r
			}
		}
	}
	for _, i := range list {
		if r := &t.routes[i]; len(r.ALPN) == 0 {
			return r
		}
	}
	return nil
}

// offered reports whether the client offers a protocol of the route.
func (r *Route) offered(alpn []byte) bool {
	for p := range protocols(alpn) {
		if r.lists(p) {
			return true
		}
	}
	return false
}

func (r *Route) lists(protocol []byte) bool {
	for _, p := range r.ALPN {
		if p == string(protocol) {
			return true
		}
	}
	return false
}

// admit applies the route's allow list.
func (r *Route) admit(client netip.Addr) Match {
	if r.allows(client) {
		return Match{Route: r, Outcome: Matched}
	}
	return Match{Route: r, Outcome: Denied}
}

// allows takes a mapped client for the IPv4 client that it is, and a link-local one without its zone: prefixes have
// neither.
func (r *Route) allows(client netip.Addr) bool {
	if len(r.Allow) == 0 {
		return true
	}
	client = client.Unmap().WithZone("")
	for _, p := range r.Allow {
		if p.Contains(client) {
			return true
		}
	}
	return false
}
