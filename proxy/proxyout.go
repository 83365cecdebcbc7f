package proxy

import (
	"encoding/binary"
	"encoding/hex"

	"keyhole/backend"
	"keyhole/proxy/relay"
	"keyhole/proxyproto"
)

// introduce puts before a dial's bytes a PROXY header, if the server expects
// one, and then the question, if there is one. A header is in a buffer of the desk:
// the relay sends or copies it before it asks another session.
func (s *session) introduce(v relay.Verdict) relay.Verdict {
	v = s.ask(v)
	switch s.pool.ProxyProtocol() {
	case backend.ProxyV1:
		d := s.desk
		d.line = append(proxyproto.AppendV1(d.line[:0], s.client(), s.destination()), v.Prefix...)
		v.Prefix = d.line
	case backend.ProxyV2:
		d := s.desk
		d.line = append(append(d.line[:0], s.header2()...), v.Prefix...)
		v.Prefix = d.line
	}
	return v
}

// header2 writes a version 2 header. What came in with one and is not the
// edge's to say is handed on, as far as there is room for it.
func (s *session) header2() []byte {
	w := &s.desk.header
	w.Begin(s.client(), s.destination())
	if len(s.name) > 0 && !s.literal {
		w.Add(proxyproto.TypeAuthority, s.name)
	}
	if len(s.alpn) > 0 {
		w.Add(proxyproto.TypeALPN, s.alpn)
	}
	if s.id == 0 {
		s.id = s.desk.nextID(s.conn.Loop())
	}
	var id [idSize]byte
	w.Add(proxyproto.TypeUniqueID, s.desk.server.appendID(id[:0], s.id))
	if i := s.desk.introduced[s]; i != nil {
		for kind, value := range i.tlvs.All() {
			if !s.says(kind) {
				w.Add(kind, value)
			}
		}
	}
	return w.End()
}

// says reports whether a TLV is the edge's own to give, or to leave out. The
// peer's name and protocol stand where the edge has read no hello.
func (s *session) says(kind byte) bool {
	switch kind {
	case proxyproto.TypeAuthority, proxyproto.TypeALPN:
		return !s.clear
	case proxyproto.TypeUniqueID, proxyproto.TypeCRC32c, proxyproto.TypeNoOp:
		return true
	}
	return false
}

// An id is unique among all connections of all edges: 64 random bits of this
// server, the loop's index and a count of the loop's, in hexadecimal, so that a
// server's log shows what the edge's record does. A session keeps the last two.
const idSize = 32

func (d *desk) nextID(loop int) uint64 {
	d.ids++
	return uint64(loop)<<48 | d.ids
}

func (s *Server) appendID(b []byte, id uint64) []byte {
	var raw [idSize / 2]byte
	copy(raw[:], s.prefix[:])
	binary.BigEndian.PutUint64(raw[8:], id)
	return hex.AppendEncode(b, raw[:])
}
