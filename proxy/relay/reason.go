package relay

// Reason says why a connection ended. Each has its own metric and its own
// place in the access record.
type Reason uint8

// The reasons, by the step of a connection's life that they end.
const (
	NoReason Reason = iota
	// admit
	TooManyConnections
	// hello
	ClientGone
	HelloTimeout
	HelloTooLarge
	HelloMalformed
	NotTLS
	// decide
	NoSNI
	NoRoute
	DeniedAddress
	NoHealthyServer
	// dial
	DialRefused
	DialTimeout
	// relay
	ClientClosed
	OriginClosed
	ClientReset
	OriginReset
	IdleTimeout
	HalfCloseTimeout
	// any
	Drained
	Killed
)

var reasonNames = [...]string{
	"", "too_many_connections",
	"client_gone", "hello_timeout", "hello_too_large", "hello_malformed", "not_tls",
	"no_sni", "no_route", "denied_address", "no_healthy_server",
	"dial_refused", "dial_timeout",
	"client_closed", "origin_closed", "client_reset", "origin_reset", "idle_timeout", "half_close_timeout",
	"drained", "killed",
}

// String returns the name that records and metrics use.
func (r Reason) String() string { return reasonNames[r] }

// Phase is the step that a connection had reached.
type Phase uint8

// The phases, in order.
const (
	PhaseAdmit Phase = iota
	PhaseHello
	PhaseDecide
	PhaseDial
	PhaseRelay
)

var phaseNames = [...]string{"admit", "hello", "decide", "dial", "relay"}

func (p Phase) String() string { return phaseNames[p] }
