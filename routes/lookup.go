package routes

import (
	"bytes"
	"fmt"
	"net/netip"
)

// A Match is what Lookup found.
type Match struct {
	Route   *Route // the table's; nil unless Outcome is Matched, MatchedDefault or Denied
	Outcome Outcome
}

// Outcome says how a look-up ended.
type Outcome uint8

const (
	Matched        Outcome = iota // a pattern of Route takes the name
	MatchedDefault                // the default has a backend; Route has its Backend, Reject and Line
	NoRoute                       // no pattern takes the name, and the default has no backend
	NoName                        // the hello has no name, and the default has no backend
	BadName                       // Normalize refuses the name; such a hello never reaches the default
	Denied                        // Route takes the name, but its Allow has not the client's address
)

var outcomeNames = [...]string{"matched", "matched default", "no route", "no name", "bad name", "denied"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("Outcome(%d)", uint8(o))
}

var dot = []byte(".")

// Lookup finds the route of a hello. The name is as on the wire, nil when the hello has none; alpn is the protocols
// that the client offers, each after a byte with its length (RFC 7301 section 3.1), in its own order of preference.
//
// The exact name goes first, then *. of its parent, then **. from the longest suffix to the shortest, then the default.
// Among routes of one pattern the client's first protocol that one lists decides, then comes the route without alpn;
// when all list protocols and none fits, the next wider pattern is asked. A client that the chosen route does not
// allow is Denied there and then: falling through to a wider pattern would undo the operator's fence.
//
// Lookup does not allocate, unless the name is outside ASCII and has to go through IDNA.
func (t *Table) Lookup(name, alpn []byte, client netip.Addr) Match {
	if name == nil {
		return t.lookupDefault(NoName)
	}
	var buf [maxName]byte
	normal, err := Normalize(buf[:0], name)
	if err != nil {
		return Match{Outcome: BadName}
	}
	if r := t.route(normal, alpn); r != nil {
		return r.admit(client)
	}
	return t.lookupDefault(NoRoute)
}

func (t *Table) lookupDefault(otherwise Outcome) Match {
	if t.def.Backend < 0 {
		return Match{Outcome: otherwise}
	}
	return Match{Route: &t.fallback, Outcome: MatchedDefault}
}

// route is the route of a name in normal form, nil if there is none. Suffixes with a number of labels that no pattern
// has are stepped over, unhashed.
func (t *Table) route(name, alpn []byte) *Route {
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

// find is the route that a pattern gives to a client, nil if there is no such pattern or no protocol fits.
func (t *Table) find(hash uint64, k kind, suffix, alpn []byte) *Route {
	to, ok := t.index.find(hash, k, suffix)
	if !ok {
		return nil
	}
	return t.choose(to, alpn)
}

func countLabels(name []byte) int { return 1 + bytes.Count(name, dot) }

// parent is a name without its first label, and a single label itself.
func parent(name []byte) []byte { return name[1+bytes.IndexByte(name, '.'):] }
