package relay

import (
	"errors"
	"time"
)

// Session decides for one connection. The engine makes one for every slot of
// a loop and uses it for one connection after another. It calls the methods on
// the loop's goroutine. They must not block: everything else on the loop waits
// for them.
//
//	Open -> Hello... -> (Resume...) -> (DialFailed...) -> (Agree) -> Connected -> (Inspect...) -> Answered -> Closed
//
// Closed can come after any of them, and comes once for each Open.
type Session interface {
	// Open begins a new connection. More goes on to its first bytes; any other
	// answer does without them.
	Open() Verdict
	// Hello is given every byte that the client has sent so far, but for those
	// that a verdict has skipped. It must not keep b.
	Hello(b []byte) Verdict
	// Resume follows a Wait: err is nil after a Wake, ErrTimeout when the
	// verdict's Timeout has passed. It also follows a More with a Timeout, and
	// may answer More again.
	Resume(err error) Verdict
	// DialFailed says that the last Dial did not connect, and after how long.
	// The error is an errno, ErrTimeout, a LocalError or an AskError.
	DialFailed(err error, took time.Duration) Verdict
	// Agree is given the first bytes that the origin sends after a verdict
	// with Ask; none is its end. They do not go to the client. An error fails
	// the dial. It must not keep b.
	Agree(b []byte) error
	// Connected says that the origin has accepted the connection, and agreed
	// if it was asked, and after how long.
	Connected(took time.Duration)
	// Inspect is shown bytes before they go on; see Verdict.Inspect. It must
	// not keep b.
	Inspect(from Side, b []byte) Inspection
	// Answered says that the origin has sent its first byte.
	Answered()
	// Moved says that another loop serves the connection from now on; see
	// Conn.Loop.
	Moved()
	// Closed ends the connection.
	Closed(Summary)
}

// Side is one of a connection's peers.
type Side uint8

// The sides, and the bits that stand for them in a set.
const (
	Client Side = client
	Origin Side = origin

	NoSide     Sides = 0
	ClientSide Sides = 1 << client
	OriginSide Sides = 1 << origin
)

// Sides is a set of sides.
type Sides uint8

// Verdict is a session's answer.
type Verdict struct {
	Op Op

	// Dial: where to connect to, and how long that may take, if that is less
	// than the engine's Timeouts.Connect. Wait: how long until Resume gets ErrTimeout;
	// 0 is for ever. More, in an answer to Open or with a Skip of all bytes: the
	// same, for a client that has sent nothing since; 0 is never. Timeouts.Hello goes on beside it.
	Target  Target
	Timeout time.Duration

	// Dial: how long the connection may be without a byte, 0 for ever; and
	// after how long a silent peer is asked whether it is still there, 0 for
	// never.
	Idle      time.Duration
	Keepalive time.Duration

	// Of the client's bytes the first Skip are not for the origin: only in an
	// answer to Hello, and counted from what Hello was given. With More, Hello
	// is not given them again, and Reply, of a few bytes, goes to the client in
	// answer to them. Neither is counted as a peer's bytes.
	Skip  int
	Reply []byte
	// Prefix goes to the origin before the client's bytes, in one segment with
	// them. It is not counted as theirs, and the loop has sent or copied it when
	// it calls any session again. A session that is asked again gives it again.
	Prefix []byte
	// Dial: Prefix is a question. The client's bytes follow it only once Agree
	// has taken the origin's answer, for which there is as much time as the
	// connect has left.
	Ask bool

	// Dial: the sides whose bytes Inspect is shown before they go on. Of the
	// bytes that Hello was given, the last Hold do not go on yet: Inspect is
	// shown them with what follows. Only in an answer to Hello.
	Inspect Sides
	Hold    int
	// Dial: what Conn.IsOwn finds this connection by; 0 is nothing.
	Key uint32

	// Reject: what the client sees.
	Farewell Farewell
}

// Op is what a Verdict asks for.
type Op uint8

// The operations. More is the zero value.
const (
	More   Op = iota // read on
	Wait             // until Waker.Wake: the answer is not known yet
	Dial             // connect to Target, then send it what the client sent
	Reject           // end the connection as Farewell says
)

// Farewell is what a rejected client sees.
type Farewell struct {
	Ending Ending
	Bytes  []byte // sent before a Close
}

// Ending is how a rejected client's connection ends.
type Ending uint8

// The endings. Close is the zero value.
const (
	Close   Ending = iota // in order, behind the farewell's bytes
	Reset                 // with a TCP reset
	Silence               // without an answer, when the hello timeout has passed again
)

// Inspection is a session's answer to bytes that were shown to it.
type Inspection struct {
	Pass   int   // how many may go on; those behind are shown again, with what follows them
	Watch  Sides // whose bytes are to be shown from now on
	Reject bool  // end the connection: the client gets Farewell, the origin a reset
	Farewell
}

// Summary is what the engine knows of a connection at its end. Times are
// counted from the accept, to within a batch of events; a step that was not
// reached has -1.
type Summary struct {
	Reason   Reason
	Phase    Phase
	Start    time.Time     // by the wall clock as it is at the end
	Hello    time.Duration // until the first bytes were decided upon
	Dial     time.Duration // until the origin had accepted
	Total    time.Duration
	Up, Down uint64 // the client's bytes handed to the origin's socket, and the origin's to the client's
}

// ErrTimeout is what DialFailed gets when the origin did not answer in time,
// and Resume when nobody woke the connection.
var ErrTimeout = errors.New("connection timed out")

// An AskError is a failed dial to an origin that accepted the connection, and
// was asked: Err is an errno, ErrTimeout or what Agree returned.
type AskError struct{ Err error }

func (e *AskError) Error() string { return "the question failed: " + e.Err.Error() }
func (e *AskError) Unwrap() error { return e.Err }

// A LocalError is a failed dial for which this machine is the cause, not the
// origin.
type LocalError struct {
	Cause Local
	Err   error // the errno
}

func (e *LocalError) Error() string { return e.Cause.String() + ": " + e.Err.Error() }
func (e *LocalError) Unwrap() error { return e.Err }

// Local is what this machine lacks for a dial.
type Local uint8

// The causes.
const (
	NoLocalPort       Local = iota // every local port to that address is in use
	NoLocalRoute                   // no route, no such address family, or a local rule forbids it
	NoLocalDescriptor              // the process has none left
	NoLocalMemory                  // the kernel has none, or lets the user watch no more descriptors
)

func (c Local) String() string {
	return [...]string{"no local port is free", "this machine has no route", "no descriptor is left", "the kernel has no memory"}[c]
}
