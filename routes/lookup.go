package routes

import (
	"bytes"
	"fmt"
	"net/netip"

	"keyhole/sni"
)

// NoListener is the Query.Listener of a client whose listener has no number. It takes the routes
// that are of any listener.
const NoListener = -1

// A Query is what is known of a client.
type Query struct {
	Name     []byte        // as on the wire; nil when the hello has none
	ALPN     sni.Protocols // what it offers, in its own order of preference
	Client   netip.Addr    // the zero Addr is in no network
	Listener int           // index in Config.Listeners, or NoListener
	JA4      *sni.JA4      // of the hello; nil: not known
}

// A Match is what Lookup found.
type Match struct {
	Route   *Route // the table's; nil for BadName, and when there is not even a default
	Outcome Outcome
	Reject  Reject // how the client is rejected, if it is; never RejectInherit
	Literal bool   // the name is an IP address, and the Outcome that of a hello without a name
}

// Outcome says how a look-up ended.
type Outcome uint8

const (
	Matched        Outcome = iota // a pattern of Route takes the name
	MatchedDefault                // Route is a default, and has a backend
	MatchedNoName                 // the hello has no name, and Route, a NoName, has a backend
	NoRoute                       // no pattern takes the name, and the default has no backend
	NoName                        // the hello has no name, and what takes such hellos has no backend
	BadName                       // the name is no host name; such a hello never reaches a default
	Denied                        // Route takes the client, but its Access does not let the address in
	Rejected                      // a pattern of Route takes the name, and it has no backend
	DeniedJA4                     // as Denied, for the hello's JA4; without a Route, Config.JA4 does not let it in
)

var outcomeNames = [...]string{"matched", "matched default", "matched no_sni", "no route", "no name", "bad name", "denied", "route rejects", "denied by ja4"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

var dot = []byte(".")

// Lookup finds the route of a hello.
//
// The exact name goes first, then *. of its parent, then **. from the longest suffix to the
// shortest, then **, then the listener's own default, then the default. Among the routes of one
// pattern whose conditions the client meets, those of its listener go before the others; then those
// with Matching, in the order of the configuration, before those without; then the client's order
// of protocols decides, routes with ALPN before those without; then the longest network of From.
// When the client meets the conditions of none, Lookup tries the next wider pattern.
//
// A client that the chosen route's Access does not let in is Denied there and then: falling through
// to a wider pattern would undo the operator's fence. A chosen route without a backend is final in
// the same way: the client is Rejected.
//
// A client that offers acme-tls/1 alone is a certificate authority that validates the name (RFC
// 8737 section 3). It takes a route that lists the protocol, of whatever pattern, and without one
// the route that the name has, whatever ALPN narrows that.
//
// A name with a byte outside ASCII is a BadName: clients send A-labels. An IP address is no name
// (RFC 6066 section 3), yet clients send them and origins take such hellos: they go where hellos
// without a name go. Brackets, a zone or a trailing dot do not turn an address into a name.
//
// Before all that, the Config's Fingerprints may deny a hello, whatever its name.
//
// Lookup does not allocate.
func (t *Table) Lookup(q Query) Match {
	f := t.fallback(q.Listener)
	if !t.ja4.Admits(q.JA4) {
		return Match{Outcome: DeniedJA4, Reject: f.reject}
	}
	if q.Name == nil {
		return f.settle(f.nameless, &q, NoName)
	}
	var buf [maxName]byte
	name, err := normalizeWire(buf[:0], q.Name)
	if err == ErrIPLiteral {
		m := f.settle(f.nameless, &q, NoName)
		m.Literal = true
		return m
	}
	if err != nil {
		return Match{Outcome: BadName, Reject: f.reject}
	}
	if r := t.route(name, &q); r != nil {
		return f.admit(r, &q, Matched, Rejected)
	}
	return f.settle(f.named, &q, NoRoute)
}

// Admit returns the match of a client that goes to r without a look-up: on a listener that reads no
// hello, say. r need not be of the table.
func (t *Table) Admit(r *Route, client netip.Addr, listener int) Match {
	return t.fallback(listener).admit(r, &Query{Client: client}, Matched, Rejected)
}

// settle returns the match of the first step that takes the client.
func (f *fallback) settle(steps []step, q *Query, none Outcome) Match {
	m := q.mode()
	for i := range steps {
		if _, ok := steps[i].meets(nil, q, m); ok {
			return f.admit(steps[i].Route, q, steps[i].taken, steps[i].rejected)
		}
	}
	return Match{Outcome: none, Reject: f.reject}
}

// admit returns the match of a client that the look-up gives to a route.
func (f *fallback) admit(r *Route, q *Query, taken, rejected Outcome) Match {
	m := Match{Route: r, Outcome: taken, Reject: r.Reject}
	if m.Reject == RejectInherit {
		m.Reject = f.reject
	}
	switch {
	case r.Access != nil && !r.Access.Admits(q.Client):
		m.Outcome = Denied
	case !r.JA4.Admits(q.JA4):
		m.Outcome = DeniedJA4
	case r.Backend < 0:
		m.Outcome = rejected
	}
	return m
}

// A mode says how a look-up treats ALPN.
type mode uint8

const (
	byRules      mode = iota // a route that lists protocols takes a client that offers one of them
	onlyACME                 // only routes that list acme-tls/1 take the client
	whateverALPN             // as byRules, but routes without a fitting protocol come last
)

const acmeProtocol = "acme-tls/1"

// mode returns that of a look-up for routes that need not list acme-tls/1.
func (q *Query) mode() mode {
	if len(q.ALPN) == 1+len(acmeProtocol) && string(q.ALPN[1:]) == acmeProtocol {
		return whateverALPN
	}
	return byRules
}

// route returns the route of a name in normal form, nil if there is none.
func (t *Table) route(name []byte, q *Query) *Route {
	m := q.mode()
	if m == whateverALPN && t.acme {
		if r := t.search(name, q, onlyACME); r != nil {
			return r
		}
	}
	return t.search(name, q, m)
}

// search goes through the patterns that can take a name, from the narrowest. It does not hash a
// suffix when no pattern has as many labels.
func (t *Table) search(name []byte, q *Query, m mode) *Route {
	x := &t.index
	n := depth(name)
	if x.depths[exact].has(n) {
		if r := t.find(x.hash(name), exact, name, nil, q, m); r != nil {
			return r
		}
	}
	for d, suffix := n-1, parent(name); d >= 0; d, suffix = d-1, parent(suffix) {
		one := d == n-1 && x.depths[oneLabel].has(d)
		many := x.depths[manyLabels].has(d)
		if !one && !many {
			continue
		}
		h := x.hash(suffix)
		if one {
			if r := t.find(h, oneLabel, suffix, starOf(name, suffix), q, m); r != nil {
				return r
			}
		}
		if many {
			if r := t.find(h, manyLabels, suffix, starOf(name, suffix), q, m); r != nil {
				return r
			}
		}
	}
	return nil
}

// find returns the route that a pattern gives to a client, nil if there is no such pattern or the
// client does not meet its conditions.
func (t *Table) find(hash uint64, k kind, suffix, star []byte, q *Query, m mode) *Route {
	to, ok := t.index.find(hash, k, suffix)
	if !ok {
		return nil
	}
	if to&isShared == 0 && t.routes[to].When == nil && m != onlyACME {
		return &t.routes[to] // of nearly every pattern
	}
	return t.choose(to, star, q, m)
}

// depth returns the number of labels in a suffix. The empty one, of the pattern **, has none.
func depth(suffix []byte) int {
	if len(suffix) == 0 {
		return 0
	}
	return 1 + bytes.Count(suffix, dot)
}

// parent returns a name without its first label: nothing of a single one.
func parent(name []byte) []byte {
	if i := bytes.IndexByte(name, '.'); i >= 0 {
		return name[i+1:]
	}
	return nil
}

// starOf returns what the stars of a pattern stand for, without the dot before the suffix: nothing
// when the suffix is the name.
func starOf(name, suffix []byte) []byte {
	if len(suffix) == 0 {
		return name
	}
	return name[:max(0, len(name)-len(suffix)-1)]
}
