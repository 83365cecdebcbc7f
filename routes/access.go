package routes

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/gaissmai/bart"
)

// Access says which client addresses a route lets in. Of the networks that an address is in, the
// longest prefix decides. An address that is in none is let in unless there is an allow list.
type Access struct {
	table  bart.Table[bool] // true: allowed
	closed bool             // there is an allow list
}

// NewAccess makes an Access from lists of networks. An allow list that is not nil and empty lets
// nobody in. The error names a prefix that no client address can match, or that is in both lists.
func NewAccess(allow, deny []netip.Prefix) (*Access, error) {
	a := &Access{closed: allow != nil}
	for _, p := range allow {
		if err := checkPrefix(p); err != nil {
			return nil, fmt.Errorf("allow %w", err)
		}
		a.table.Insert(p.Masked(), true)
	}
	for _, p := range deny {
		if err := checkPrefix(p); err != nil {
			return nil, fmt.Errorf("deny %w", err)
		}
		if allowed, _ := a.table.Get(p.Masked()); allowed {
			return nil, fmt.Errorf("deny %s is in allow too", p)
		}
		a.table.Insert(p.Masked(), false)
	}
	return a, nil
}

// checkPrefix refuses what no client address is in. Its error continues a sentence.
func checkPrefix(p netip.Prefix) error {
	if !p.IsValid() {
		return errors.New("has an invalid prefix, write it as in 192.0.2.0/24")
	}
	if p.Addr().Is4In6() {
		return fmt.Errorf("%s is IPv4 in IPv6 form, write %s", p, unmap(p))
	}
	return nil
}

// unmap returns the IPv4 prefix that p means, 0.0.0.0/0 if p is wider than all of IPv4.
func unmap(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0)).Masked()
}

// plain returns a client address as prefixes have it: an IPv4-mapped one as IPv4, and a link-local
// one without its zone.
func plain(client netip.Addr) netip.Addr { return client.Unmap().WithZone("") }

// Admits reports whether the lists let a client in. The zero Addr is in no network. Nil admits
// everyone.
func (a *Access) Admits(client netip.Addr) bool {
	if a == nil {
		return true
	}
	if client.IsValid() {
		if allowed, ok := a.table.Lookup(plain(client)); ok {
			return allowed
		}
	}
	return !a.closed
}

// shownPrefixes bounds the networks that are listed in a sentence.
const shownPrefixes = 8

// because says why a client is not let in.
func (a *Access) because(client netip.Addr) string {
	if client.IsValid() {
		p := netip.PrefixFrom(plain(client), plain(client).BitLen())
		if network, allowed, ok := a.table.LookupPrefixLPM(p); ok && !allowed {
			return fmt.Sprintf("deny has %s", network)
		}
	}
	var allowed []netip.Prefix
	for p, ok := range a.table.AllSorted() {
		if ok && len(allowed) <= shownPrefixes {
			allowed = append(allowed, p)
		}
	}
	if len(allowed) == 0 {
		return "allow has no address"
	}
	return fmt.Sprintf("allow has %s and not %s", networks(allowed), address(client))
}
