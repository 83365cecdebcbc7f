package proxy

import (
	"encoding/binary"
	"errors"
	"time"

	"keyhole/backend"
	"keyhole/postgres"
	"keyhole/proxy/relay"
	"keyhole/proxyproto"
	"keyhole/routes"
	"keyhole/sni"
)

// A session decides for one connection after another; see relay.Session. Once
// it has decided it holds nothing of the configuration but the pool, so that
// a table that was replaced is freed while its connections live on.
//
// TestEveryFieldSaysHowItIsHandedOver lists its fields.
type session struct {
	conn     *relay.Conn
	desk     *desk
	*reading // until no hello can come any more; then nil

	pool      *backend.Pool
	wait      *backend.Wait       // for the pool of the client's name; nil: none
	endpoint  *backend.Endpoint   // counted on until released
	tried     []*backend.Endpoint // that did not answer
	idle      time.Duration
	id        uint64   // that a server was told, see Server.appendID; 0: none
	from      [16]byte // the client's address, if proxied; IPv4 as it is in IPv6
	key       uint32   // of the hello, for relay.Conn.IsOwn
	keepalive uint16   // in seconds
	fromPort  uint16
	reject    routes.Reject
	outcome   routes.Outcome
	literal   bool // the name is an IP address
	heard     bool // the client has sent a byte
	clear     bool // the client does not speak TLS, or need not: it gets no alerts
	asks      bool // the client has asked for TLS in clear, and so the server is asked
	proxied   bool // a PROXY header came first: from is the client
	guarding  bool // the client's first bytes must be no PROXY header, see Inspect
	attempts  uint8
	again     bool // every server was tried: after a pause each time, one is tried again

	// Of a rejected connection.
	reason Reason
	phase  relay.Phase
	err    error // the cause of the last failure

	// Kept from connection to connection, so that they are allocated once.
	name, alpn, route []byte
	ja4               *sni.JA4 // zero until it is known; nil in a slot that has never had one
}

// A reading is what a session needs only while it reads hellos. An idle
// connection does not hold one.
type reading struct {
	config *Config // until the decision
	parser sni.Parser
	owes   bool // the peer must begin with a PROXY header, and has not yet
	guards bool // the listener takes such headers, and from no other peers

	// What comes before the hello.
	starttls StartTLS
	postgres postgres.Negotiation

	// The watch for a second ClientHello.
	second sni.Second
	retry  sni.Retry
	watch  relay.Sides
	offer  uint32 // a hash of the protocols that the first hello offers
}

// A desk is what the sessions of one loop share.
type desk struct {
	server *Server
	ring   *ring // nil when no records are written
	free   []*reading

	memo *sni.JA4Memo // nil until it is used

	introduced map[*session]*introduction
	spare      []*introduction

	// Of the PROXY headers to servers; see introduce.
	header proxyproto.V2
	line   []byte
	ids    uint64 // that were given
}

func (s *Server) newSession(c *relay.Conn) relay.Session {
	return &session{conn: c, desk: s.desk(c.Loop())}
}

// desk returns that of a loop, which is made at its first session.
func (s *Server) desk(loop int) *desk {
	s.deskMu.Lock()
	defer s.deskMu.Unlock()
	for len(s.desks) <= loop {
		d := &desk{server: s}
		if s.access != nil {
			d.ring = s.access.ring(len(s.desks))
		}
		s.desks = append(s.desks, d)
	}
	return s.desks[loop]
}

func (d *desk) take() *reading {
	if n := len(d.free); n > 0 {
		h := d.free[n-1]
		d.free = d.free[:n-1]
		return h
	}
	return &reading{}
}

// put takes a reading back; nil is none.
func (d *desk) put(h *reading) {
	if h != nil {
		*h = reading{}
		d.free = append(d.free, h)
	}
}

// stopReading ends the watch for hellos.
func (s *session) stopReading() {
	s.desk.put(s.reading)
	s.reading = nil
}

// watching returns the sides that are watched for a second hello.
func (s *session) watching() relay.Sides {
	switch {
	case s.guarding:
		return relay.ClientSide
	case s.reading == nil:
		return relay.NoSide
	}
	return s.watch
}

func (s *session) Open() relay.Verdict {
	s.reading = s.desk.take()
	s.config = s.desk.server.config.Load()
	s.parser.Limit = s.config.HelloBytes
	ln := s.listener()
	s.reject = s.config.Table.Reject(s.config.place(ln))
	if reason := s.admit(ln); reason != NoReason {
		return s.shutOut(reason)
	}
	if s.owes {
		return relay.Verdict{} // for the header, which names the client
	}
	return s.openPlain(s.config.rules(ln))
}

// shutOut ends a connection that may not be served, with a reset.
func (s *session) shutOut(r Reason) relay.Verdict {
	s.reason, s.phase = r, relay.PhaseAdmit
	return relay.Verdict{Op: relay.Reject, Farewell: relay.Farewell{Ending: relay.Reset}}
}

// admit counts the connection on its listener, and says why it may not be
// served before anything of it is read.
func (s *session) admit(ln *Listener) Reason {
	var open int64
	if ln != nil {
		open = ln.open.Add(1)
	}
	if most := s.config.MaxConnections; most > 0 && s.conn.OpenAtAccept() > most {
		return TooManyConnections
	}
	r := s.config.rules(ln)
	if r == nil {
		return NoReason
	}
	s.starttls = r.StartTLS
	s.guards = r.ProxyFrom != nil
	s.owes = s.guards && r.ProxyFrom.Admits(s.conn.Peer().Addr())
	switch {
	case !s.owes && !r.Access.Admits(s.client().Addr()):
		return DeniedAddress
	case r.MaxConnections > 0 && open > int64(r.MaxConnections):
		return TooManyConnections
	case r.HelloBytes > 0:
		s.parser.Limit = r.HelloBytes
	}
	return NoReason
}

func (s *session) Hello(b []byte) relay.Verdict {
	s.heard = true
	switch {
	case s.owes:
		return s.readHeader(b)
	case s.guards && proxyproto.MayBegin(b):
		return s.uninvited(b)
	}
	if s.starttls != NoStartTLS {
		if v, over := s.negotiate(b); !over {
			return v
		}
	}
	h, err := s.parser.Parse(b)
	if err == sni.ErrNeedMore {
		return relay.Verdict{}
	}
	if err != nil {
		if errors.Is(err, sni.ErrNotTLS) && s.starttls == NoStartTLS {
			return s.notTLS(b, err)
		}
		return s.refuse(relay.PhaseHello, err)
	}
	s.name = append(s.name[:0], h.ServerName...)
	for p := range h.ALPN.All() {
		s.alpn = append(s.alpn[:0], p...)
		break
	}
	s.second, s.offer = s.parser.Second(), hashOf(h.ALPN)
	s.watch = relay.ClientSide | relay.OriginSide
	end := s.parser.End()
	v := s.decide(h)
	if v.Op == relay.Reject {
		return v
	}
	behind := b[end:]
	in := s.inspectClient(behind)
	if in.Reject {
		s.letGo()
		return relay.Verdict{Op: relay.Reject, Farewell: in.Farewell}
	}
	v.Inspect, v.Hold = in.Watch, len(behind)-in.Pass
	return v
}

// decide finds the hello's route and its first server.
func (s *session) decide(h sni.Hello) relay.Verdict {
	s.key = max(binary.LittleEndian.Uint32(h.Random), 1)
	if s.conn.IsOwn(s.key, s.answered()) {
		s.err = errLoop
		return s.turnAway(Loop, relay.PhaseDecide, alertInternalError)
	}
	limit := s.config.Timeouts.Connect
	d := s.config.Decide(Query{
		Name: h.ServerName, ALPN: h.ALPN, Client: s.client().Addr(), Listener: s.listener(), JA4: s.fingerprint(&h),
	})
	s.config = nil
	s.outcome, s.literal, s.reject = d.Outcome, d.Literal, d.Reject
	if d.Route != nil && len(d.Route.SNI) > 0 {
		s.route = append(s.route[:0], d.Route.SNI[0]...)
	}
	switch d.Reason {
	case NoReason:
		s.serve(d)
		if s.pool.ByName() {
			return s.find(h.ServerName, limit)
		}
		return s.dial(NoHealthyServer)
	case HelloMalformed:
		s.err = errBadName
		return s.turnAway(d.Reason, relay.PhaseDecide, alertDecodeError)
	}
	// To a client outside an allow list the name does not exist, so that
	// nobody can ask which names do.
	return s.turnAway(d.Reason, relay.PhaseDecide, alertUnrecognizedName)
}

// fingerprint returns the hello's JA4; nil if nobody asks for it.
func (s *session) fingerprint(h *sni.Hello) *sni.JA4 {
	if !s.config.JA4 && !s.config.Table.WantsJA4() {
		return nil
	}
	if s.desk.memo == nil {
		s.desk.memo = sni.NewJA4Memo()
	}
	if s.ja4 == nil {
		s.ja4 = new(sni.JA4)
	}
	*s.ja4 = h.JA4(s.desk.memo)
	return s.ja4
}

// serve takes from a decision where the client goes.
func (s *session) serve(d Decision) {
	s.pool, s.idle, s.keepalive = d.Pool, d.Idle, uint16(d.Keepalive/time.Second)
}

var (
	errBadName = errors.New("the server name is not a host name")
	errLiteral = errors.New("the server name is an IP address, which counts as none")
	errLoop    = errors.New("a server's address leads back to this edge, itself or by way of another edge: name the origin's own address")
)

// listener returns what accepted the connection; nil for the zero Conn.
func (s *session) listener() *Listener {
	ln, _ := s.conn.Listener().Value().(*Listener)
	return ln
}

// Moved takes the desk of the loop that serves the connection now.
func (s *session) Moved() { s.desk = s.desk.server.desk(s.conn.Loop()) }

func (s *session) Closed(sum relay.Summary) {
	if s.desk.ring != nil {
		s.record(sum)
	}
	s.letGo()
	if ln := s.listener(); ln != nil {
		ln.open.Add(-1)
	}
	s.desk.put(s.reading)
	s.forget()
	clear(s.tried)
	if s.ja4 != nil {
		*s.ja4 = sni.JA4{}
	}
	*s = session{
		conn: s.conn, desk: s.desk, tried: s.tried[:0],
		name: s.name[:0], alpn: s.alpn[:0], route: s.route[:0],
		ja4: s.ja4,
	}
}
