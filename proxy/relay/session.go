package relay

import (
	"net/netip"
	"time"
)

// Session decides for one connection. The engine makes one for every slot of
// a loop and uses it for one connection after another; its methods are called
// on the loop's goroutine, in the order Open, Hello (until the verdict is not
// More), DialFailed (after each failed dial), Closed. They must not block:
// everything else on the loop waits for them.
type Session interface {
	// Open begins a new connection. More goes on to its first bytes.
	Open() Verdict
	// Hello is given every byte that the client has sent so far. It must not
	// keep b.
	Hello(b []byte) Verdict
	// DialFailed says that the last Dial did not connect: the error is an
	// errno, or ErrDialTimeout.
	DialFailed(err error) Verdict
	// Closed ends the connection; exactly one call for each Open.
	Closed(Summary)
}

// Verdict is a session's answer.
type Verdict struct {
	Op     Op
	Target Target        // Dial: where to
	Idle   time.Duration // Dial: how long neither side may send; 0: no limit
	Reason Reason        // Reject: for the record
	Phase  Phase         // Reject: for the record
	Bye    Bye           // Reject: what the client sees
	Alert  uint8         // Reject with ByeAlert: the TLS alert's description
}

// Op is what a Verdict asks for.
type Op uint8

// The operations. More is the zero value.
const (
	More   Op = iota // read on
	Dial             // connect to Target, then send it what the client sent
	Reject           // end the connection as Bye says
)

// Bye is how a rejected client is sent away.
type Bye uint8

// The ways to say good-bye.
const (
	ByeAlert   Bye = iota // a fatal TLS alert, then a clean close
	ByeClose              // a clean close
	ByeReset              // a TCP reset
	ByeSilence            // no answer; closed when the hello timeout has passed again
)

// Summary is what the engine knows of a connection at its end. Times are
// counted from the accept, to within a batch of events; a step that was not
// reached has -1.
type Summary struct {
	Reason   Reason
	Phase    Phase
	Client   netip.AddrPort
	Listener int // index in the order of Engine.Listen calls
	Start    time.Time
	Hello    time.Duration // until the first bytes were decided upon
	Dial     time.Duration // until the origin had accepted
	Total    time.Duration
	Up, Down uint64 // bytes handed to the origin's and to the client's socket
}
