// Package routes finds the route of a TLS connection from what its ClientHello says: the server
// name, the protocols that the client offers, and the address that it comes from.
//
//	table, err := routes.New([]routes.Route{
//		{SNI: []string{"shop.example.com"}, Backend: 0},
//		{SNI: []string{"*.shop.example.com", "**.example.org"}, ALPN: []string{"h2"}, Backend: 1},
//	}, routes.Default{Backend: -1})
//	...
//	match := table.Lookup([]byte("Shop.Example.com."), nil, client) // the first route, routes.Matched
//
// A name's exact pattern goes first, then "*.", which stands for one label, then the longest "**."
// suffix, which stands for one label or more, then the default. Table.Explain shows every step for
// one name.
//
// A table is immutable. A look-up allocates nothing, takes no lock, and does the same work in a
// table of a million routes as in one of ten. With a name of 24 bytes each, a million routes take
// 178 bytes apiece, of which 144 are the Route and its strings (go test -run TestTableSize -v
// ./routes).
//
// The package reads no configuration, knows backends only as numbers, and never sees a connection.
package routes

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"keyhole/sni"
)

// A Route sends the names it lists to one backend. A Table keeps the routes it was made from, so
// neither a Route nor what its slices hold may change afterwards.
type Route struct {
	SNI         []string       // patterns, as ParsePattern takes them; at least one
	ALPN        []string       // the client must offer one of these protocols; nil: any client
	Allow       []netip.Prefix // the client's address must be in one of these; nil: any address
	Backend     int            // index into the caller's list of backends; negative: none, the client is rejected
	IdleTimeout time.Duration  // 0: the global one
	Keepalive   time.Duration  // 0: the global one; negative: none
	Reject      Reject         // RejectInherit: the default's
	Line        int            // line in the configuration file; 0 if none
}

// Default takes the names without a route and the hellos without a name.
type Default struct {
	Backend int    // index into the caller's list of backends; negative: none, the client is rejected
	Reject  Reject // how clients are rejected; New takes RejectInherit for RejectAlert
	Line    int    // line in the configuration file; 0 if none

	// NoName takes the hellos without a name instead; nil: this takes them too. RejectInherit there
	// is this Reject, and a further NoName has no meaning.
	NoName *Default
}

// Reject says how a client is rejected.
type Reject uint8

const (
	RejectInherit Reject = iota // as the default says
	RejectAlert                 // a TLS alert, then a clean close
	RejectClose                 // a clean close
	RejectReset                 // a TCP reset
	RejectSilence               // nothing at all; the connection is held until the hello times out
)

var rejectNames = [...]string{"inherit", "alert", "close", "reset", "silence"}

// RejectWords returns the words that ParseReject takes. RejectInherit has none: the configuration
// says it by leaving reject out.
func RejectWords() []string { return slices.Clone(rejectNames[RejectAlert:]) }

// String is the word that the configuration uses; "inherit" when the route has none of its own.
func (r Reject) String() string {
	if int(r) < len(rejectNames) {
		return rejectNames[r]
	}
	return fmt.Sprintf("Reject(%d)", uint8(r))
}

// ParseReject reads one of RejectWords.
func ParseReject(s string) (Reject, error) {
	words := rejectNames[RejectAlert:]
	if i := slices.Index(words, s); i >= 0 {
		return RejectAlert + Reject(i), nil
	}
	last := len(words) - 1
	return RejectInherit, fmt.Errorf("unknown reject %q, write %s or %s", s, strings.Join(words[:last], ", "), words[last])
}

// MaxPatterns bounds the patterns of a Table: its index has offsets of 32 bits, and 16 million of
// the longest names are just under 4 GiB.
const MaxPatterns = 16_000_000

// A Table finds routes by name. It never changes, so any number of goroutines may use it at once. A
// reload makes another one.
type Table struct {
	routes   []Route
	index    index
	shared   [][]uint32 // routes that share a pattern, told apart by alpn, in the order of the configuration
	def      Default
	fallback Route  // the default in the shape of a route, for Match
	noName   *Route // def.NoName in that shape; nil if there is none
}

// New makes a table of rs and keeps rs, because a copy of a million routes would double their
// memory. Neither rs nor the contents of its slices may change afterwards.
//
// The error is Conflicts when routes contradict each other: two claim one pattern and list the same
// protocol, or neither lists any. Any other error is the first that New finds, and names its route
// by index: a route without patterns, a pattern that ParsePattern refuses, a protocol name that no
// hello can carry, an allow prefix that no client address can match.
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
		fallback: *d.route(),
	}
	if d.NoName != nil {
		t.noName = d.NoName.route()
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	return t, nil
}

func (d *Default) route() *Route {
	return &Route{Backend: d.Backend, Reject: d.Reject, Line: d.Line}
}

// Default returns the default that New got, with RejectAlert in the place of RejectInherit.
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

// check returns an error if no client could ever take the route. build checks the patterns.
func (r *Route) check() error {
	if len(r.SNI) == 0 {
		return errors.New("sni lists no pattern, and no name would ever take the route")
	}
	for _, p := range r.ALPN {
		if len(p) == 0 || len(p) > sni.MaxProtocol {
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

// unmap returns the IPv4 prefix that p means, 0.0.0.0/0 if p is wider than all of IPv4.
func unmap(p netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0)).Masked()
}
