package convert

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"keyhole/address"
)

// An edge is a configuration in the terms that HAProxy and nginx share.
type edge struct {
	listeners []*listener
	backends  []*backend // in the file's order

	connections      int           // open at once; 0: not said
	connect          time.Duration // 0: not said, as the others
	hello, halfClose time.Duration
}

// A listener is the addresses that share one list of rules. The first rule that fits decides, and
// without one the client is rejected.
type listener struct {
	place
	name      string
	addresses []address.Address
	rules     []rule
	plain     bool     // TLS is not read: the first rule decides
	notTLS    []begins // where clients go that do not speak TLS, the first that fits
	max       int      // connections at once; 0: not said

	allow, deny []netip.Prefix                     // of all its clients
	proxies     map[address.Address][]netip.Prefix // that begin with a PROXY header, by the address they come to
}

func newListener(at place, name string) *listener {
	return &listener{place: at, name: name, proxies: map[address.Address][]netip.Prefix{}}
}

// everybody is every address.
var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// fence makes the rules that reject by address alone, before all others, a list of the listener.
func (l *listener) fence() {
	all := l.rules
	defer func() {
		if slices.ContainsFunc(l.allow, func(p netip.Prefix) bool { return within(p, l.deny) }) {
			l.allow, l.deny, l.rules = nil, nil, all // the longest would win, not the first
		}
	}()
	for len(l.rules) > 0 && l.rules[0].to.backend == nil && l.rules[0].when != nil {
		for _, list := range l.rules[0].when {
			switch {
			case len(list) != 1 || list[0].from == nil || list[0].not && l.allow != nil:
				return
			case list[0].not:
				l.allow = list[0].from
			default:
				l.deny = append(l.deny, list[0].from...)
			}
		}
		l.rules = l.rules[1:]
	}
}

// within reports whether a network is a part of one of others.
func within(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, func(q netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) })
}

// A begins is where clients go whose first bytes are a text; any text without one.
type begins struct {
	text string
	to   target
}

// A rule sends the clients that fit any of its conditions to a target.
type rule struct {
	place
	when [][]literal // any of these lists, of which all literals must hold; none at all: every client
	to   target
}

// A target is where clients go. The zero target rejects.
type target struct {
	backend *backend
	idle    time.Duration // 0: as the edge says
}

// A literal is one condition on a client. Exactly one of its tests is set; none is a constant.
type literal struct {
	not   bool
	names *patterns
	alpn  []string       // the client offers one of these
	from  []netip.Prefix // the client is in one of these
}

// never is a literal that no client fits, always one that each does.
var never, always = literal{}, literal{not: true}

// A backend is a set of servers.
type backend struct {
	place
	name    string
	alone   bool // an address in the place of a name
	servers []server
	has     map[string]bool // the servers' addresses
	rank    int             // of the last backup
	balance string          // Keyhole's word; empty: not said
	retries int             // negative: not said
	max     int             // connections to each server; 0: no limit
	proxy   string          // v1, v2; empty: none
}

// byName reports whether the name that a client asks for is the name of its server.
func (b *backend) byName() bool {
	return b != nil && len(b.servers) > 0 && strings.HasPrefix(b.servers[0].address, "{sni}")
}

// A server is one address of a backend.
type server struct {
	place
	address string
	weight  int    // 0: not said
	backup  int    // its rank; 0: no backup
	proxy   string // the PROXY header that it expects: v1, v2; empty: none
}

// literals returns the lists of conditions of r, at least one.
func (r rule) conditions() [][]literal {
	if r.when == nil {
		return [][]literal{nil}
	}
	return r.when
}
