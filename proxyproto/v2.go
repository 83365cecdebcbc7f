package proxyproto

import (
	"encoding/binary"
	"net/netip"
)

// fixed is the size of what every version 2 header has: signature, version and command, family and
// transport protocol, length.
const fixed = 16

// Commands, address families and transport protocols (section 2.2).
const (
	version2 = 0x20

	local   = 0
	proxied = 1

	unspecified = 0
	inet        = 1
	inet6       = 2
	unixSockets = 3

	stream   = 1
	datagram = 2
)

// blockSizes are those of the two addresses and ports, by family.
var blockSizes = [...]int{unspecified: 0, inet: 12, inet6: 36, unixSockets: 216}

// parse2 reads a header that begins with signature2 (section 2.2).
func parse2(b []byte) (h Header, n int, err error) {
	if n, err = sizeOf(b); err != nil {
		return h, 0, err
	}
	if len(b) < n {
		return h, 0, ErrNeedMore
	}
	h.Version, h.Local = 2, b[12] == version2|local
	if h.Local {
		return h, n, nil // whatever the block holds
	}
	return h.proxied(b[:n])
}

// sizeOf reads the fixed part as far as it is there.
func sizeOf(b []byte) (n int, err error) {
	switch {
	case len(b) < 13:
		return 0, ErrNeedMore
	case b[12]&0xf0 != version2:
		return 0, badVersion
	case b[12]&0x0f > proxied:
		return 0, badCommand
	case len(b) < 14:
		return 0, ErrNeedMore
	}
	least := 0
	if b[12] == version2|proxied {
		if least, err = blockSize(b[13]); err != nil {
			return 0, err
		}
	}
	if len(b) < fixed {
		return 0, ErrNeedMore
	}
	switch n := int(binary.BigEndian.Uint16(b[14:])); {
	case fixed+n > MaxSize:
		return 0, tooLarge
	case n < least:
		return 0, shortBlock
	default:
		return fixed + n, nil
	}
}

func blockSize(kind byte) (int, error) {
	family, transport := kind>>4, kind&0x0f
	switch {
	case family > unixSockets:
		return 0, badFamily
	case transport > datagram:
		return 0, badTransport
	case transport == datagram:
		return 0, datagrams
	}
	return blockSizes[family], nil
}

// proxied reads what follows the fixed part of a whole header, b.
func (h Header) proxied(b []byte) (Header, int, error) {
	family, transport := b[13]>>4, b[13]&0x0f
	block := b[fixed:]
	if transport == stream {
		switch family {
		case inet:
			h.Source = join(netip.AddrFrom4([4]byte(block)), binary.BigEndian.Uint16(block[8:]))
			h.Destination = join(netip.AddrFrom4([4]byte(block[4:])), binary.BigEndian.Uint16(block[10:]))
		case inet6:
			h.Source = join(netip.AddrFrom16([16]byte(block)), binary.BigEndian.Uint16(block[32:]))
			h.Destination = join(netip.AddrFrom16([16]byte(block[16:])), binary.BigEndian.Uint16(block[34:]))
		}
	}
	tlvs := TLVs(block[blockSizes[family]:])
	err := tlvs.check(b)
	if err == longTLV && b[13] == unspecified {
		// The block may begin with addresses of a size that only the sender knows. They are to be
		// ignored, and what follows them cannot be found.
		return h, len(b), nil
	}
	if err != nil {
		return Header{}, 0, err
	}
	h.TLVs = tlvs
	return h, len(b), nil
}
