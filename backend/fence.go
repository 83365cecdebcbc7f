package backend

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"keyhole/address"
)

// A Fence is the set of addresses that a name from a client may lead to.
type Fence struct {
	Public   bool           // addresses of the internet, none of them this machine's
	Networks []netip.Prefix // and these
}

func (f *Fence) equal(o *Fence) bool {
	return f.Public == o.Public && slices.Equal(f.Networks, o.Networks)
}

// check returns why the fence refuses an address, or nil. The addresses of this machine are those
// that own reports; nil: none is known.
func (f *Fence) check(a netip.Addr, own func(netip.Addr) bool) error {
	if address.CheckServer(a) != nil {
		return fmt.Errorf("%s is no address of a server", a)
	}
	for _, p := range f.Networks {
		if p.Contains(a) {
			return nil
		}
	}
	inner := embedded(a)
	switch {
	case !f.Public:
		return errors.New(a.String() + " is in none of the networks in `to`")
	case !isPublic(inner):
		return fmt.Errorf("%s is not a public address", a)
	case own != nil && (own(a) || own(inner)):
		return fmt.Errorf("%s is an address of this machine", a)
	}
	return nil
}

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, s := range texts {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}

// The networks that are not reachable from everywhere, from the registries of RFC 6890
// (iana-ipv4-special-registry, iana-ipv6-special-registry).
var (
	specialIPv4 = prefixes(
		"0.0.0.0/8",        // this network
		"10.0.0.0/8",       // private
		"100.64.0.0/10",    // shared by the customers of a carrier
		"127.0.0.0/8",      // loopback
		"168.63.129.16/32", // Azure's host, as seen by its guests: in no registry
		"169.254.0.0/16",   // link-local, and the metadata of clouds
		"172.16.0.0/12",    // private
		"192.0.0.0/24",     // protocols
		"192.0.2.0/24",     // documentation
		"192.88.99.0/24",   // relays of 6to4
		"192.168.0.0/16",   // private
		"198.18.0.0/15",    // benchmarks
		"198.51.100.0/24",  // documentation
		"203.0.113.0/24",   // documentation
		"224.0.0.0/4",      // multicast
		"240.0.0.0/4",      // reserved, and broadcast
	)

	globalIPv6  = netip.MustParsePrefix("2000::/3") // all that is handed out so far
	specialIPv6 = prefixes(
		"2001::/23",     // protocols: Teredo, which holds an IPv4 address, benchmarks and others
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4, which holds an IPv4 address, and is no longer in use (RFC 7526)
		"3fff::/20",     // documentation
	)

	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// embedded returns the IPv4 address that an address of NAT64 ends in (RFC 6052): a machine without
// IPv4 reaches that through it. Any other address is its own.
func embedded(a netip.Addr) netip.Addr {
	if !nat64.Contains(a) {
		return a
	}
	b := a.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// isPublic reports whether an address, neither mapped nor of NAT64, is one of the internet.
func isPublic(a netip.Addr) bool {
	special := specialIPv4
	if a.Is6() {
		if !globalIPv6.Contains(a) {
			return false
		}
		special = specialIPv6
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
