package proxy

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/routes"
	"keyhole/sni"
)

// The alerts of RFC 8446 section 6 that a rejected client can get.
const (
	alertDecodeError      = 50
	alertInternalError    = 80
	alertUnrecognizedName = 112
)

// A session decides for one connection after another; see relay.Session. Once
// it has decided it holds nothing of the configuration but the pool, so that
// a table that was replaced is freed while its connections live on.
type session struct {
	server *Server
	conn   *relay.Conn
	ring   *ring // nil when no records are written

	config *Config // until the decision
	parser sni.Parser

	pool     *backend.Pool
	endpoint *backend.Endpoint   // counted on until released
	tried    []*backend.Endpoint // that did not answer
	idle     time.Duration
	bye      routes.Reject
	outcome  routes.Outcome
	attempts uint8
	err      error // the cause of the last failure

	// Kept from connection to connection, so that they are allocated once.
	name, alpn, route []byte
}

func (s *Server) newSession(c *relay.Conn) relay.Session {
	x := &session{server: s, conn: c}
	if s.access != nil {
		x.ring = s.access.ring(c.Loop())
	}
	return x
}

func (s *session) Open() relay.Verdict {
	s.config = s.server.config.Load()
	s.parser.Reset()
	s.parser.Limit = s.config.HelloBytes
	s.bye = s.config.Table.Default().Reject
	if most := s.config.MaxConnections; most > 0 && s.conn.OpenAtAccept() > most {
		return relay.Verdict{Op: relay.Reject, Reason: relay.TooManyConnections, Phase: relay.PhaseAdmit, Bye: relay.ByeReset}
	}
	return relay.Verdict{}
}

func (s *session) Hello(b []byte) relay.Verdict {
	h, err := s.parser.Parse(b)
	if err == sni.ErrNeedMore {
		return relay.Verdict{}
	}
	if err != nil {
		return s.refuseHello(err)
	}
	s.name = append(s.name[:0], h.ServerName...)
	for p := range h.ALPN.All() {
		s.alpn = append(s.alpn[:0], p...)
		break
	}
	return s.decide(h)
}

// refuseHello turns away a client whose hello could not be read. No route is
// asked, not even the default.
func (s *session) refuseHello(err error) relay.Verdict {
	s.err = err
	v := relay.Verdict{Op: relay.Reject, Phase: relay.PhaseHello, Bye: bye(s.bye), Alert: alertDecodeError}
	switch {
	case errors.Is(err, sni.ErrNotTLS):
		v.Reason = relay.NotTLS
		if v.Bye == relay.ByeAlert {
			v.Bye = relay.ByeClose // who does not speak TLS cannot read its alerts
		}
	case err == sni.ErrTooLarge:
		v.Reason = relay.HelloTooLarge
	default:
		v.Reason = relay.HelloMalformed
	}
	return v
}

func (s *session) decide(h sni.Hello) relay.Verdict {
	c := s.config
	m := c.Table.Lookup(h.ServerName, h.ALPN, s.conn.Client().Addr())
	s.outcome = m.Outcome
	s.config = nil
	if m.Route != nil {
		if m.Route.Reject != routes.RejectInherit {
			s.bye = m.Route.Reject
		}
		if len(m.Route.SNI) > 0 {
			s.route = append(s.route[:0], m.Route.SNI[0]...)
		}
	}
	switch m.Outcome {
	case routes.Matched, routes.MatchedDefault:
	case routes.NoName:
		return s.reject(relay.NoSNI, alertUnrecognizedName)
	case routes.BadName:
		s.err = errBadName
		return s.reject(relay.HelloMalformed, alertDecodeError)
	case routes.Denied:
		// To a client outside the list the name does not exist, so that
		// nobody can ask which names do.
		return s.reject(relay.DeniedAddress, alertUnrecognizedName)
	default:
		return s.reject(relay.NoRoute, alertUnrecognizedName)
	}
	s.pool = c.Pools[m.Route.Backend]
	if s.idle = m.Route.IdleTimeout; s.idle == 0 {
		s.idle = c.Idle
	}
	return s.dial(relay.NoHealthyServer)
}

var errBadName = errors.New("the server name is not a host name")

// dial picks the next server; with none left the client is rejected for
// reason.
func (s *session) dial(reason relay.Reason) relay.Verdict {
	s.endpoint = s.pool.Pick(s.conn.Client().Addr(), s.tried)
	if s.endpoint == nil {
		return s.reject(reason, alertInternalError)
	}
	s.attempts++
	return relay.Verdict{
		Op:     relay.Dial,
		Target: relay.Target{Addr: s.endpoint.AddrPort, Path: s.endpoint.Path},
		Idle:   s.idle,
	}
}

func (s *session) DialFailed(err error) relay.Verdict {
	s.err = err
	s.endpoint.Release()
	s.tried = append(s.tried, s.endpoint)
	reason := relay.DialRefused
	switch err {
	case relay.ErrDialTimeout, unix.ETIMEDOUT: // the edge's patience, or the kernel's
		reason = relay.DialTimeout
	case unix.EMFILE, unix.ENFILE:
		s.endpoint = nil
		return s.reject(relay.TooManyConnections, alertInternalError)
	}
	if int(s.attempts) > s.pool.Retries() {
		s.endpoint = nil
		return s.reject(reason, alertInternalError)
	}
	return s.dial(reason)
}

func (s *session) reject(r relay.Reason, alert uint8) relay.Verdict {
	phase := relay.PhaseDecide
	if s.attempts > 0 {
		phase = relay.PhaseDial
	}
	return relay.Verdict{Op: relay.Reject, Reason: r, Phase: phase, Bye: bye(s.bye), Alert: alert}
}

func bye(r routes.Reject) relay.Bye {
	switch r {
	case routes.RejectClose:
		return relay.ByeClose
	case routes.RejectReset:
		return relay.ByeReset
	case routes.RejectSilence:
		return relay.ByeSilence
	default:
		return relay.ByeAlert
	}
}

func (s *session) Closed(sum relay.Summary) {
	if s.ring != nil {
		s.record(sum)
	}
	if s.endpoint != nil {
		s.endpoint.Release()
	}
	clear(s.tried)
	*s = session{
		server: s.server, conn: s.conn, ring: s.ring, tried: s.tried[:0],
		name: s.name[:0], alpn: s.alpn[:0], route: s.route[:0],
	}
}
