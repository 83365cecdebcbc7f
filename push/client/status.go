package client

import "time"

// A Phase is what Run is at.
type Phase string

// The phases, as a connection goes through them.
const (
	Connecting Phase = "connecting" // or logging in
	Verified   Phase = "verified"   // both sides have proved themselves
	Listening  Phase = "listening"  // messages arrive
	Renewed    Phase = "renewed"    // the server has taken a new client key; the connection goes on
	Drained    Phase = "drained"    // the server stops, and the terminal connects elsewhere
	Waiting    Phase = "waiting"    // before the next attempt
)

// A Status says what Run does. Fields that the phase does not name are zero.
type Status struct {
	Phase   Phase
	Binding string        // of Verified: wire.BindingExporter, or wire.BindingWaived where nothing ties the exchange to TLS
	Wait    time.Duration // of Waiting
	Err     error         // of Waiting: what ended the last attempt; it wraps a wire.Code where the server gave one
}
