package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"keyhole/backend"
	"keyhole/postgres"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// StartTLS is what clients of a listener say before their TLS begins.
type StartTLS uint8

// The kinds.
const (
	NoStartTLS       StartTLS = iota // nothing: TLS begins at once
	PostgresStartTLS                 // PostgreSQL's SSLRequest, or nothing
)

var (
	errNoTLSAsked = errors.New("a Postgres client began a session without asking for TLS")
	errCancel     = errors.New("a Postgres CancelRequest without TLS names no server, and the listener has no no_sni of its own for it")
	errNoAnswer   = errors.New("the server did not answer in time")
)

// negotiate answers what a client says before TLS. It reports whether that is
// over: then b begins the hello.
func (s *session) negotiate(b []byte) (v relay.Verdict, over bool) {
	step, err := s.postgres.Read(b)
	switch {
	case err != nil:
		s.err = err
		return s.turnAwayInClear(StartTLSMalformed, nil), false
	case step == postgres.AskTLS:
		s.asks = true
		v.Skip, v.Reply = postgres.RequestSize, postgres.Yes
	case step == postgres.AskGSS:
		v.Skip, v.Reply = postgres.RequestSize, postgres.No
	case step == postgres.Cancel:
		return s.cancel(b), false
	case step == postgres.Startup:
		s.err = errNoTLSAsked
		return s.turnAwayInClear(NoTLSAsked, postgres.Refusal), false
	}
	return v, step == postgres.Hello
}

// cancel sends a CancelRequest that came without TLS, b, to where the
// listener's own no_sni says. It names no server, and holds the secret by which
// a server knows that the session is the client's. So it does not go where all
// listeners' hellos without a name go, nor where unknown names do.
func (s *session) cancel(b []byte) relay.Verdict {
	s.clear = true
	c, ln := s.config, s.listener()
	d := c.Decide(Query{Client: s.client().Addr(), Listener: ln})
	if r := c.rules(ln); r.NoName == nil || d.Route != r.NoName {
		s.err = errCancel
		return s.turnAwayInClear(NoTLSAsked, nil)
	}
	s.stopReading()
	s.outcome, s.reject = d.Outcome, d.Reject
	s.key = max(binary.LittleEndian.Uint32(b[12:]), 1)
	switch {
	case d.Reason != NoReason:
		return s.turnAway(d.Reason, relay.PhaseDecide, 0)
	case s.conn.IsOwn(s.key, 0):
		s.err = errLoop
		return s.turnAway(Loop, relay.PhaseDecide, 0)
	}
	s.serve(d)
	return s.dial(NoHealthyServer)
}

// turnAwayInClear rejects a client before it has begun TLS: where others get an
// alert, it gets b.
func (s *session) turnAwayInClear(r Reason, b []byte) relay.Verdict {
	s.clear = true
	v := s.turnAway(r, relay.PhaseHello, 0)
	if s.reject == routes.RejectAlert {
		v.Farewell.Bytes = b
	}
	return v
}

// ask adds the client's own request for TLS to a dial. A client that began with
// TLS needs a server that takes that too, and asks nothing.
func (s *session) ask(v relay.Verdict) relay.Verdict {
	if s.asks {
		v.Prefix, v.Ask = postgres.SSLRequest, true
	}
	return v
}

// answered returns how many bytes a server sends before it gets the hello.
func (s *session) answered() int {
	if s.asks {
		return len(postgres.Yes)
	}
	return 0
}

// Agree reads a server's answer to the SSLRequest.
func (s *session) Agree(b []byte) error { return postgres.Answer(b) }

// notAgreed goes on to the next server: one that does not begin TLS is of no
// more use than one that refuses the dial.
func (s *session) notAgreed(failed *backend.Endpoint, cause error, took time.Duration) relay.Verdict {
	if cause == relay.ErrTimeout {
		cause = errNoAnswer
		s.pool.TimedOut(failed, took)
	}
	s.err = fmt.Errorf("no TLS after the Postgres SSLRequest: %w", cause)
	return s.next(StartTLSRefused)
}
