package routes

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"keyhole/sni"
)

// An Explanation is a look-up with its reasons. String lays it out for a terminal.
type Explanation struct {
	Asked      string      // the name as it was given; "" for a hello without one
	Name       string      // its normal form; "" if it has none
	ALPN       []string    // what the client offers, in its order
	Client     netip.Addr  // the zero Addr is in no network
	Listener   string      // its label; "" for no listener in particular
	JA4        *sni.JA4    // nil: not known
	Candidates []Candidate // from the narrowest pattern that could take the name to the default; none for a bad name
	Match                  // what Lookup returns for the same hello
	Err        error       // Normalize's, when Outcome is BadName
}

// A Candidate is a pattern that could take the name, whether or not a route has it.
type Candidate struct {
	Pattern string   // in normal form; "default" or the like for what follows the patterns
	Routes  []*Route // those that have the pattern, in the order of the configuration
	Verdict Verdict
	Because string // the reason of the verdict, in words
}

// Verdict says whether a candidate decided, and if not, why not.
type Verdict uint8

const (
	Absent     Verdict = iota // no route has the pattern; of a default, it has no backend
	Taken                     // it decided, and the client is let through
	Refused                   // it decided, and its route does not let the client's address or JA4 in
	PassedOver                // the client meets the conditions of none of its routes
	Beaten                    // a narrower pattern decided
	Rejecting                 // it decided, and its route has no backend
)

var verdictNames = [...]string{"absent", "taken", "denied", "passed over", "beaten", "rejects"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// Explain says which route Lookup chooses for a hello, why, and which patterns it passed over. The
// name is as an operator writes it, outside ASCII too, and stands for the A-labels that a client
// sends; an empty name stands for a hello without one. Protocols that no hello can carry, empty or
// over 255 bytes, count as not offered; a nil JA4 is in no list. The listener is an index in Config.Listeners, or
// NoListener.
func (t *Table) Explain(name string, alpn []string, client netip.Addr, listener int, ja4 *sni.JA4) Explanation {
	e := &explainer{
		Explanation: Explanation{Asked: name, ALPN: alpn, Client: client, JA4: ja4},
		table:       t,
		query:       Query{ALPN: sni.MakeProtocols(alpn), Client: client, Listener: listener, JA4: ja4},
		fallback:    t.fallback(listener),
	}
	if listener >= 0 && listener < len(t.labels) {
		e.Explanation.Listener = t.labels[listener]
	}
	e.mode = e.query.mode()
	if !t.ja4.Admits(ja4) {
		e.Match = Match{Outcome: DeniedJA4, Reject: e.fallback.reject}
		e.Candidates = []Candidate{{Pattern: "limits", Verdict: Refused, Because: t.ja4.because(ja4)}}
		return e.Explanation
	}
	if name == "" {
		e.settle(e.fallback.nameless, NoName, "the hello has no name")
		return e.Explanation
	}
	normal, err := Normalize(nil, []byte(name))
	if err == ErrIPLiteral {
		e.settle(e.fallback.nameless, NoName, "an IP address is no name (RFC 6066 section 3)")
		e.Literal = true
		return e.Explanation
	}
	if err != nil {
		e.Outcome, e.Reject, e.Err = BadName, e.fallback.reject, err
		return e.Explanation
	}
	e.Name = string(normal)
	e.patterns(normal)
	e.settle(e.fallback.named, NoRoute, "no pattern takes the name")
	return e.Explanation
}

// An explainer makes one Explanation.
type explainer struct {
	Explanation
	table    *Table
	query    Query
	mode     mode
	fallback *fallback
	won      kind // of the pattern that decided
}

// patterns appends the patterns that can take the name.
func (e *explainer) patterns(name []byte) {
	chosen := e.table.route(name, &e.query)
	if e.mode == whateverALPN && chosen != nil && slices.Contains(chosen.protocols(), acmeProtocol) {
		e.mode = onlyACME
	}
	for k, suffix := range candidates(name) {
		c := Candidate{Pattern: k.pattern(suffix)}
		to, ok := e.table.target(k, suffix)
		if ok {
			c.Routes = e.table.claimants(to)
		} else if c.Pattern == anyName {
			continue // it says nothing of this name
		}
		switch {
		case !ok:
			c.Because = "no route has it"
		case e.won != 0:
			c.Verdict, c.Because = Beaten, e.won.beats()
		default:
			e.decide(&c, to, k, starOf(name, suffix))
		}
		e.Candidates = append(e.Candidates, c)
	}
}

// candidates yields every pattern that can take a name, narrowest first: the order that Lookup
// follows.
func candidates(name []byte) iter.Seq2[kind, []byte] {
	return func(yield func(kind, []byte) bool) {
		if !yield(exact, name) {
			return
		}
		n := depth(name)
		for d, suffix := n-1, parent(name); d >= 0; d, suffix = d-1, parent(suffix) {
			if d == n-1 && d > 0 && !yield(oneLabel, suffix) || !yield(manyLabels, suffix) {
				return
			}
		}
	}
}

func (t *Table) target(k kind, suffix []byte) (target, bool) {
	if !t.index.depths[k].has(depth(suffix)) {
		return 0, false
	}
	return t.index.find(t.index.hash(suffix), k, suffix)
}

// claimants returns the routes that have a pattern, in the order of the configuration.
func (t *Table) claimants(to target) []*Route {
	if to&isShared == 0 {
		return []*Route{&t.routes[to]}
	}
	var all []*Route
	for _, i := range t.claims[to&targetMask].all {
		all = append(all, &t.routes[i])
	}
	return all
}

// decide gives a pattern with routes its verdict.
func (e *explainer) decide(c *Candidate, to target, k kind, star []byte) {
	r := e.table.choose(to, star, &e.query, e.mode)
	if r == nil {
		c.Verdict, c.Because = PassedOver, e.whyNot(c.Routes, star)
		return
	}
	e.won = k
	e.Match = e.fallback.admit(r, &e.query, Matched, Rejected)
	because := k.reason()
	if c.Pattern == anyName {
		because = "takes any name, and nothing narrower does"
	}
	if met := e.met(r); met != "" {
		because += ", and " + met
	} else if len(c.Routes) > 1 {
		because += ", and no route with conditions fits"
	}
	if len(c.Routes) > 1 {
		because += ": " + place(r)
	}
	e.conclude(c, because)
}

// conclude gives the candidate that decided its verdict, after the match.
func (e *explainer) conclude(c *Candidate, because string) {
	c.Verdict, c.Because = Taken, because
	switch e.Outcome {
	case Rejected, NoRoute, NoName:
		c.Verdict = Rejecting
	case Denied:
		c.Verdict = Refused
		c.Because += ", but " + e.Route.Access.because(e.Client)
	case DeniedJA4:
		c.Verdict = Refused
		c.Because += ", but " + e.Route.JA4.because(e.JA4)
	}
}

// settle appends what follows the patterns. The first that takes the client decides, if no pattern
// has.
func (e *explainer) settle(steps []step, none Outcome, because string) {
	decided, winner := e.won != 0, ""
	for _, s := range steps {
		c := Candidate{Pattern: s.label, Routes: []*Route{s.Route}}
		_, meets := s.meets(nil, &e.query, e.query.mode())
		switch {
		case decided && s.Backend < 0:
			c.Because = "has no backend"
		case decided && e.won != 0:
			c.Verdict, c.Because = Beaten, "takes only what no pattern takes"
		case decided:
			c.Verdict, c.Because = Beaten, winner+" goes before it"
		case !meets:
			c.Verdict, c.Because = PassedOver, e.unmet(s.Route, nil)
		default:
			decided, winner = true, s.label
			e.Match = e.fallback.admit(s.Route, &e.query, s.taken, s.rejected)
			if s.Backend < 0 {
				because += ", and " + s.label + " has no backend"
			}
			e.conclude(&c, because)
		}
		e.Candidates = append(e.Candidates, c)
	}
	if !decided {
		e.Match = Match{Outcome: none, Reject: e.fallback.reject}
	}
}

// reason says why a pattern of this kind decides.
func (k kind) reason() string {
	return [...]string{
		exact:      "is the name itself",
		oneLabel:   "no exact name fits, and it is one label before this suffix",
		manyLabels: "is the longest ** suffix that fits, and nothing narrower does",
	}[k]
}

// beats says why a pattern of this kind goes before those after it.
func (k kind) beats() string {
	return [...]string{
		exact:      "an exact name goes before *. and **.",
		oneLabel:   "*. goes before **.",
		manyLabels: "a longer ** suffix goes before a shorter",
	}[k]
}

// met says which conditions of its route the client meets.
func (e *explainer) met(r *Route) string {
	w := r.When
	if w == nil {
		return ""
	}
	var all []string
	if w.Listen != nil {
		all = append(all, "it is for listener "+e.table.listeners(w.Listen))
	}
	if w.Matching != nil {
		all = append(all, "what the star stands for matches "+w.Matching.String())
	}
	if _, ok := w.offered(e.query.ALPN, byRules); ok && len(w.ALPN) > 0 {
		all = append(all, "the client offers alpn of "+words(w.ALPN))
	} else if len(w.ALPN) > 0 {
		all = append(all, "acme-tls/1 alone goes where the name goes")
	}
	if w.From != nil {
		all = append(all, "the address is in from "+networks(w.From))
	}
	return strings.Join(all, ", and ")
}

// whyNot says which conditions the client does not meet, of all routes of a pattern.
func (e *explainer) whyNot(rs []*Route, star []byte) string {
	var all []string
	for _, r := range rs {
		if s := e.unmet(r, star); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

// unmet says which condition of a route the client does not meet, the first of several.
func (e *explainer) unmet(r *Route, star []byte) string {
	w := r.When
	if e.mode == onlyACME && !slices.Contains(r.protocols(), acmeProtocol) {
		return "a route with alpn acme-tls/1 goes first"
	}
	switch _, offered := w.offered(e.query.ALPN, e.mode); {
	case w.Listen != nil && !slices.Contains(w.Listen, e.query.Listener):
		return "is for listener " + e.table.listeners(w.Listen)
	case w.Matching != nil && !w.Matching.takes(star):
		return fmt.Sprintf("%s does not match %s", words([]string{string(star)}), w.Matching)
	case !offered:
		return fmt.Sprintf("wants alpn %s, the client offers %s", words(w.ALPN), words(e.ALPN))
	}
	return fmt.Sprintf("wants a client from %s, not %s", networks(w.From), address(e.Client))
}
