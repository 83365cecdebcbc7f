package routes

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Route sends the names it lists to one backend. A Table keeps the routes it was made from, so neither a Route nor
// what its slices hold may change afterwards.
type Route struct {
	SNI         []string       // patterns, as ParsePattern takes them; at least one
	ALPN        []string       // the client must offer one of these protocols; nil: any client
	Allow       []netip.Prefix // the client's address must be in one of these; nil: any address
	Backend     int            // index into the caller's list of backends
	IdleTimeout time.Duration  // 0: the global one
	Reject      Reject         // RejectInherit: the default's
	Line        int            // line in the configuration file; 0 if none
}

// Default is where a name without a route, and a hello without a name, goes.
type Default struct {
	Backend int    // index into the caller's list of backends; negative: none, the client is rejected
	Reject  Reject // how clients are rejected; New takes RejectInherit for RejectAlert
	Line    int    // line in the configuration file; 0 if none
}

// Reject is what a client sees when it is turned away.
type Reject uint8

const (
	RejectInherit Reject = iota // as the default says
	RejectAlert                 // a TLS alert, then a clean close
	RejectClose                 // a clean close
	RejectReset                 // a TCP reset
	RejectSilence               // nothing at all; the connection is held until the hello times out
)

var rejectNames = [...]string{"inherit", "alert", "close", "reset", "silence"}

// RejectWords returns the words that ParseReject takes. RejectInherit has none: the configuration says it by leaving
// reject out.
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
