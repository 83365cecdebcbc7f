package sni

import (
	"fmt"
	"slices"
)

// A protocol is one that clients speak where TLS is expected.
type protocol struct {
	name string // for GreetingOf; "" has none
	what error  // what Parse calls it: an ErrNotTLS
	ways []way
}

// GreetingOf returns how a protocol begins, one of Greetings.
//
// TURN is in stun. A TURN client cannot begin with a ChannelData message (RFC 8656 section 12.4):
// the channel is bound over the same connection before.
func GreetingOf(name string) (g Greeting, ok bool) {
	for _, p := range foreign {
		if p.name == name && name != "" {
			g.ways = append(g.ways, p.ways...)
		}
	}
	return g, len(g.ways) > 0
}

// Greetings returns the names that GreetingOf knows.
func Greetings() []string {
	var all []string
	for _, p := range foreign {
		if p.name != "" && !slices.Contains(all, p.name) {
			all = append(all, p.name)
		}
	}
	return all
}

// The protocols that a client can be refused for, beside those in errors.go.
var (
	errOpenVPN    = notTLS("OpenVPN")
	errXMPP       = notTLS("XMPP")
	errSOCKS      = notTLS("SOCKS")
	errSTUN       = notTLS("STUN or TURN")
	errSSLRequest = notTLS("Postgres SSLRequest")
	errGSSRequest = notTLS("Postgres GSSENCRequest")
	errCancel     = notTLS("Postgres CancelRequest")
	errStartup    = notTLS("Postgres StartupMessage")
)

func notTLS(what string) error { return fmt.Errorf("%w: %s", ErrNotTLS, what) }

// foreign lists how other protocols begin. No two fit what a client of either sends.
var foreign = []protocol{
	{"http", ErrHTTP, requests},
	// A length of 2 bytes, then opcode and key id in one: P_CONTROL_HARD_RESET_CLIENT_V2 or _V3 with
	// key id 0. The shortest has 14 bytes; with tls-crypt-v2 it holds a wrapped key too (OpenVPN's
	// ssl_pkt.h, and is_openvpn_protocol in ps.c). With 1024 bytes and more it would begin as SOCKS 4.
	{"openvpn", errOpenVPN, []way{
		{{0, 0}, {14, 255}, {7 << 3, 7 << 3}},
		{{0, 0}, {14, 255}, {10 << 3, 10 << 3}},
		{{1, 3}, anyByte, {7 << 3, 7 << 3}},
		{{1, 3}, anyByte, {10 << 3, 10 << 3}},
	}},
	// RFC 6120 section 4.2, and section 11.5 for the declaration in front of the stream.
	{"xmpp", errXMPP, []way{exactly("<?xml"), exactly("<stream:stream")}},
	// SOCKS 4 and 4A (D. Koblas and Y. Lee, "SOCKS"): the version, CONNECT or BIND. SOCKS 5 (RFC 1928
	// section 3): the version, the number of methods.
	{"socks", errSOCKS, []way{{{4, 4}, {1, 2}}, {{5, 5}, {1, 255}}}},
	// RFC 8489 section 5: two bits of 0, the type, the length, the magic cookie.
	{"stun", errSTUN, []way{slices.Concat(way{{0, 0x3f}, anyByte, anyByte, anyByte}, exactly("\x21\x12\xa4\x42"))}},
	// PostgreSQL, "Message Formats": a length, then a code. The key of a CancelRequest has 4 to 256
	// bytes, the name and value pairs of a StartupMessage of protocol 3 at most 10,000.
	{"postgres", errSSLRequest, []way{exactly("\x00\x00\x00\x08\x04\xd2\x16\x2f")}},
	{"postgres", errGSSRequest, []way{exactly("\x00\x00\x00\x08\x04\xd2\x16\x30")}},
	{"postgres", errCancel, []way{slices.Concat(way{{0, 0}, {0, 0}, {0, 1}, anyByte}, exactly("\x04\xd2\x16\x2e"))}},
	{"postgres", errStartup, []way{slices.Concat(way{{0, 0}, {0, 0}, {0, 10000 >> 8}, anyByte}, exactly("\x00\x03"))}},
	{"", ErrProxyHeader, []way{exactly("PROXY "), exactly("\r\n\r\n\x00\r\nQUIT\n")}},
	{"", ErrSSH, []way{exactly("SSH-")}}, // RFC 4253 section 4.2
	// RFC 5246 appendix E.2: a length of 2 bytes with the high bit set, message type 1, and the version
	// that is asked for: SSL 2.0 or any later one.
	{"", ErrSSLv2, []way{
		{{0x80, 0xff}, anyByte, {1, 1}, {3, 3}, anyByte},
		{{0x80, 0xff}, anyByte, {1, 1}, {0, 0}, {2, 2}},
	}},
}

// requests are how HTTP begins: a method of the IANA HTTP Method Registry and a space (RFC 9112
// section 3), or the preface of HTTP/2 (RFC 9113 section 3.4).
var requests = func() (all []way) {
	for _, method := range []string{
		"ACL", "BASELINE-CONTROL", "BIND", "CHECKIN", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LABEL",
		"LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE", "OPTIONS",
		"ORDERPATCH", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PUT", "QUERY", "REBIND", "REPORT", "SEARCH", "TRACE",
		"UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE", "UPDATEREDIRECTREF", "VERSION-CONTROL",
	} {
		all = append(all, exactly(method+" "))
	}
	return append(all, exactly("PRI * HTTP/2.0"))
}()

// nameGreeting says what a connection is that begins with b and is not TLS, if b is long enough to
// tell.
func nameGreeting(b []byte) error {
	for _, p := range foreign {
		if (Greeting{p.ways}).Fit(b) == Fits {
			return p.what
		}
	}
	return ErrNotTLS
}
