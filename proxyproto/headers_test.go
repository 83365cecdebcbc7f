package proxyproto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// v2 is a version 2 header of these parts, its length right and without a CRC32c.
func v2(verCmd, family byte, parts ...string) string {
	block := strings.Join(parts, "")
	return signature2 + string([]byte{verCmd, family}) + string(binary.BigEndian.AppendUint16(nil, uint16(len(block)))) + block
}

func tlv(kind byte, value string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(value)))) + value
}

// withCRC adds the CRC32c to a header.
func withCRC(header string) string {
	b := []byte(header + tlv(TypeCRC32c, "\x00\x00\x00\x00"))
	binary.BigEndian.PutUint16(b[14:], uint16(len(b)-fixed))
	binary.BigEndian.PutUint32(b[len(b)-4:], checksum(b, len(b)-4))
	return string(b)
}

const (
	block4    = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x01\xbb"                                                                                              // 192.0.2.1:1234 to 192.0.2.2:443
	block6    = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02" + ports // 2001:db8::1 to ::2
	mapped    = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x02" + ports // 192.0.2.1 to 192.0.2.2
	ports     = "\x04\xd2\x01\xbb"
	amazonVPC = "\x01vpce-08d2bf15fac5001c9"
)

var blockUnix = "/run/a.sock" + strings.Repeat("\x00", 97) + "/run/b.sock" + strings.Repeat("\x00", 97)

var (
	client4 = netip.MustParseAddrPort("192.0.2.1:1234")
	server4 = netip.MustParseAddrPort("192.0.2.2:443")
	client6 = netip.MustParseAddrPort("[2001:db8::1]:1234")
	server6 = netip.MustParseAddrPort("[2001:db8::2]:443")
)

// good are whole headers. The TLVs are those behind the addresses.
var good = []struct {
	name, bytes string
	want        Header
}{
	{"v1 TCP4", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n", Header{Version: 1, Source: client4, Destination: server4}},
	{"v1 TCP6", "PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 1234 443\r\n", Header{Version: 1, Source: client6, Destination: server6}},
	{"v1 TCP6 with leading zeroes, which IPv6 may have", "PROXY TCP6 2001:0db8::0001 2001:0db8::2 1234 443\r\n", Header{Version: 1, Source: client6, Destination: server6}},
	{"v1 IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c000:202 1234 443\r\n", Header{Version: 1, Source: client4, Destination: server4}},
	{"v1 port 0 and 65535", "PROXY TCP4 192.0.2.1 192.0.2.2 0 65535\r\n", Header{
		Version: 1, Source: netip.AddrPortFrom(client4.Addr(), 0), Destination: netip.AddrPortFrom(server4.Addr(), 65535),
	}},
	{"v1 UNKNOWN", "PROXY UNKNOWN\r\n", Header{Version: 1}},
	{"v1 UNKNOWN with a rest", "PROXY UNKNOWN  x\ny\rz\r\n", Header{Version: 1}},
	{"v1 of 107 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", Header{Version: 1}},
	{"v2 IPv4", v2(0x21, 0x11, block4), Header{Version: 2, Source: client4, Destination: server4}},
	{"v2 IPv6", v2(0x21, 0x21, block6), Header{Version: 2, Source: client6, Destination: server6}},
	{"v2 IPv4 in IPv6", v2(0x21, 0x21, mapped), Header{Version: 2, Source: client4, Destination: server4}},
	{"v2 unix", v2(0x21, 0x31, blockUnix), Header{Version: 2}},
	{"v2 unix with a TLV", v2(0x21, 0x31, blockUnix, tlv(0xea, amazonVPC)), Header{Version: 2, TLVs: TLVs(tlv(0xea, amazonVPC))}},
	{"v2 TLVs", v2(0x21, 0x11, block4, tlv(TypeAuthority, "a.example"), tlv(TypeNoOp, ""), tlv(0xea, amazonVPC)), Header{
		Version: 2, Source: client4, Destination: server4,
		TLVs: TLVs(tlv(TypeAuthority, "a.example") + tlv(TypeNoOp, "") + tlv(0xea, amazonVPC)),
	}},
	{"v2 UNSPEC", v2(0x21, 0x00), Header{Version: 2}},
	{"v2 UNSPEC with a TLV", v2(0x21, 0x00, tlv(TypeUniqueID, "7")), Header{Version: 2, TLVs: TLVs(tlv(TypeUniqueID, "7"))}},
	{"v2 UNSPEC with addresses of no family", v2(0x21, 0x00, block4), Header{Version: 2}},
	{"v2 IPv4 without a transport protocol", v2(0x21, 0x10, block4, tlv(4, "")), Header{Version: 2, TLVs: TLVs(tlv(4, ""))}},
	{"v2 of 4096 bytes", v2(0x21, 0x11, block4, tlv(4, strings.Repeat("x", MaxSize-fixed-12-3))), Header{
		Version: 2, Source: client4, Destination: server4, TLVs: TLVs(tlv(4, strings.Repeat("x", MaxSize-fixed-12-3))),
	}},
	{"LOCAL", v2(0x20, 0x00), Header{Version: 2, Local: true}},
	{"LOCAL with addresses", v2(0x20, 0x11, block4), Header{Version: 2, Local: true}},
	{"LOCAL with less than addresses", v2(0x20, 0x21, "x"), Header{Version: 2, Local: true}},
	{"LOCAL of an unknown family, with broken TLVs", v2(0x20, 0xff, "\x03\xff\xff\x00"), Header{Version: 2, Local: true}},
	{"LOCAL of 4096 bytes", v2(0x20, 0x12, strings.Repeat("\x03", MaxSize-fixed)), Header{Version: 2, Local: true}},
}

// bad are refused, each for a rule of its own.
var bad = []struct {
	name, bytes string
	want        error
}{
	{"a hello", "\x16\x03\x01\x02\x00\x01", ErrNoHeader},
	{"a request", "GET / HTTP/1.1\r\n", ErrNoHeader},
	{"another case", "proxy UNKNOWN\r\n", ErrNoHeader},
	{"no space", "PROXYUNKNOWN\r\n", ErrNoHeader},
	{"a signature with a bit changed", signature2[:11] + "\x0b\x21\x11\x00\x00", ErrNoHeader},
	{"v1 without an end", "PROXY UNKNOWN " + strings.Repeat("f", 93), noLineEnd},
	{"v1 of 108 bytes", "PROXY UNKNOWN " + strings.Repeat("f", 92) + "\r\n", noLineEnd},
	{"v1 with LF alone", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\n\r\n", badPort},
	{"v1 without a protocol", "PROXY \r\n", badProtocol1},
	{"v1 UDP4", "PROXY UDP4 192.0.2.1 192.0.2.2 1234 443\r\n", badProtocol1},
	{"v1 UNKNOWN with more letters", "PROXY UNKNOWNS\r\n", badProtocol1},
	{"v1 with two spaces", "PROXY  TCP4 192.0.2.1 192.0.2.2 1234 443\r\n", badProtocol1},
	{"v1 with two spaces later", "PROXY TCP4 192.0.2.1  192.0.2.2 1234 443\r\n", badFields},
	{"v1 with a tab", "PROXY TCP4 192.0.2.1\t192.0.2.2 1234 443\r\n", badFields},
	{"v1 protocol alone", "PROXY TCP4\r\n", badFields},
	{"v1 without a port", "PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n", badFields},
	{"v1 with an empty port", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 \r\n", badFields},
	{"v1 with a space at the end", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443 \r\n", badFields},
	{"v1 with a third port", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 443 1\r\n", badFields},
	{"v1 leading zero in an address", "PROXY TCP4 192.0.02.1 192.0.2.2 1234 443\r\n", badIPv4},
	{"v1 leading zero in the destination", "PROXY TCP4 192.0.2.1 192.0.2.02 1234 443\r\n", badIPv4},
	{"v1 256", "PROXY TCP4 192.0.2.256 192.0.2.2 1234 443\r\n", badIPv4},
	{"v1 three numbers", "PROXY TCP4 192.0.2 192.0.2.2 1234 443\r\n", badIPv4},
	{"v1 five numbers", "PROXY TCP4 192.0.2.1.1 192.0.2.2 1234 443\r\n", badIPv4},
	{"v1 IPv6 in TCP4", "PROXY TCP4 2001:db8::1 192.0.2.2 1234 443\r\n", badIPv4},
	{"v1 IPv4 in TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1234 443\r\n", badIPv6},
	{"v1 zone", "PROXY TCP6 fe80::1%eth0 2001:db8::2 1234 443\r\n", badIPv6},
	{"v1 brackets", "PROXY TCP6 [2001:db8::1] 2001:db8::2 1234 443\r\n", badIPv6},
	{"v1 two gaps", "PROXY TCP6 2001::db8::1 2001:db8::2 1234 443\r\n", badIPv6},
	{"v1 nine groups", "PROXY TCP6 1:2:3:4:5:6:7:8:9 2001:db8::2 1234 443\r\n", badIPv6},
	{"v1 five digits", "PROXY TCP6 02001:db8::1 2001:db8::2 1234 443\r\n", badIPv6},
	{"v1 leading zero in IPv4 in IPv6", "PROXY TCP6 ::ffff:192.0.02.1 2001:db8::2 1234 443\r\n", badIPv6},
	{"v1 port 65536", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n", badPort},
	{"v1 second port 65536", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", badPort},
	{"v1 port 99999", "PROXY TCP4 192.0.2.1 192.0.2.2 99999 443\r\n", badPort},
	{"v1 port of six digits", "PROXY TCP4 192.0.2.1 192.0.2.2 100000 443\r\n", badPort},
	{"v1 leading zero in a port", "PROXY TCP4 192.0.2.1 192.0.2.2 01234 443\r\n", badPort},
	{"v1 port 00", "PROXY TCP4 192.0.2.1 192.0.2.2 1234 00\r\n", badPort},
	{"v1 negative port", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 443\r\n", badPort},
	{"v1 signed port", "PROXY TCP4 192.0.2.1 192.0.2.2 +1 443\r\n", badPort},
	{"v2 version 1", v2(0x11, 0x11, block4), badVersion},
	{"v2 version 3", v2(0x31, 0x11, block4), badVersion},
	{"v2 command 2", v2(0x22, 0x11, block4), badCommand},
	{"v2 command 15", v2(0x2f, 0x11, block4), badCommand},
	{"v2 family 4", v2(0x21, 0x41, block4), badFamily},
	{"v2 transport 3", v2(0x21, 0x13, block4), badTransport},
	{"v2 UDP", v2(0x21, 0x12, block4), datagrams},
	{"v2 UDP, IPv6", v2(0x21, 0x22, block6), datagrams},
	{"v2 unix datagrams", v2(0x21, 0x32, blockUnix), datagrams},
	{"v2 UNSPEC datagrams", v2(0x21, 0x02), datagrams},
	{"v2 of 4097 bytes", v2(0x21, 0x11, block4, tlv(4, strings.Repeat("x", MaxSize-fixed-12-2))), tooLarge},
	{"v2 of 65551 bytes", v2(0x21, 0x11, block4, strings.Repeat("x", 65535-12)), tooLarge},
	{"LOCAL of 4097 bytes", v2(0x20, 0x00, strings.Repeat("x", MaxSize-fixed+1)), tooLarge},
	{"v2 without addresses", v2(0x21, 0x11), shortBlock},
	{"v2 IPv4 of 11 bytes", v2(0x21, 0x11, block4[:11]), shortBlock},
	{"v2 IPv6 of IPv4's size", v2(0x21, 0x21, block4), shortBlock},
	{"v2 unix of 215 bytes", v2(0x21, 0x31, blockUnix[:215]), shortBlock},
	{"v2 TLV of one byte", v2(0x21, 0x11, block4, "\xea"), longTLV},
	{"v2 TLV of two bytes", v2(0x21, 0x11, block4, "\xea\x00"), longTLV},
	{"v2 TLV one byte too long", v2(0x21, 0x11, block4, "\xea\x00\x02x"), longTLV},
	{"v2 second TLV too long", v2(0x21, 0x31, blockUnix, tlv(0xea, "x"), "\xeb\xff\xff"), longTLV},
	{"v2 UNSPEC over a stream, with addresses", v2(0x21, 0x01, block4), longTLV},
	{"v2 CRC of 3 bytes", v2(0x21, 0x11, block4, tlv(TypeCRC32c, "\x00\x00\x00")), badCRCLength},
	{"v2 CRC of 5 bytes", v2(0x21, 0x11, block4, tlv(TypeCRC32c, "\x00\x00\x00\x00\x00")), badCRCLength},
	{"v2 CRC of zeroes", v2(0x21, 0x11, block4, tlv(TypeCRC32c, "\x00\x00\x00\x00")), wrongCRC},
	{"v2 another address than the CRC's", strings.Replace(withCRC(v2(0x21, 0x11, block4)), "\x02\x01", "\x02\x03", 1), wrongCRC},
	{"v2 UNSPEC and a CRC that does not fit", v2(0x21, 0x00, tlv(TypeCRC32c, "\x00\x00\x00\x00")), wrongCRC},
	{"v2 two CRCs", v2(0x21, 0x11, block4, tlv(TypeCRC32c, "\x00\x00\x00\x00"), tlv(TypeCRC32c, "\x00\x00\x00\x00")), secondCRC},
}

// all are the headers of both lists.
func all() (list []string) {
	for _, c := range good {
		list = append(list, c.bytes)
		if bytes.HasPrefix([]byte(c.bytes), []byte(signature2)) && len(c.bytes) < MaxSize-crcSize {
			list = append(list, withCRC(c.bytes))
		}
	}
	for _, c := range bad {
		list = append(list, c.bytes)
	}
	return list
}
