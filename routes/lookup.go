package routes

import (
	"bytes"
	"fmt"
	"iter"
	"net/netip"

	"keyhole/sni"
)

// A Match is what Lookup found.
type Match struct {
	Route   *Route // the table's; nil for NoRoute, BadName, and NoName without a Default.NoName
	Outcome Outcome
	Literal bool // the name is an IP address, and the Outcome that of a hello without a name
}

// Outcome says how a look-up ended.
type Outcome uint8

const (
	Matched        Outcome = iota // a pattern of Route takes the name
	MatchedDefault                // the default has a backend; Route has its Backend, Reject and Line
	MatchedNoName                 // the hello has no name, and Default.NoName a backend; Route is as in MatchedDefault
	NoRoute                       // no pattern takes the name, and the default has no backend
	NoName                        // the hello has no name, and what takes such hellos has no backend
	BadName                       // the name is no host name; such a hello never reaches the default
	Denied                        // Route takes the name, but its Allow has not the client's address
	Rejected                      // Route takes the name and has no backend
)

var outcomeNames = [...]string{"matched", "matched default", "matched no_sni", "no route", "no name", "bad name", "denied", "route rejects"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

var dot = []byte(".")

// Lookup finds the route of a hello. The name is as on the wire, nil when the hello has none; alpn
// is the protocols that the client offers, each after a byte with its length (RFC 7301 section
// 3.1), in its own order of preference.
//
// The exact name goes first, then *. of its parent, then **. from the longest suffix to the
// shortest, then the default. Among the routes of one pattern the client's order decides: the first
// protocol that it offers and a route lists, then the route without alpn. When all routes list
// protocols and none fits, Lookup tries the next wider pattern. A client that the chosen route does
// not allow is Denied there and then: falling through to a wider pattern would undo the operator's
// fence. A chosen route without a backend is final in the same way: the client is Rejected.
//
// A name with a byte outside ASCII is a BadName: clients send A-labels. An IP address is no name
// (RFC 6066 section 3), yet clients send them and origins take such hellos: they go where hellos
// without a name go. Brackets, a zone or a trailing dot do not turn an address into a name.
//
// Lookup does not allocate.
func (t *Table) Lookup(name []byte, alpn sni.Protocols, client netip.Addr) Match {
	if name == nil {
		return t.lookupNoName()
	}
	var buf [maxName]byte
	normal, err := normalizeWire(buf[:0], name)
	if err == ErrIPLiteral {
		return t.lookupLiteral()
	}
	if err != nil {
		return Match{Outcome: BadName}
	}
	if r := t.route(normal, alpn); r != nil {
		return r.admit(client)
	}
	return t.lookupDefault(NoRoute)
}

// lookupLiteral returns the match of a hello whose name is an IP address.
func (t *Table) lookupLiteral() Match {
	m := t.lookupNoName()
	m.Literal = true
	return m
}

func (t *Table) lookupNoName() Match {
	switch r := t.noName; {
	case r == nil:
		return t.lookupDefault(NoName)
	case r.Backend < 0:
		return Match{Route: r, Outcome: NoName}
	default:
		return Match{Route: r, Outcome: MatchedNoName}
	}
}

func (t *Table) lookupDefault(otherwise Outcome) Match {
	if t.def.Backend < 0 {
		return Match{Outcome: otherwise}
	}
	return Match{Route: &t.fallback, Outcome: MatchedDefault}
}

// route returns the route of a name in normal form, nil if there is none. It does not hash a suffix
// when no pattern has as many labels.
func (t *Table) route(name []byte, alpn sni.Protocols) *Route {
	x := &t.index
	n := countLabels(name)
	if x.depths[exact].has(n) {
		if r := t.find(x.hash(name), exact, name, alpn); r != nil {
			return r
		}
	}
	for depth, suffix := n-1, parent(name); depth > 0; depth, suffix = depth-1, parent(suffix) {
		one := depth == n-1 && x.depths[oneLabel].has(depth)
		many := x.depths[manyLabels].has(depth)
		if !one && !many {
			continue
		}
		h := x.hash(suffix)
		if one {
			if r := t.find(h, oneLabel, suffix, alpn); r != nil {
				return r
			}
		}
		if many {
			if r := t.find(h, manyLabels, suffix, alpn); r != nil {
				return r
			}
		}
	}
	return nil
}

// find returns the route that a pattern gives to a client, nil if there is no such pattern or no
// protocol fits.
func (t *Table) find(hash uint64, k kind, suffix []byte, alpn sni.Protocols) *Route {
	to, ok := t.index.find(hash, k, suffix)
	if !ok {
		return nil
	}
	return t.choose(to, alpn)
}

func countLabels(name []byte) int { return 1 + bytes.Count(name, dot) }

// parent returns a name without its first label, and a single label as it is.
func parent(name []byte) []byte { return name[1+bytes.IndexByte(name, '.'):] }

// claimants yields the indexes of the routes that have a pattern, in the order of the
// configuration.
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

// choose returns the route that a pattern gives to a client with these protocols.
func (t *Table) choose(to target, alpn sni.Protocols) *Route {
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

// chooseShared follows the client's order of preference, as a server does that selects a protocol
// for it (RFC 7301 section 3.2).
func (t *Table) chooseShared(list []uint32, alpn sni.Protocols) *Route {
	for p := range alpn.All() {
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
func (r *Route) offered(alpn sni.Protocols) bool {
	for p := range alpn.All() {
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

// admit returns the match of a client that the look-up gives to the route.
func (r *Route) admit(client netip.Addr) Match {
	m := Match{Route: r, Outcome: Matched}
	if !r.allows(client) {
		m.Outcome = Denied
	} else if r.Backend < 0 {
		m.Outcome = Rejected
	}
	return m
}

// allows compares an IPv4-mapped address as IPv4 and drops the zone of a link-local one, because
// prefixes have neither form.
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
