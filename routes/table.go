package routes

import (
	"errors"
	"fmt"
	"net/netip"
)

// MaxPatterns is how many patterns a Table holds at most: its index has offsets of 32 bits, and 16 million of the
// longest names are just under 4 GiB.
const MaxPatterns = 16_000_000

// A Table finds routes by name. It never changes once New made it, so any number of goroutines may use it at once; a
// reload makes another one.
type Table struct {
	routes   []Route
	index    index
	shared   [][]uint32 // routes that share a pattern, told apart by alpn, in the order of the configuration
	def      Default
	fallback Route // the default in the shape of a route, for Match
}

// New makes a table of rs, and keeps rs: a copy would hold a million routes twice for as long as the caller has its
// own. The caller must not change rs afterwards, nor what its slices hold.
//
// The error is Conflicts when routes contradict each other: two claim one pattern and list the same protocol, or
// neither lists any. Any other error is about one route, which it names by index, and is the first found: a route
// without patterns, what ParsePattern refuses, a protocol name that no hello can carry, an allow prefix that no client
// address can match.
func New(rs []Route, d Default) (*Table, error) {
	if err := checkRoutes(rs); err != nil {
		return nil, err
	}
	if d.Reject == RejectInherit {
		d.Reject = RejectAlert
	}
	t := &Table{
		routes:   rs,
		def:      d,
		fallback: Route{Backend: d.Backend, Reject: d.Reject, Line: d.Line},
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	return t, nil
}

// Default is what the table was made with, with RejectAlert in the place of RejectInherit.
func (t *Table) Default() Default { return t.def }

// Len is the number of routes.
func (t *Table) Len() int { return len(t.routes) }

func checkRoutes(rs []Route) error {
	patterns := 0
	for i := range rs {
		if err := rs[i].check(); err != nil {
			return fmt.Errorf("route %d: %w", i, err)
		}
		patterns += len(rs[i].SNI)
	}
	if patterns > MaxPatterns {
		return fmt.Errorf("routes have %d patterns, a table holds %d at most: let *. and **. stand for many names",
			patterns, MaxPatterns)
	}
	return nil
}

// check refuses what would make the route unreachable. The patterns are New's to check.
func (r *Route) check() error {
	if len(r.SNI) == 0 {
		return errors.New("sni lists no pattern, and no name would ever take the route")
	}
	for _, p := range r.ALPN {
		if len(p) == 0 || len(p) > maxProtocol {
			return fmt.Errorf("alpn %q has %d bytes, and a protocol name has 1 to 255 (RFC 7301 section 3.1)", p, len(p))
		}
	}
	for _, p := range r.Allow {
		if !p.IsValid() {
			return errors.New("allow has an invalid prefix, write it as in 192.0.2.0/24")
		}
		if p.Addr().Is4In6() {
			return fmt.Errorf("allow %s is IPv4 in IPv6 form, write %s", p, unmap(p))
		}
	}
	return nil
}

// unmap is the IPv4 prefix, or the one of all of IPv4, that p means.
func unmap(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0)).Masked()
}
