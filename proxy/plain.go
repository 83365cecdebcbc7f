package proxy

import (
	"errors"

	"keyhole/proxy/relay"
	"keyhole/routes"
)

// serverFirst reports whether a server may speak before its client.
func (r *Rules) serverFirst() bool {
	return r != nil && (r.TCP != nil || r.NotTLS.Silent() != nil)
}

// labelTCP is the route that records name for a listener without TLS.
const labelTCP = "tcp"

var errUndecided = errors.New("not TLS, and the first bytes are too few for the rules of not_tls")

// openPlain is Open for what goes on without a ClientHello; r may be nil.
func (s *session) openPlain(r *Rules) relay.Verdict {
	switch {
	case r == nil:
	case r.TCP != nil:
		s.guarding = s.guards
		return s.take(r.TCP, labelTCP)
	case r.NotTLS.Silent() != nil:
		return relay.Verdict{Timeout: r.NotTLS.Silent().Silent}
	}
	return relay.Verdict{}
}

// silent decides about a client that has sent nothing.
func (s *session) silent() relay.Verdict {
	n := s.rules().NotTLS.Silent() // which Open has found
	s.guarding = s.guards
	return s.take(n.Route, n.Label)
}

// notTLS decides about a client whose first bytes, b, are no TLS; err says what
// they look like. It waits while more bytes can change the answer. A client that
// sends none until the hello times out reaches no later rule: by sending the
// rest after that, it could get past the lists of an earlier one.
func (s *session) notTLS(b []byte, err error) relay.Verdict {
	r := s.rules()
	if r == nil {
		return s.refuse(relay.PhaseHello, err)
	}
	n, settled := r.NotTLS.Find(b)
	switch {
	case !settled:
		s.err = errUndecided
		return relay.Verdict{}
	case n == nil:
		return s.refuse(relay.PhaseHello, err)
	}
	return s.take(n.Route, n.Label)
}

// take sends a client that does not speak TLS where r says. No hello can come
// any more: what it sends goes to the server as it comes.
func (s *session) take(r *routes.Route, label string) relay.Verdict {
	s.clear, s.err = true, nil
	s.route = append(s.route[:0], label...)
	d := s.config.DecideWithout(r, Query{Client: s.client().Addr(), Listener: s.listener()})
	s.reject = d.Reject
	s.stopReading()
	if d.Reason != NoReason {
		return s.turnAway(d.Reason, relay.PhaseDecide, 0)
	}
	s.serve(d)
	return s.dial(NoHealthyServer)
}

// rules returns what the configuration says of the connection's listener; nil
// is nothing.
func (s *session) rules() *Rules { return s.config.rules(s.listener()) }
