package address

import (
	"net/netip"
	"strings"
)

// LeadsTo reports whether a connection to a server's address arrives at a listener, as far as the
// addresses tell: other names than localhost are resolved later. With ipv6Only the listener takes no
// IPv4 on [::]. A server at the port of the listener may be at any.
func LeadsTo(server, listener Address, ipv6Only bool) bool {
	switch {
	case server.SNI: // known for a connection only
		return false
	case !server.Listen && (server.Port != listener.Port || server.Port == 0):
		return false
	}
	if server.Name != "" && strings.TrimSuffix(server.Name, ".") == strings.TrimSuffix(listener.Name, ".") {
		return true
	}
	for _, to := range server.known() {
		for _, bound := range listener.bound() {
			if Reaches(to, bound, ipv6Only, netip.Addr.IsLoopback) {
				return true
			}
		}
	}
	return false
}

// bound returns the addresses that a listener is bound to, as far as they are known.
func (a Address) bound() []netip.Addr {
	if a.isAny() {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	return a.known()
}

// known returns the IP addresses that an address has, as far as they are known.
func (a Address) known() []netip.Addr {
	switch {
	case a.IP.IsValid():
		return []netip.Addr{a.IP}
	case strings.TrimSuffix(a.Name, ".") == "localhost":
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return nil
}
