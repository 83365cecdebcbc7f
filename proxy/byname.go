package proxy

import (
	"errors"
	"time"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
)

// find has the servers found of a backend whose server is the client's name: at
// once, or after a wait of at most limit.
func (s *session) find(name []byte, limit time.Duration) relay.Verdict {
	var buf [253]byte
	host, err := routes.Normalize(buf[:0], name)
	if err != nil { // none, or an IP address: the table has refused all others
		return s.turnAway(NoSNI, relay.PhaseDecide, alertUnrecognizedName)
	}
	pool, err := s.pool.Find(host)
	if err == backend.ErrUnknown {
		s.wait, pool, err = s.pool.Ask(host, s.conn.Waker())
	}
	if s.wait != nil {
		return relay.Verdict{Op: relay.Wait, Timeout: limit}
	}
	return s.found(pool, err)
}

// found goes on with the pool of a name, or turns the client away for err. To
// a client a name that leads where it may not go is one that does not exist.
func (s *session) found(pool *backend.Pool, err error) relay.Verdict {
	if err == nil {
		s.pool = pool
		return s.dial(NoHealthyServer)
	}
	s.err = err
	reason, alert := LookupFailed, uint8(alertInternalError)
	switch {
	case err == backend.ErrNoAddress:
		reason, alert = NoAddress, alertUnrecognizedName
	case errors.Is(err, backend.ErrDenied):
		reason, alert = DeniedServer, alertUnrecognizedName
	case err == backend.ErrLookupTimeout:
		reason = LookupTimeout
	case err == backend.ErrLookups:
		reason = TooManyLookups
	}
	return s.turnAway(reason, relay.PhaseDecide, alert)
}

// resolved follows a wait, with or without its result.
func (s *session) resolved() relay.Verdict {
	pool, err := s.wait.Result()
	s.wait = nil
	return s.found(pool, err)
}

// letGo gives up the server that was chosen, or the wait for one.
func (s *session) letGo() {
	if s.endpoint != nil {
		s.endpoint.Release()
		s.endpoint = nil
	}
	if s.wait != nil {
		s.wait.Leave()
		s.wait = nil
	}
}

// listenPort returns the port that the client came in by.
func (s *session) listenPort() uint16 {
	// Not the proxy's Listener, which is complete only after the first accept.
	if ln := s.conn.Listener(); ln != nil {
		return ln.Addr().Port()
	}
	return 0 // the zero Conn's
}
