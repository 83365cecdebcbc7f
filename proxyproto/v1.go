package proxyproto

import (
	"bytes"
	"net/netip"
)

// maxLine is the size of the longest version 1 header, CR LF included.
const maxLine = 107

// parse1 reads a line that begins with signature1 (section 2.1). Its fields are looked at once the
// line is whole, as the section demands.
func parse1(b []byte) (h Header, n int, err error) {
	line := b[:min(len(b), maxLine)]
	end := bytes.Index(line, []byte("\r\n"))
	switch {
	case end < 0 && len(line) < maxLine:
		return h, 0, ErrNeedMore
	case end < 0:
		return h, 0, noLineEnd
	}
	h.Version = 1
	protocol, rest, more := bytes.Cut(line[len(signature1):end], []byte(" "))
	switch string(protocol) {
	case "UNKNOWN": // and what follows it on the line is to be ignored
	case "TCP4":
		err = h.endpoints(rest, more, parseIPv4, badIPv4)
	case "TCP6":
		err = h.endpoints(rest, more, parseIPv6, badIPv6)
	default:
		err = badProtocol1
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, end + 2, nil
}

// endpoints reads what follows the protocol, if there is more.
func (h *Header) endpoints(b []byte, more bool, parse func([]byte) (netip.Addr, bool), bad error) error {
	var fields [4][]byte
	for i := range fields {
		if !more {
			return badFields
		}
		if fields[i], b, more = bytes.Cut(b, []byte(" ")); len(fields[i]) == 0 {
			return badFields
		}
	}
	if more {
		return badFields
	}
	source, ok := parse(fields[0])
	destination, ok2 := parse(fields[1])
	if !ok || !ok2 {
		return bad
	}
	from, ok := parseNumber(fields[2], 65535)
	to, ok2 := parseNumber(fields[3], 65535)
	if !ok || !ok2 {
		return badPort
	}
	h.Source, h.Destination = join(source, from), join(destination, to)
	return nil
}

// AppendV1 appends a version 1 header to b. Without two addresses, both valid, its protocol is
// UNKNOWN. Of one IPv4 and one IPv6 address it writes both as IPv6.
func AppendV1(b []byte, source, destination netip.AddrPort) []byte {
	b = append(b, signature1...)
	s, d, v4 := pair(source, destination)
	switch {
	case !s.IsValid():
		return append(b, "UNKNOWN\r\n"...)
	case v4:
		b = append(b, "TCP4 "...)
	default:
		b = append(b, "TCP6 "...)
	}
	b = append(s.AppendTo(b), ' ')
	b = append(d.AppendTo(b), ' ')
	b = append(appendPort(b, source), ' ')
	return append(appendPort(b, destination), "\r\n"...)
}

// pair returns the addresses as a header has them, both of one family, or neither.
func pair(source, destination netip.AddrPort) (s, d netip.Addr, v4 bool) {
	s, d = source.Addr().Unmap().WithZone(""), destination.Addr().Unmap().WithZone("")
	switch {
	case !s.IsValid() || !d.IsValid():
		return netip.Addr{}, netip.Addr{}, false
	case s.Is4() && d.Is4():
		return s, d, true
	}
	return netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16()), false
}
