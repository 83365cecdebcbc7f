package proxyproto

import (
	"bytes"
	"net/netip"
	"strconv"
)

// The parsers of net/netip and strconv take strings, and allocate the errors that they return.

// parseNumber reads a decimal number up to most without a sign or leading zeroes.
func parseNumber(b []byte, most uint32) (uint16, bool) {
	if len(b) == 0 || len(b) > 5 || b[0] == '0' && len(b) > 1 {
		return 0, false
	}
	n := uint32(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint32(c-'0')
	}
	return uint16(n), n <= most
}

// parseIPv4 reads four decimal numbers with dots between them.
func parseIPv4(b []byte) (a netip.Addr, ok bool) {
	var ip [4]byte
	more := true
	for i := range ip {
		if !more {
			return a, false
		}
		var field []byte
		field, b, more = bytes.Cut(b, []byte("."))
		n, ok := parseNumber(field, 255)
		if !ok {
			return a, false
		}
		ip[i] = byte(n)
	}
	return netip.AddrFrom4(ip), !more
}

// parseIPv6 reads the text form of RFC 4291 section 2.2, without a zone. The last two groups may be
// an IPv4 address, as inet_ntop writes them.
func parseIPv6(b []byte) (a netip.Addr, ok bool) {
	var ip [16]byte
	n, gap := 0, -1 // bytes read; where "::" stands
	if bytes.HasPrefix(b, []byte("::")) {
		b, gap = b[2:], 0
	}
	for len(b) > 0 {
		if n == len(ip) {
			return a, false
		}
		field, rest, more := bytes.Cut(b, []byte(":"))
		if v4, ok := parseIPv4(field); ok && !more && n <= 12 {
			four := v4.As4()
			n, b = n+copy(ip[n:], four[:]), nil
			break
		}
		g, ok := parseGroup(field)
		if !ok {
			return a, false
		}
		ip[n], ip[n+1] = byte(g>>8), byte(g)
		n, b = n+2, rest
		switch {
		case len(rest) > 0 && rest[0] == ':' && gap < 0:
			b, gap = rest[1:], n
		case more && len(rest) == 0:
			return a, false // ends with one colon
		}
	}
	if gap < 0 || n == len(ip) {
		return netip.AddrFrom16(ip), gap < 0 && n == len(ip)
	}
	copy(ip[len(ip)-(n-gap):], ip[gap:n])
	clear(ip[gap : len(ip)-(n-gap)])
	return netip.AddrFrom16(ip), true
}

// parseGroup reads one to four hexadecimal digits.
func parseGroup(b []byte) (g uint16, ok bool) {
	for _, c := range b {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		g = g<<4 | uint16(c)
	}
	return g, len(b) > 0 && len(b) <= 4
}

func appendPort(b []byte, a netip.AddrPort) []byte {
	return strconv.AppendUint(b, uint64(a.Port()), 10)
}
