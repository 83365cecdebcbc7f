package routes

import (
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"text/tabwriter"

	"keyhole/sni"
)

// An Explanation is a look-up with its reasons. String lays it out for a terminal.
type Explanation struct {
	Asked      string      // the name as it was given; "" for a hello without one
	Name       string      // its normal form; "" if it has none
	ALPN       []string    // what the client offers, in its order
	Client     netip.Addr  // the zero Addr is in no allow list
	Candidates []Candidate // from the narrowest pattern that could take the name to the default; none for a bad name
	Match                  // what Lookup returns for the same hello
	Err        error       // Normalize's, when Outcome is BadName
}

// A Candidate is a pattern that could take the name, whether or not a route has it.
type Candidate struct {
	Pattern string   // in normal form; "default" for the default
	Routes  []*Route // those that have the pattern, in the order of the configuration
	Verdict Verdict
	Because string // the reason of the verdict, in words
}

// Verdict says whether a candidate decided, and if not, why not.
type Verdict uint8

const (
	Absent     Verdict = iota // no route has the pattern; of the default, it has no backend
	Taken                     // it decided, and the client is let through
	Refused                   // it decided, and its route does not allow the client
	PassedOver                // all its routes want protocols that the client does not offer
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
// over 255 bytes, count as not offered.
func (t *Table) Explain(name string, alpn []string, client netip.Addr) Explanation {
	e := Explanation{Asked: name, ALPN: alpn, Client: client}
	if name == "" {
		e.decideNoName(t, "the hello has no name")
		return e
	}
	normal, err := Normalize(nil, []byte(name))
	if err == ErrIPLiteral {
		e.decideNoName(t, "an IP address is no name (RFC 6066 section 3)")
		e.Literal = true
		return e
	}
	if err != nil {
		e.Outcome, e.Err = BadName, err
		return e
	}
	e.Name = string(normal)
	offer, won := sni.MakeProtocols(alpn), kind(0)
	for k, suffix := range candidates(normal) {
		c := t.candidate(k, suffix)
		switch {
		case len(c.Routes) == 0:
			c.Because = "no route has it"
		case won != 0:
			c.Verdict, c.Because = Beaten, won.beats()
		default:
			if e.decide(t, &c, suffix, offer, k) {
				won = k
			}
		}
		e.Candidates = append(e.Candidates, c)
	}
	e.decideDefault(t, NoRoute, "no pattern takes the name")
	return e
}

// candidates yields every pattern that can take a name, narrowest first: the order that Lookup
// follows.
func candidates(name []byte) iter.Seq2[kind, []byte] {
	return func(yield func(kind, []byte) bool) {
		if !yield(exact, name) {
			return
		}
		n := countLabels(name)
		for depth, suffix := n-1, parent(name); depth > 0; depth, suffix = depth-1, parent(suffix) {
			if depth == n-1 && !yield(oneLabel, suffix) || !yield(manyLabels, suffix) {
				return
			}
		}
	}
}

// candidate returns a pattern with the routes that have it.
func (t *Table) candidate(k kind, suffix []byte) Candidate {
	c := Candidate{Pattern: k.prefix() + string(suffix)}
	if to, ok := t.target(k, suffix); ok {
		for i := range t.claimants(to) {
			c.Routes = append(c.Routes, &t.routes[i])
		}
	}
	return c
}

func (t *Table) target(k kind, suffix []byte) (target, bool) {
	if !t.index.depths[k].has(countLabels(suffix)) {
		return 0, false
	}
	return t.index.find(t.index.hash(suffix), k, suffix)
}

// decide gives a pattern with routes its verdict, and reports whether the look-up ends there.
func (e *Explanation) decide(t *Table, c *Candidate, suffix []byte, offer sni.Protocols, k kind) bool {
	to, _ := t.target(k, suffix)
	r := t.choose(to, offer)
	if r == nil {
		c.Verdict = PassedOver
		c.Because = fmt.Sprintf("wants alpn %s, the client offers %s", words(wanted(c.Routes)), words(e.ALPN))
		return false
	}
	e.Match = r.admit(e.Client)
	c.Verdict, c.Because = Taken, k.reason()
	if len(r.ALPN) > 0 {
		c.Because += fmt.Sprintf(", and the client offers alpn of %s", words(r.ALPN))
	} else if len(c.Routes) > 1 {
		c.Because += ", and no route with alpn fits"
	}
	if len(c.Routes) > 1 {
		c.Because += ": " + line(r.Line)
	}
	switch e.Outcome {
	case Rejected:
		c.Verdict = Rejecting
	case Denied:
		c.Verdict = Refused
		c.Because = fmt.Sprintf("%s, but allow has %s and not %s", c.Because, r.allowed(), address(e.Client))
	}
	return true
}

// decideNoName appends what takes hellos without a name, which decides, and the default.
func (e *Explanation) decideNoName(t *Table, because string) {
	if t.noName == nil {
		e.decideDefault(t, NoName, because)
		return
	}
	e.Match = t.lookupNoName()
	c := Candidate{Pattern: "no_sni", Routes: []*Route{t.noName}, Verdict: Taken, Because: because}
	if e.Outcome == NoName {
		c.Verdict, c.Because = Rejecting, because+", and no_sni has no backend"
	}
	beaten := Candidate{Pattern: "default", Routes: []*Route{&t.fallback}, Verdict: Beaten, Because: "no_sni takes what has no name"}
	e.Candidates = append(e.Candidates, c, beaten)
}

// decideDefault appends the default, which decides if no pattern has.
func (e *Explanation) decideDefault(t *Table, otherwise Outcome, because string) {
	c := Candidate{Pattern: "default", Routes: []*Route{&t.fallback}}
	switch {
	case t.def.Backend < 0:
		c.Because = "has no backend"
	case e.Route != nil:
		c.Verdict, c.Because = Beaten, "takes only what no pattern takes"
	default:
		c.Verdict, c.Because = Taken, because
	}
	if e.Route == nil {
		e.Match = t.lookupDefault(otherwise)
	}
	e.Candidates = append(e.Candidates, c)
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

func wanted(rs []*Route) []string {
	var all []string
	for _, r := range rs {
		all = append(all, r.ALPN...)
	}
	return all
}

func (r *Route) allowed() string {
	prefixes := make([]string, len(r.Allow))
	for i, p := range r.Allow {
		prefixes[i] = p.String()
	}
	return strings.Join(prefixes, ", ")
}

// String lays the explanation out in lines for a terminal: the hello, the outcome, then a line for
// each candidate. It quotes names and protocols that could move the cursor.
//
//	shop.example.com, alpn h2, from 192.0.2.1
//	matched: line 12
//	  shop.example.com  line 12  taken: is the name itself
//	  *.example.com     line 14  beaten: an exact name goes before *. and **.
//	  **.example.com    -        absent: no route has it
//	  **.com            -        absent: no route has it
//	  default           line 40  beaten: takes only what no pattern takes
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, alpn %s, from %s\n%s\n", e.subject(), words(e.ALPN), address(e.Client), e.verdict())
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range e.Candidates {
		fmt.Fprintf(w, "  %s\t%s\t%s: %s\n", c.Pattern, c.lines(), c.Verdict, c.Because)
	}
	w.Flush() // a strings.Builder takes everything
	return b.String()
}

func (e Explanation) subject() string {
	switch e.Asked {
	case "":
		return "no name"
	case e.Name:
		return e.Name
	}
	switch {
	case e.Literal:
		return fmt.Sprintf("no name (%s is an IP address)", strconv.QuoteToASCII(e.Asked))
	case e.Name == "":
		return strconv.QuoteToASCII(e.Asked)
	case !isASCII([]byte(e.Asked)):
		return fmt.Sprintf("%s (clients send this for %s)", e.Name, strconv.QuoteToGraphic(e.Asked))
	}
	return fmt.Sprintf("%s (from %s)", e.Name, strconv.QuoteToGraphic(e.Asked))
}

func (e Explanation) verdict() string {
	if e.Err != nil {
		bad := fmt.Sprintf("%s: %s, and such a hello never reaches the default", e.Outcome, e.Err)
		if hint := surplus(e.Asked); hint != "" {
			bad += "\n" + hint + ": a ClientHello has the host name alone"
		}
		return bad
	}
	if e.Route == nil {
		return e.Outcome.String()
	}
	return fmt.Sprintf("%s: %s", e.Outcome, line(e.Route.Line))
}

func (c Candidate) lines() string {
	var all []string
	for _, r := range c.Routes {
		if r.Line > 0 {
			all = append(all, strconv.Itoa(r.Line))
		}
	}
	switch len(all) {
	case 0:
		return "-"
	case 1:
		return "line " + all[0]
	}
	return "lines " + strings.Join(all, ", ")
}

func line(n int) string {
	if n == 0 {
		return "no line"
	}
	return fmt.Sprintf("line %d", n)
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return "an unknown address"
	}
	return words([]string{a.String()}) // a zone is any text
}

// words lists protocol names, quoting what is not a plain word.
func words(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	all := make([]string, len(list))
	for i, s := range list {
		all[i] = s
		if q := strconv.QuoteToASCII(s); s == "" || q != `"`+s+`"` || strings.ContainsAny(s, " ,") {
			all[i] = q
		}
	}
	return strings.Join(all, ", ")
}
