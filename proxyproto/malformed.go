package proxyproto

// Malformed is the error for bytes that begin a PROXY header and break its rules. Its text is the
// rule with its section; the values are constants, so returning one costs no allocation.
//
//	var m proxyproto.Malformed
//	if errors.As(err, &m) { ... }
type Malformed string

func (m Malformed) Error() string { return "malformed PROXY header: " + string(m) }

// Version 1.
const (
	noLineEnd    Malformed = "no CR LF in the first 107 bytes (section 2.1)"
	badProtocol1 Malformed = "protocol is not TCP4, TCP6 or UNKNOWN (section 2.1)"
	badFields    Malformed = "not two addresses and two ports, with one space before each (section 2.1)"
	badIPv4      Malformed = "address of TCP4 is not IPv4 in four decimal numbers without leading zeroes (section 2.1)"
	badIPv6      Malformed = "address of TCP6 is not IPv6 (section 2.1)"
	badPort      Malformed = "port is not a decimal number up to 65535 without leading zeroes (section 2.1)"
)

// Version 2.
const (
	badVersion   Malformed = "version is not 2 (section 2.2)"
	badCommand   Malformed = "command is neither LOCAL nor PROXY (section 2.2)"
	badFamily    Malformed = "unknown address family (section 2.2)"
	badTransport Malformed = "unknown transport protocol (section 2.2)"
	datagrams    Malformed = "transport protocol is DGRAM, on a stream (section 2.2)"
	tooLarge     Malformed = "larger than 4096 bytes (section 2.2)"
	shortBlock   Malformed = "length is less than the addresses of the family take (section 2.2)"
	longTLV      Malformed = "a TLV goes past the end of the header (section 2.2)"
	badCRCLength Malformed = "CRC32c is not of 4 bytes (section 2.2.3)"
	secondCRC    Malformed = "second CRC32c (section 2.2.3)"
	wrongCRC     Malformed = "CRC32c does not fit the header (section 2.2.3)"
)
