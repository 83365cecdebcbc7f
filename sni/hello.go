package sni

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/crypto/cryptobyte"
)

// Hello holds what a ClientHello says about its destination.
//
// Its fields are parts of the bytes given to Parse, or, when the hello spans several records, of
// one buffer made by Parse. Nothing in them is changed: the name is in the client's case, the lists
// are in its order, with GREASE values (RFC 8701).
type Hello struct {
	// ServerName is the host_name of the server_name extension (RFC 6066 section 3), 1 to 255 bytes
	// without a NUL. Any other byte can be in it. It is nil when the hello names no host.
	ServerName []byte

	// ALPN is the list of offered application protocols (RFC 7301 section 3.1), nil when there is
	// none.
	ALPN Protocols

	// Versions is the supported_versions extension (RFC 8446 section 4.2.1), or, without one, the
	// one version of the hello's legacy_version field, which is the highest that the client speaks.
	Versions Versions

	// Random is the client's random of 32 bytes (RFC 8446 section 4.1.2).
	Random []byte

	// ECH is set when encrypted_client_hello (RFC 9849) is offered, be it real or GREASE: only the
	// holder of the key can tell. ServerName is then the public, outer name.
	ECH bool

	suites, extensions []byte // for JA4
}

// ParseMessage reads a ClientHello that is not in TLS records, as in QUIC (RFC 9001 section 4): b
// begins with the handshake message's type and length (RFC 8446 section 4). The errors are
// ErrNeedMore while b does not hold the whole message, and a Malformed. It does not judge bytes
// behind the message. The caller bounds how much it collects.
//
// The fields of the Hello are parts of b.
func ParseMessage(b []byte) (h Hello, err error) {
	err = h.read(b)
	return h, err
}

// read is ParseMessage for an empty h. It fills h in place, since a Hello is too large for
// registers, and handing it from function to function cost a tenth of the time of Parse.
func (h *Hello) read(b []byte) error {
	if len(b) > 0 && b[0] != typeClientHello {
		return badMessageType
	}
	if len(b) < messageHeader {
		return ErrNeedMore
	}
	body := b[messageHeader:]
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	if len(body) < n {
		return ErrNeedMore
	}
	err := h.readBody(body[:n])
	if err != nil {
		*h = Hello{}
	}
	return err
}

// readBody reads the body of a ClientHello message (RFC 8446 section 4.1.2). On an error h holds
// the fields before it.
func (h *Hello) readBody(body []byte) error {
	s := cryptobyte.String(body)
	var session, suites, compression, extensions cryptobyte.String
	switch {
	case !s.Skip(2 + 32):
		return shortHello
	case !s.ReadUint8LengthPrefixed(&session) || len(session) > 32:
		return badSessionID
	case !s.ReadUint16LengthPrefixed(&suites) || suites.Empty() || len(suites)%2 != 0:
		return badSuites
	case !s.ReadUint8LengthPrefixed(&compression) || compression.Empty():
		return badCompression
	}
	h.Versions, h.Random, h.suites = body[:2:2], body[2:34:34], suites
	switch {
	case s.Empty():
		return nil // before TLS 1.3 a hello may end without extensions (RFC 5246 section 7.4.1.2)
	case !s.ReadUint16LengthPrefixed(&extensions) || !s.Empty():
		return badExtensions
	}
	h.extensions = extensions
	return h.readExtensions(extensions)
}

// The extensions that Hello reports (the IANA registry of TLS ExtensionType values).
const (
	extServerName           = 0
	extALPN                 = 16
	extSupportedVersions    = 43
	extEncryptedClientHello = 0xfe0d
)

func (h *Hello) readExtensions(extensions []byte) error {
	var seen typeSet
	for rest := extensions; len(rest) > 0; {
		typ, data, next, ok := cutExtension(rest)
		if !ok {
			return badExtension
		}
		rest = next
		if !seen.add(typ) {
			return duplicateType
		}
		if err := h.readExtension(typ, data); err != nil {
			return err
		}
	}
	if seen.overflow && !uniqueTypes(extensions) {
		return duplicateType
	}
	return nil
}

// cutExtension returns the first extension of a list and what is behind it. It does without
// cryptobyte, which all other functions here use, because it runs some twenty times for one hello:
// that takes a quarter off the time of Parse.
func cutExtension(s []byte) (typ uint16, data, rest []byte, ok bool) {
	if len(s) < 4 {
		return 0, nil, nil, false
	}
	end := 4 + int(binary.BigEndian.Uint16(s[2:]))
	if end > len(s) {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint16(s), s[4:end], s[end:], true
}

func (h *Hello) readExtension(typ uint16, data cryptobyte.String) error {
	switch typ {
	case extServerName:
		return h.readServerName(data)
	case extALPN:
		return h.readALPN(data)
	case extSupportedVersions:
		return h.readVersions(data)
	case extEncryptedClientHello:
		h.ECH = true
	}
	return nil
}

// readServerName reads a ServerNameList (RFC 6066 section 3). A name of a type other than
// host_name, of which there is none yet, is passed over: the RFC gives every future one the same
// 16-bit length.
func (h *Hello) readServerName(data cryptobyte.String) error {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return badServerNames
	}
	for !list.Empty() {
		var typ uint8
		var name cryptobyte.String
		if !list.ReadUint8(&typ) || !list.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return badServerNames
		}
		if typ != 0 { // NameType host_name
			continue
		}
		switch {
		case h.ServerName != nil:
			return secondHostName
		case len(name) > 255:
			return longHostName // no name in the DNS is longer (RFC 1035 section 2.3.4)
		case bytes.IndexByte(name, 0) >= 0:
			return nulInHostName // where a C program behind us would see another name's end
		}
		h.ServerName = name[:len(name):len(name)]
	}
	return nil
}

// readALPN reads a ProtocolNameList (RFC 7301 section 3.1).
func (h *Hello) readALPN(data cryptobyte.String) error {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || list.Empty() || !data.Empty() {
		return badProtocols
	}
	h.ALPN = Protocols(list[:len(list):len(list)])
	for !list.Empty() {
		var name cryptobyte.String
		if !list.ReadUint8LengthPrefixed(&name) {
			return badProtocols
		}
		if name.Empty() {
			return emptyProtocol
		}
	}
	return nil
}

// readVersions reads a SupportedVersions list (RFC 8446 section 4.2.1).
func (h *Hello) readVersions(data cryptobyte.String) error {
	var list cryptobyte.String
	if !data.ReadUint8LengthPrefixed(&list) || list.Empty() || len(list)%2 != 0 || !data.Empty() {
		return badVersionsList
	}
	h.Versions = Versions(list[:len(list):len(list)])
	return nil
}

// typeSet holds the extension types of one hello, to refuse a duplicate (RFC 8446 section 4.2).
// Types below 64 are bits, which covers nearly all that clients send; the few others (GREASE, ECH,
// renegotiation_info) go to a short list. A hello of 64 KiB can carry 16,000 types, and a search
// through a list of those for each would be quadratic. So a full list sets overflow, and
// uniqueTypes has to decide.
type typeSet struct {
	low      uint64
	high     [16]uint16
	n        int
	overflow bool
}

// add puts typ into the set. It returns false when it is certain that typ was there before.
func (t *typeSet) add(typ uint16) bool {
	if typ < 64 {
		bit := uint64(1) << typ
		fresh := t.low&bit == 0
		t.low |= bit
		return fresh
	}
	if t.n == len(t.high) {
		t.overflow = true
		return true
	}
	for _, h := range t.high[:t.n] {
		if h == typ {
			return false
		}
	}
	t.high[t.n] = typ
	t.n++
	return true
}

// uniqueTypes reports whether no type appears twice in a well-formed list of extensions. It is a
// function of its own, and not inlined, because its bitmap takes 8 KiB of stack, which an ordinary
// hello does not pay for.
//
//go:noinline
func uniqueTypes(extensions []byte) bool {
	var seen [1 << 16 / 64]uint64
	for rest := extensions; len(rest) > 0; {
		typ, _, next, ok := cutExtension(rest)
		if !ok {
			return false
		}
		rest = next
		if seen[typ/64]&(1<<(typ%64)) != 0 {
			return false
		}
		seen[typ/64] |= 1 << (typ % 64)
	}
	return true
}
