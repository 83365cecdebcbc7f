package proxy

import "keyhole/proxy/relay"

// Reason says in a connection's record why it ended. Each has its own place in
// docs/operations.md.
type Reason uint8

// The reasons, by the step of a connection's life that they end.
const (
	NoReason Reason = iota
	// admit
	TooManyConnections
	BadProxyHeader
	// hello
	NoBytes
	ClientGone
	HelloTimeout
	HelloTooLarge
	HelloMemory
	HelloMalformed
	NotTLS
	NoTLSAsked
	StartTLSMalformed
	// decide
	NoSNI
	NoRoute
	DeniedAddress
	DeniedJA4
	RouteRejects
	NoHealthyServer
	Loop
	NoAddress
	DeniedServer
	LookupFailed
	LookupTimeout
	TooManyLookups
	// dial
	DialRefused
	DialTimeout
	StartTLSRefused
	NoLocalPort
	NoLocalRoute
	NoResources
	// relay
	ClientClosed
	OriginClosed
	ClientReset
	OriginReset
	ClientLost
	OriginLost
	NameChanged
	IdleTimeout
	HalfCloseTimeout
	// any
	Drained
	Killed
)

var reasonNames = [...]string{
	"", "too_many_connections", "bad_proxy_header",
	"no_bytes", "client_gone", "hello_timeout", "hello_too_large", "hello_memory", "hello_malformed", "not_tls",
	"no_tls_asked", "starttls_malformed",
	"no_sni", "no_route", "denied_address", "denied_ja4", "route_rejects", "no_healthy_server", "loop",
	"no_address", "denied_server", "lookup_failed", "lookup_timeout", "too_many_lookups",
	"dial_refused", "dial_timeout", "starttls_refused", "no_local_port", "no_local_route", "no_resources",
	"client_closed", "origin_closed", "client_reset", "origin_reset", "client_lost", "origin_lost", "name_changed",
	"idle_timeout", "half_close_timeout",
	"drained", "killed",
}

// String returns the name that records and metrics use.
func (r Reason) String() string { return reasonNames[r] }

// ofRelay names the ends that the session has no part in.
var ofRelay = [...]Reason{
	relay.NoDescriptor:     TooManyConnections,
	relay.NoResources:      NoResources,
	relay.ClientGone:       ClientGone,
	relay.HelloTimeout:     HelloTimeout,
	relay.HelloMemory:      HelloMemory,
	relay.ClientClosed:     ClientClosed,
	relay.OriginClosed:     OriginClosed,
	relay.ClientReset:      ClientReset,
	relay.OriginReset:      OriginReset,
	relay.ClientLost:       ClientLost,
	relay.OriginLost:       OriginLost,
	relay.IdleTimeout:      IdleTimeout,
	relay.HalfCloseTimeout: HalfCloseTimeout,
	relay.Drained:          Drained,
	relay.Killed:           Killed,
}
