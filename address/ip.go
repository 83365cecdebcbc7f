package address

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
)

// maxInterface is IFNAMSIZ, less the zero byte that ends the name (netdevice(7)).
const maxInterface = 15

// checkZone reports a zone that is missing, or that is where the kernel would ignore it: one
// address would then have several spellings.
func checkZone(ip netip.Addr) error {
	zone := ip.Zone()
	linkLocal := ip.Is6() && ip.IsLinkLocalUnicast()
	odd := func(r rune) bool { return r == '/' || r == ':' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	switch {
	case linkLocal && zone == "":
		return fmt.Errorf("a link-local address needs its interface, as in [%s%%eth0]:443", ip)
	case zone != "" && !linkLocal:
		return fmt.Errorf("only a link-local address has a zone, leave out %.40q", "%"+zone)
	case len(zone) > maxInterface || strings.ContainsFunc(zone, odd):
		return fmt.Errorf("zone %.40q is not the name of an interface", zone)
	}
	return nil
}

// checkUnicast reports an address that no TCP connection can have.
func checkUnicast(ip netip.Addr) error {
	switch {
	case ip.IsMulticast():
		return fmt.Errorf("%s is a multicast address, want a unicast one", ip)
	case ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%s is the broadcast address, want a unicast one", ip)
	}
	return nil
}

// CheckServer reports an address that no server can have, whether it was configured or is the
// answer of a name server. A connection to the unspecified address reaches this machine, and so
// most likely the edge itself.
func CheckServer(ip netip.Addr) error {
	switch {
	case !ip.IsValid():
		return errors.New("no address")
	case ip.IsUnspecified() && ip.Is4():
		return fmt.Errorf("%s is no server's address, write 127.0.0.1 for this machine", ip)
	case ip.IsUnspecified():
		return fmt.Errorf("%s is no server's address, write [::1] for this machine", ip)
	}
	if err := checkUnicast(ip); err != nil {
		return err
	}
	return checkZone(ip)
}

// Reaches reports whether a connection to an address arrives at a listener that is bound to
// another, their ports being equal. A listener on 0.0.0.0 takes IPv4 only; one on [::] takes IPv4
// too unless ipv6Only. The addresses of this machine are those that local reports.
func Reaches(to, bound netip.Addr, ipv6Only bool, local func(netip.Addr) bool) bool {
	to, bound = to.Unmap(), bound.Unmap()
	switch {
	case to.IsUnspecified() && to.Is4(): // as the kernel has it
		to = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case to.IsUnspecified():
		to = netip.IPv6Loopback()
	}
	switch {
	case bound.IsUnspecified():
		return (to.Is4() == bound.Is4() || bound.Is6() && !ipv6Only) && local(to)
	case to.Zone() != "" && bound.Zone() != "" && to.Zone() != bound.Zone():
		return false
	}
	return to.WithZone("") == bound.WithZone("")
}

// Overlap reports whether the kernel refuses to bind two listeners at once, as far as the addresses
// tell. The unspecified IPv6 address can be bound for IPv6 only, and so beside IPv4 addresses;
// ":443" is always for both.
func Overlap(a, b Address) bool {
	if a.Port != b.Port || a.Port == 0 {
		return false // port 0 is another port each time
	}
	if a == b || a.isAny() || b.isAny() {
		return true
	}
	if !a.IP.IsValid() || !b.IP.IsValid() || a.IP.Is4() != b.IP.Is4() {
		return false // a name may be of any address
	}
	return a.IP.IsUnspecified() || b.IP.IsUnspecified()
}
