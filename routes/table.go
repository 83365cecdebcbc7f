// Package routes finds the route of a TLS connection from what is known of it when its ClientHello
// has been read: the server name, the protocols that the client offers, the address that it comes
// from, and the listener that it reached.
//
//	table, err := routes.New(routes.Config{Routes: []routes.Route{
//		{SNI: []string{"shop.example.com"}, Backend: 0},
//		{SNI: []string{"*.shop.example.com", "**.example.org"}, When: &routes.Conditions{ALPN: []string{"h2"}}, Backend: 1},
//	}})
//	...
//	match := table.Lookup(routes.Query{Name: []byte("Shop.Example.com."), Client: client, Listener: routes.NoListener})
//
// A name's exact pattern goes first, then "*.", which stands for one label, then the longest "**."
// suffix, which stands for one label or more, then "**", which is any name, then the default. The
// routes of one pattern are told apart by their Conditions. Table.Explain shows every step for one
// name.
//
// A table is immutable. A look-up allocates nothing, takes no lock, and does the same work in a
// table of a million routes as in one of ten. With a name of 24 bytes each, a million routes take
// 178 bytes apiece, of which 144 are the Route and its strings (go test -run TestTableSize -v
// ./routes).
//
// The package reads no configuration, knows backends and listeners only as numbers, and never sees
// a connection.
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

// A Config is what a Table is made from. The table keeps it, because a copy of a million routes
// would double their memory: nothing that it leads to may change afterwards.
type Config struct {
	Routes []Route

	// Default takes the names that no route takes, and NoName the hellos without a name. Without
	// NoName the default takes them too. Neither has patterns. Nil: there is none.
	Default, NoName *Route

	Listeners []Own // by Query.Listener; may be empty

	JA4 *Fingerprints // which hellos are let in at all; nil: any
}

// Own is what one listener has for itself.
type Own struct {
	Label           string // what Explain and conflicts call the listener
	Default, NoName *Route // go before those of the Config; nil: there is none
}

// A Route sends the names it lists to one backend.
type Route struct {
	SNI         []string      // patterns, as ParsePattern takes them; at least one
	When        *Conditions   // what else a client must be; nil: anything
	Access      *Access       // which addresses it may come from; nil: any
	JA4         *Fingerprints // which hellos it lets in; nil: any
	Backend     int           // index into the caller's list of backends; negative: none, the client is rejected
	IdleTimeout time.Duration // 0: the global one
	Keepalive   time.Duration // 0: the global one; negative: none
	Line        int           // line in the configuration file; 0 if none
	File        string        // that Line is in; "" for the only one
	Reject      Reject        // RejectInherit: the default's
}

// Conditions tell routes of one pattern apart. A route takes a client only if all of them are met:
// with others the look-up goes on to the pattern's other routes, and to wider patterns.
type Conditions struct {
	Listen   []int          // the client must have come by one of these listeners; nil: by any
	ALPN     []string       // it must offer one of these protocols; nil: any or none
	From     []netip.Prefix // its address must be in one of these; nil: any
	Matching *Matching      // must take what the pattern's stars stand for; nil: anything
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
	routes    []Route
	index     index
	claims    []claims // of patterns that several routes share, or one that asks for the address
	fallbacks []fallback
	labels    []string // of the listeners
	acme      bool     // a route lists acme-tls/1
	ja4       *Fingerprints
	wantsJA4  bool
}

// A fallback is what takes the clients of a listener that no pattern takes. The first is of clients
// whose listener has nothing of its own, the others are of the listeners by number.
type fallback struct {
	named, nameless []step
	reject          Reject // never RejectInherit
}

// A step is a route without patterns, and what a look-up that ends there comes to.
type step struct {
	*Route
	label           string // what Explain calls it
	taken, rejected Outcome
}

// New makes a table.
//
// The error is Conflicts when routes contradict each other: two claim one pattern under the same
// conditions. Any other error is the first that New finds, and names its route by index: a route
// without patterns, a pattern that ParsePattern refuses, a protocol name that no hello can carry, a
// prefix that no client address can match, a listener that there is not.
func New(c Config) (*Table, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	t := &Table{routes: c.Routes, labels: make([]string, len(c.Listeners)), ja4: c.JA4, wantsJA4: c.wantsJA4()}
	t.fallbacks = append(t.fallbacks, c.fallback(Own{}))
	for i, own := range c.Listeners {
		t.labels[i] = own.Label
		t.fallbacks = append(t.fallbacks, c.fallback(own))
	}
	if err := t.build(); err != nil {
		return nil, err
	}
	return t, nil
}

// fallback returns what follows the patterns for a listener with those routes of its own.
func (c *Config) fallback(own Own) (f fallback) {
	f.reject = RejectAlert
	for _, r := range []*Route{c.Default, own.Default} {
		if r != nil && r.Reject != RejectInherit {
			f.reject = r.Reject
		}
	}
	add := func(to *[]step, r *Route, label string, taken, rejected Outcome) {
		if r != nil {
			*to = append(*to, step{r, label, taken, rejected})
		}
	}
	ownDefault, ownNoName := "default of "+own.Label, "no_sni of "+own.Label
	add(&f.named, own.Default, ownDefault, MatchedDefault, NoRoute)
	add(&f.named, c.Default, "default", MatchedDefault, NoRoute)
	add(&f.nameless, own.NoName, ownNoName, MatchedNoName, NoName)
	add(&f.nameless, own.Default, ownDefault, MatchedDefault, NoName)
	add(&f.nameless, c.NoName, "no_sni", MatchedNoName, NoName)
	add(&f.nameless, c.Default, "default", MatchedDefault, NoName)
	return f
}

// fallback returns that of a listener.
func (t *Table) fallback(listener int) *fallback {
	if listener < 0 || listener+1 >= len(t.fallbacks) {
		return &t.fallbacks[0]
	}
	return &t.fallbacks[listener+1]
}

// Reject returns how a client of a listener is rejected whose route does not say, or which has
// none. It is never RejectInherit.
func (t *Table) Reject(listener int) Reject { return t.fallback(listener).reject }

// WantsJA4 reports whether a look-up needs Query.JA4.
func (t *Table) WantsJA4() bool { return t.wantsJA4 }

func (c *Config) wantsJA4() bool {
	others := []*Route{c.Default, c.NoName}
	for _, own := range c.Listeners {
		others = append(others, own.Default, own.NoName)
	}
	return c.JA4 != nil || slices.ContainsFunc(c.Routes, func(r Route) bool { return r.JA4 != nil }) ||
		slices.ContainsFunc(others, func(r *Route) bool { return r != nil && r.JA4 != nil })
}

// Len is the number of routes.
func (t *Table) Len() int { return len(t.routes) }

func (c *Config) check() error {
	patterns := 0
	for i := range c.Routes {
		if err := c.Routes[i].check(len(c.Listeners)); err != nil {
			return fmt.Errorf("route %d: %w", i, err)
		}
		patterns += len(c.Routes[i].SNI)
	}
	if patterns > MaxPatterns {
		return fmt.Errorf("routes have %d patterns, a table holds %d at most: let *. and **. stand for many names",
			patterns, MaxPatterns)
	}
	return nil
}

// check returns an error if no client could ever take the route. build checks the patterns.
func (r *Route) check(listeners int) error {
	if len(r.SNI) == 0 {
		return errors.New("sni lists no pattern, and no name would ever take the route")
	}
	if r.When == nil {
		return nil
	}
	for _, p := range r.When.ALPN {
		if len(p) == 0 || len(p) > sni.MaxProtocol {
			return fmt.Errorf("alpn %q has %d bytes, and a protocol name has 1 to 255 (RFC 7301 section 3.1)", p, len(p))
		}
	}
	for _, i := range r.When.Listen {
		if i < 0 || i >= listeners {
			return fmt.Errorf("listener %d is none of %d", i, listeners)
		}
	}
	for _, p := range r.When.From {
		if err := checkPrefix(p); err != nil {
			return fmt.Errorf("from %w", err)
		}
	}
	return nil
}

// Where names the place of the route in the configuration, "" if it has none.
func (r *Route) Where() string {
	switch {
	case r.Line == 0:
		return ""
	case r.File == "":
		return fmt.Sprintf("line %d", r.Line)
	}
	return fmt.Sprintf("%s:%d", r.File, r.Line)
}
