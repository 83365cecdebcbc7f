package sni

import "iter"

// Protocols is a ProtocolNameList in wire form (RFC 7301 section 3.1) without its outer length:
// each protocol is one byte of length and that many bytes of name. The list of a Hello is well
// formed. Any other list ends before its first entry that is cut short.
type Protocols []byte

// MaxProtocol is the length of the longest protocol name, in bytes (RFC 7301 section 3.1).
const MaxProtocol = 255

// MakeProtocols returns the list of these protocols. It leaves out names that no hello can carry:
// the empty one, and those longer than MaxProtocol.
func MakeProtocols(names []string) Protocols {
	var p Protocols
	for _, name := range names {
		if len(name) > 0 && len(name) <= MaxProtocol {
			p = append(append(p, byte(len(name))), name...)
		}
	}
	return p
}

// All yields the protocols in the client's order of preference, as parts of p.
func (p Protocols) All() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := p; len(rest) > 0; {
			end := 1 + int(rest[0])
			if end > len(rest) || !yield(rest[1:end:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}

// Has reports whether the protocol is in the list.
func (p Protocols) Has(protocol string) bool {
	for name := range p.All() {
		if string(name) == protocol {
			return true
		}
	}
	return false
}

// Strings returns the protocols as strings, for logs and the like: it allocates. It is nil for an
// empty list.
func (p Protocols) Strings() []string {
	var names []string
	for name := range p.All() {
		names = append(names, string(name))
	}
	return names
}

// Versions is a list of TLS versions in wire form, two bytes each: 0x0301 is TLS 1.0, 0x0304 is TLS
// 1.3 (RFC 8446 section 4.2.1). An odd byte at the end is not looked at.
type Versions []byte

// All yields the versions in the client's order of preference, GREASE values included.
func (v Versions) All() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for rest := v; len(rest) >= 2; rest = rest[2:] {
			if !yield(uint16(rest[0])<<8 | uint16(rest[1])) {
				return
			}
		}
	}
}

// Has reports whether the version is in the list.
func (v Versions) Has(version uint16) bool {
	for offered := range v.All() {
		if offered == version {
			return true
		}
	}
	return false
}

// Max returns the highest version in the list that is not GREASE, 0 if there is none.
func (v Versions) Max() uint16 {
	highest := uint16(0)
	for offered := range v.All() {
		if !isGREASE(offered) {
			highest = max(highest, offered)
		}
	}
	return highest
}

// isGREASE reports whether v is one of the sixteen values 0x0a0a, 0x1a1a to 0xfafa that clients
// send so that servers learn to pass over what they do not know (RFC 8701 section 2).
func isGREASE(v uint16) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff }
