package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"
)

// A V2 writes version 2 headers, one after another into one buffer. The zero value is ready.
//
//	w.Begin(source, destination)
//	w.Add(proxyproto.TypeAuthority, name)
//	header := w.End()
type V2 struct{ b []byte }

// Begin begins a header for a client's connection. Without two addresses, both valid, its family is
// AF_UNSPEC. Of one IPv4 and one IPv6 address it writes both as IPv6.
func (w *V2) Begin(source, destination netip.AddrPort) {
	s, d, v4 := pair(source, destination)
	switch {
	case !s.IsValid():
		w.begin(proxied, unspecified<<4)
		return
	case v4:
		w.begin(proxied, inet<<4|stream)
	default:
		w.begin(proxied, inet6<<4|stream)
	}
	w.b = append(w.b, s.AsSlice()...)
	w.b = append(w.b, d.AsSlice()...)
	w.b = binary.BigEndian.AppendUint16(w.b, source.Port())
	w.b = binary.BigEndian.AppendUint16(w.b, destination.Port())
}

// BeginLocal begins a header for a connection that is nobody's but the sender's, as a check is.
func (w *V2) BeginLocal() { w.begin(local, unspecified<<4) }

func (w *V2) begin(command, kind byte) {
	w.b = append(w.b[:0], signature2...)
	w.b = append(w.b, version2|command, kind, 0, 0)
}

// crcSize is the size of the TLV that End adds.
const crcSize = tlvHead + crc32.Size

// Add adds a TLV, and reports whether the header had room for it: with what End adds it has at most
// MaxSize bytes.
func (w *V2) Add(kind byte, value []byte) bool {
	if len(w.b)+tlvHead+len(value)+crcSize > MaxSize {
		return false
	}
	w.b = binary.BigEndian.AppendUint16(append(w.b, kind), uint16(len(value)))
	w.b = append(w.b, value...)
	return true
}

// End adds the CRC32c (section 2.2.3) and returns the header, which is good until the next Begin.
func (w *V2) End() []byte {
	w.b = append(w.b, TypeCRC32c, 0, crc32.Size, 0, 0, 0, 0)
	binary.BigEndian.PutUint16(w.b[14:], uint16(len(w.b)-fixed))
	at := len(w.b) - crc32.Size
	binary.BigEndian.PutUint32(w.b[at:], checksum(w.b, at))
	return w.b
}
