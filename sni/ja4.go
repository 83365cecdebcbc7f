package sni

import (
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// JA4 is FoxIO's fingerprint of a ClientHello, such as t13d1516h2_8daaf6152771_02713d6af862
// (https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md). It tells TLS libraries and
// their settings apart, not users, and a client can send any that it likes.
type JA4 [36]byte

func (j JA4) String() string { return string(j[:]) }

// JA4 returns the fingerprint of a hello over TCP, which Parse or ParseMessage has returned. m
// remembers the hashes of other hellos; nil is none. JA4 allocates nothing for a hello of up to 128
// cipher suites and as many extensions.
//
// GREASE values count nowhere, among the ALPN protocols and the signature algorithms neither. A
// signature_algorithms extension that does not hold a list counts as one without any.
func (h *Hello) JA4(m *JA4Memo) (j JA4) {
	x := h.listed()
	copy(j[:], "t00i000000_000000000000_000000000000")
	copy(j[1:], ja4Version(h.Versions.Max()))
	if x.named {
		j[3] = 'd'
	}
	suites := m.ofSuites(h.suites)
	putCount(j[4:], suites.count)
	putCount(j[6:], x.count)
	j[8], j[9] = h.ALPN.ends()
	copy(j[11:], suites.digits[:])
	extensions := m.ofExtensions(h.extensions, &x)
	copy(j[24:], extensions.digits[:])
	return j
}

const extSignatureAlgorithms = 13

// listed is what JA4 wants of the extensions.
type listed struct {
	count      int     // without GREASE
	named      bool    // server_name is there, whatever it holds
	types      typeSet // without GREASE, server_name and ALPN
	algorithms []byte
}

func (h *Hello) listed() (x listed) {
	for rest := h.extensions; len(rest) > 0; {
		typ, data, next, ok := cutExtension(rest)
		if !ok {
			break // Parse has refused such a hello
		}
		rest = next
		if isGREASE(typ) {
			continue
		}
		x.count++
		switch typ {
		case extServerName:
			x.named = true
			continue
		case extALPN:
			continue
		case extSignatureAlgorithms:
			s, list := cryptobyte.String(data), cryptobyte.String(nil)
			s.ReadUint16LengthPrefixed(&list)
			x.algorithms = list
		}
		x.types.add(typ)
	}
	return x
}

// ja4Version names a version in two characters.
func ja4Version(v uint16) string {
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// ends returns the first and the last character of the first protocol that is not GREASE, and of
// its hexadecimal form when one of them is neither a letter nor a digit; 00 without a protocol.
func (p Protocols) ends() (first, last byte) {
	for name := range p.All() {
		if len(name) == 2 && isGREASE(binary.BigEndian.Uint16(name)) {
			continue
		}
		first, last = name[0], name[len(name)-1]
		if !isAlphanumeric(first) || !isAlphanumeric(last) {
			return hexDigits[first>>4], hexDigits[last&0xf]
		}
		return first, last
	}
	return '0', '0'
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// putCount writes two digits, 99 for all that is more.
func putCount(to []byte, n int) {
	n = min(n, 99)
	to[0], to[1] = '0'+byte(n/10), '0'+byte(n%10)
}
