package proxy

import (
	"errors"
	"net/netip"

	"keyhole/proxy/relay"
	"keyhole/proxyproto"
)

var (
	errNoHeader  = errors.New("no PROXY header, and proxy_protocol_from of the listener names this peer")
	errUninvited = errors.New("PROXY header from a peer that proxy_protocol_from of the listener does not name, or behind another header")
)

// An introduction is what a PROXY header says beside the client's address. A
// session has one until a server is connected, for the header to the server.
type introduction struct {
	destination netip.AddrPort // the zero AddrPort: where the peer connected to
	tlvs        proxyproto.TLVs
}

// largeTLVs is the room for TLVs that a free introduction keeps at most.
const largeTLVs = 512

// readHeader reads the PROXY header that a listed peer must begin with. What
// Open has put off because the client was unknown comes now.
func (s *session) readHeader(b []byte) relay.Verdict {
	h, n, err := proxyproto.Parse(b)
	switch {
	case err == proxyproto.ErrNeedMore:
		return relay.Verdict{}
	case err == proxyproto.ErrNoHeader:
		return s.badHeader(errNoHeader)
	case err != nil:
		return s.badHeader(err)
	}
	s.owes, s.heard = false, false // the client itself has sent nothing yet
	s.meet(h)
	r := s.rules()
	if r != nil && !r.Access.Admits(s.client().Addr()) {
		return s.shutOut(DeniedAddress)
	}
	v := s.openPlain(r)
	v.Skip = n
	if v.Op == relay.Dial {
		in := s.guard(b[n:])
		if in.Reject {
			s.letGo()
			return relay.Verdict{Op: relay.Reject}
		}
		v.Inspect, v.Hold = in.Watch, len(b)-n-in.Pass
	}
	return v
}

// guard looks at the first bytes of a client that was sent to a server before it
// had sent any. They may be no PROXY header.
func (s *session) guard(b []byte) relay.Inspection {
	switch {
	case proxyproto.Begins(b):
		s.badHeader(errUninvited)
		return relay.Inspection{Reject: true}
	case proxyproto.MayBegin(b):
		return relay.Inspection{Watch: relay.ClientSide}
	}
	s.guarding = false
	return relay.Inspection{Pass: len(b)}
}

// meet has the session go by the client that a header names. A header that
// names none leaves the peer's address.
func (s *session) meet(h proxyproto.Header) {
	from := h.Source
	if !from.IsValid() {
		from = s.conn.Peer()
	}
	s.from, s.fromPort, s.proxied = from.Addr().As16(), from.Port(), true
	s.desk.note(s, h)
}

// client returns the client's address: what the allow lists, the balancing and
// the record go by.
func (s *session) client() netip.AddrPort {
	if s.proxied {
		return netip.AddrPortFrom(netip.AddrFrom16(s.from).Unmap(), s.fromPort)
	}
	return s.conn.Peer()
}

// destination returns the address that the client connected to.
func (s *session) destination() netip.AddrPort {
	if i := s.desk.introduced[s]; i != nil && i.destination.IsValid() {
		return i.destination
	}
	return s.conn.Local()
}

// uninvited decides about a client whose first bytes, b, may begin a PROXY
// header, which it has no right to. No rule takes such bytes: a server behind
// it could believe them.
func (s *session) uninvited(b []byte) relay.Verdict {
	if !proxyproto.Begins(b) {
		return relay.Verdict{}
	}
	return s.badHeader(errUninvited)
}

// badHeader turns away a peer, which is no client of a route, with a close.
func (s *session) badHeader(err error) relay.Verdict {
	s.reason, s.phase, s.err = BadProxyHeader, relay.PhaseAdmit, err
	return relay.Verdict{Op: relay.Reject}
}

// note keeps what h says for the session's header to a server. Few sessions
// have an introduction and none for long, so that they have no field for it.
func (d *desk) note(s *session, h proxyproto.Header) {
	var i *introduction
	if n := len(d.spare); n > 0 {
		i, d.spare = d.spare[n-1], d.spare[:n-1]
	} else {
		i = &introduction{}
	}
	i.destination = h.Destination
	i.tlvs = append(i.tlvs[:0], h.TLVs...)
	if d.introduced == nil {
		d.introduced = map[*session]*introduction{}
	}
	d.introduced[s] = i
}

// forget ends what note began.
func (s *session) forget() {
	if !s.proxied {
		return
	}
	d := s.desk
	i := d.introduced[s]
	if i == nil {
		return // Connected came before Closed
	}
	delete(d.introduced, s)
	if cap(i.tlvs) > largeTLVs {
		i.tlvs = nil
	}
	d.spare = append(d.spare, i)
}
