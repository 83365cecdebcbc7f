package backend

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"keyhole/address"
)

// Endpoint is one address of one server. It stays the same object, with its count of connections,
// while the server has the address: refreshes of the name and reloads keep it (see [Pool.Adopt]).
type Endpoint struct {
	AddrPort netip.AddrPort // zero for a Unix socket; never an IPv4-mapped IPv6 address; see At for port 0
	Path     string         // of a Unix socket; empty for any other
	Server   string         // the server's address as configured

	name   string
	hash   uint64       // of the address alone
	active atomic.Int64 // connections picked and not released

	// The outcome of past dials, in nanoseconds. The first two are readings of clock.
	doubtedAt   atomic.Int64 // when a dial timed out; 0: one has connected since
	connectedAt atomic.Int64 // when a dial connected last
	patience    atomic.Int64 // see Patience; 0: nothing is known
}

// String names the endpoint for logs: "10.0.0.5:443", "origin.internal:443 (10.0.0.7:443)",
// "10.0.0.5:listen" or "unix:/run/x.sock".
func (e *Endpoint) String() string { return e.name }

// At returns the address to dial for a client that came in by a listener with that port, which
// counts for servers at the listener's port only.
func (e *Endpoint) At(listener uint16) netip.AddrPort {
	if e.AddrPort.Port() == 0 && e.Path == "" {
		return netip.AddrPortFrom(e.AddrPort.Addr(), listener)
	}
	return e.AddrPort
}

// Release takes back the connection that Pick counted. Call it exactly once for each endpoint that
// Pick returned, also when the dial failed, and also when the address has left the pool.
func (e *Endpoint) Release() { e.active.Add(-1) }

// acquire counts one more connection, unless there are limit already; zero is no limit. It compares
// and swaps: with add-then-check two callers that meet at the last place could both be turned away.
func (e *Endpoint) acquire(limit int64) bool {
	if limit == 0 {
		e.active.Add(1)
		return true
	}
	for {
		n := e.active.Load()
		if n >= limit {
			return false
		}
		if e.active.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// newEndpoint makes the endpoint of s at ap, which is zero for a Unix socket, and has port 0 for the
// port of the listener.
func newEndpoint(s *server, ap netip.AddrPort) *Endpoint {
	e := &Endpoint{AddrPort: ap, Path: s.path, Server: s.configured}
	switch {
	case s.path != "":
		e.name = s.key
	case s.host != "" && s.listen:
		e.name = fmt.Sprintf("%s (%s)", s.configured, ap.Addr())
	case s.host != "":
		e.name = fmt.Sprintf("%s (%s)", s.configured, ap)
	default:
		e.name = address.Address{IP: ap.Addr(), Port: ap.Port(), Listen: s.listen}.String()
	}
	e.hash = hashString(ap.String())
	return e
}
