package proxyproto

import (
	"encoding/binary"
	"hash/crc32"
	"iter"
)

// The types of TLVs that have a meaning here (section 2.2).
const (
	TypeALPN      = 0x01 // the application protocol of the client's TLS (section 2.2.1)
	TypeAuthority = 0x02 // the host that the client asks for (section 2.2.2)
	TypeCRC32c    = 0x03 // of the whole header (section 2.2.3)
	TypeNoOp      = 0x04 // padding (section 2.2.4)
	TypeUniqueID  = 0x05 // of the connection, at most 128 bytes (section 2.2.5)
)

// TLVs are the fields of a version 2 header behind its addresses: one after another, each with a
// type, the length of its value in two bytes, and the value.
type TLVs []byte

// tlvHead is the size of a TLV's type and length.
const tlvHead = 3

// All returns each TLV's type and value, in their order.
func (t TLVs) All() iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for rest := t; len(rest) >= tlvHead; {
			end := tlvHead + int(binary.BigEndian.Uint16(rest[1:]))
			if end > len(rest) || !yield(rest[0], rest[tlvHead:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}

// check looks at every TLV's end, and at the CRC32c of header, whose last bytes t is.
func (t TLVs) check(header []byte) error {
	crc := -1 // where it is in header
	for at := len(header) - len(t); at < len(header); {
		if len(header)-at < tlvHead {
			return longTLV
		}
		kind, size := header[at], int(binary.BigEndian.Uint16(header[at+1:]))
		at += tlvHead
		switch {
		case size > len(header)-at:
			return longTLV
		case kind != TypeCRC32c:
		case size != crc32.Size:
			return badCRCLength
		case crc >= 0:
			return secondCRC
		default:
			crc = at
		}
		at += size
	}
	if crc >= 0 && binary.BigEndian.Uint32(header[crc:]) != checksum(header, crc) {
		return wrongCRC
	}
	return nil
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	noSum      = make([]byte, crc32.Size)
)

// checksum is the CRC32c of a header with zeroes where its own is, at.
func checksum(header []byte, at int) uint32 {
	sum := crc32.Update(0, castagnoli, header[:at])
	sum = crc32.Update(sum, castagnoli, noSum)
	return crc32.Update(sum, castagnoli, header[at+crc32.Size:])
}
