package proxy

import (
	"bytes"
	"errors"

	"keyhole/proxy/relay"
	"keyhole/sni"
)

// An origin that answers with a HelloRetryRequest gets a second ClientHello,
// and with OpenSSL, GnuTLS and Java goes by the name in that one. A client
// could get past an allow list with it, by naming an open host first. So the
// session watches for one until the origin has answered with anything else.

// Inspect is shown what both sides send behind the first hello.
func (s *session) Inspect(from relay.Side, b []byte) relay.Inspection {
	switch {
	case s.guarding:
		return s.guard(b)
	case from == relay.Client:
		return s.inspectClient(b)
	}
	switch s.retry.Read(b) {
	case sni.AnswerOther:
		s.stopReading()
	case sni.AnswerRetry:
		s.watch &^= relay.OriginSide
	}
	return relay.Inspection{Pass: len(b), Watch: s.watching()}
}

func (s *session) inspectClient(b []byte) relay.Inspection {
	pass, h, err := s.second.Read(b)
	switch {
	case err == sni.ErrNeedMore:
		return relay.Inspection{Pass: pass, Watch: s.watch}
	case err == sni.ErrNoSecond, err == nil && s.asksForTheSame(h):
		s.stopReading()
		return relay.Inspection{Pass: len(b)}
	case err == nil:
		s.reason, s.phase, s.err = NameChanged, relay.PhaseRelay, errNameChanged
		return relay.Inspection{Reject: true, Farewell: s.farewell(3, alertIllegalParameter)}
	}
	s.refuse(relay.PhaseRelay, err)
	return relay.Inspection{Reject: true, Farewell: s.farewell(3, sni.Alert(err))}
}

var errNameChanged = errors.New("the second ClientHello names another host than the first, or offers other protocols (RFC 8446 section 4.1.2)")

// asksForTheSame compares a second hello with the first in what a route is
// chosen by. Names are compared as the routing table does.
func (s *session) asksForTheSame(h sni.Hello) bool {
	return bytes.EqualFold(bytes.TrimSuffix(s.name, dot), bytes.TrimSuffix(h.ServerName, dot)) && s.offer == hashOf(h.ALPN)
}

// hashOf is FNV-1a, which is in the standard library with an allocation. A
// client that finds a collision has an offer with random protocols in it.
func hashOf(b []byte) uint32 {
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

var dot = []byte(".")
