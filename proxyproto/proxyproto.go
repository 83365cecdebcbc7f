// Package proxyproto reads and writes the headers of the PROXY protocol, by which a proxy tells the
// next one whose connection it passes on: version 1, a line of text, and version 2, which is binary
// and can carry more than addresses.
//
//	h, n, err := proxyproto.Parse(received)
//	switch {
//	case err == proxyproto.ErrNeedMore: // call again with more bytes
//	case err != nil: // end the connection
//	default: // received[n:] is what the client sent
//	}
//
// Sections are those of "The PROXY protocol, versions 1 & 2", which comes with HAProxy as
// doc/proxy-protocol.txt.
//
// The package says nothing about whom to believe: a header is as true as the peer that sends it.
package proxyproto

import (
	"bytes"
	"errors"
	"net/netip"
)

// MaxSize is the size in bytes of the largest header that Parse takes, and V2 makes. A version 1
// header has at most 107.
const MaxSize = 4096

// The errors of Parse, beside Malformed.
var (
	// ErrNeedMore says that every byte so far is right and the header is not complete.
	ErrNeedMore = errors.New("PROXY header is not complete")

	// ErrNoHeader says that the first bytes begin no PROXY header.
	ErrNoHeader = errors.New("no PROXY header")
)

// A Header says whose connection a proxy passes on.
type Header struct {
	Version uint8 // 1 or 2
	Local   bool  // version 2's LOCAL: the proxy has made the connection for itself

	// Source is the client's address and Destination the one that it connected to. Both are the
	// zero AddrPort when the header does not tell them, as for a LOCAL connection: then the
	// connection's own are right. An IPv4 address in IPv6 form comes out as IPv4.
	Source, Destination netip.AddrPort

	// TLVs are version 2's further fields, in b as it was given to Parse.
	TLVs TLVs
}

// How the two versions begin (sections 2.1 and 2.2).
const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// Parse reads the header at the front of b, which is all that was received so far, and returns its
// size. The error is ErrNeedMore, or final: ErrNoHeader or a Malformed, which comes as soon as the
// bytes prove it. How the bytes were divided does not matter. Parse does not allocate.
func Parse(b []byte) (h Header, n int, err error) {
	switch {
	case bytes.HasPrefix(b, []byte(signature2)):
		return parse2(b)
	case bytes.HasPrefix(b, []byte(signature1)):
		return parse1(b)
	case MayBegin(b):
		return h, 0, ErrNeedMore
	}
	return h, 0, ErrNoHeader
}

// MayBegin reports whether a PROXY header begins with b, or b with what every header of its version
// begins with. Nothing else begins so: of version 1 that is a word and a space, of version 2 twelve
// bytes that no other protocol has.
func MayBegin(b []byte) bool {
	return mayBegin(b, signature1) || mayBegin(b, signature2)
}

// Begins reports whether b is long enough to show that it begins a PROXY header, right or broken.
func Begins(b []byte) bool {
	return bytes.HasPrefix(b, []byte(signature1)) || bytes.HasPrefix(b, []byte(signature2))
}

func mayBegin(b []byte, signature string) bool {
	n := min(len(b), len(signature))
	return string(b[:n]) == signature[:n]
}

// join makes an address and a port one, IPv4 in IPv6 form as IPv4.
func join(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a.Unmap(), port) }
