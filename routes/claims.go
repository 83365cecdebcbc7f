package routes

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"

	"keyhole/sni"
)

// claims are the routes that have one pattern, in the order of the configuration.
type claims struct {
	all      []uint32
	anywhere []uint32                 // those without From
	from     *bart.Table[[]contender] // those with it, by network; see layout
}

// A contender is a route that takes a client for a network that its address is in.
type contender struct {
	route uint32
	bits  uint8 // of the network
}

// A rank orders the routes of one pattern that take one client: the lowest goes first. From the
// highest bit it has:
//
//	1 bit    the route is of any listener, not of the client's own
//	31 bits  without Matching: all ones; else the place in the configuration
//	16 bits  the place of its protocol in the client's offer; without ALPN: noProtocol
//	8 bits   200 less the length of the network; without From: all ones
type rank uint64

const (
	ownListener  = 1 << 55
	noMatching   = 1<<31 - 1
	noProtocol   = 1<<16 - 2 // more than a hello has room for
	notOffered   = 1<<16 - 1
	noNetwork    = 1<<8 - 1
	longestFirst = 200
	anyNetwork   = -1 // the bits of a route without From
)

func makeRank(r *Route, i uint32, protocol, bits int) rank {
	k := rank(ownListener)
	w := r.When
	if w != nil && w.Listen != nil {
		k = 0
	}
	matching, network := rank(noMatching), rank(noNetwork)
	if w.matches() {
		matching = rank(i)
	}
	if bits != anyNetwork {
		network = rank(longestFirst - bits)
	}
	return k | matching<<24 | rank(protocol)<<8 | network
}

// choose returns the route that a pattern gives to a client, nil if its conditions are not met. The
// name is in normal form, star the part that the pattern's stars stand for.
func (t *Table) choose(to target, star []byte, q *Query, m mode) *Route {
	if to&isShared == 0 {
		r := &t.routes[to]
		if _, ok := r.meets(star, q, m); ok {
			return r
		}
		return nil
	}
	c := &t.claims[to&targetMask]
	best := winner{rank: ^rank(0)}
	for _, i := range c.anywhere {
		best.try(t, i, anyNetwork, star, q, m)
	}
	if c.from != nil && q.Client.IsValid() {
		list, _ := c.from.Lookup(plain(q.Client))
		for _, x := range list {
			best.try(t, x.route, int(x.bits), star, q, m)
		}
	}
	return best.Route
}

// A winner is the best route so far.
type winner struct {
	*Route
	rank
}

// try replaces the winner by route i if that takes the client and goes first.
func (b *winner) try(t *Table, i uint32, bits int, star []byte, q *Query, m mode) {
	r := &t.routes[i]
	if protocol, ok := r.meets(star, q, m); ok {
		if k := makeRank(r, i, protocol, bits); k < b.rank {
			b.Route, b.rank = r, k
		}
	}
}

// meets reports whether a client meets the route's conditions but From, and the place of the
// route's protocol in the client's offer.
func (r *Route) meets(star []byte, q *Query, m mode) (protocol int, ok bool) {
	w := r.When
	if w == nil {
		return noProtocol, m != onlyACME
	}
	if w.Listen != nil && !slices.Contains(w.Listen, q.Listener) {
		return 0, false
	}
	if protocol, ok = w.offered(q.ALPN, m); !ok {
		return 0, false
	}
	return protocol, w.Matching == nil || w.Matching.takes(star)
}

// offered returns the place of the first protocol in the offer that the route lists. A server that
// selects a protocol for its client may follow that order too (RFC 7301 section 3.2).
func (w *Conditions) offered(alpn sni.Protocols, m mode) (place int, ok bool) {
	if len(w.ALPN) == 0 {
		return noProtocol, m != onlyACME
	}
	i := 0
	for p := range alpn.All() {
		if w.lists(p) && (m != onlyACME || string(p) == acmeProtocol) {
			return i, true
		}
		i++
	}
	return notOffered, m == whateverALPN
}

// lists is slices.Contains without a copy of the protocol.
func (w *Conditions) lists(protocol []byte) bool {
	for _, p := range w.ALPN {
		if p == string(protocol) {
			return true
		}
	}
	return false
}

func (w *Conditions) matches() bool { return w != nil && w.Matching != nil }

func (r *Route) protocols() []string {
	if r.When == nil {
		return nil
	}
	return r.When.ALPN
}

func (r *Route) from() []netip.Prefix {
	if r.When == nil {
		return nil
	}
	return r.When.From
}
