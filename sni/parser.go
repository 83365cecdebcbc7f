// Package sni reads the ClientHello, the first message of a TLS connection, and says where the
// client wants to go: the server name, the ALPN protocols, the TLS versions, and whether Encrypted
// Client Hello is offered. It is a pure function of the bytes the client sent, however they were
// cut into segments and records:
//
//	var p sni.Parser
//	for {
//		n, err := conn.Read(buf[len(buf):cap(buf)])
//		buf = buf[:len(buf)+n]
//		hello, perr := p.Parse(buf)
//		if perr == sni.ErrNeedMore && err == nil {
//			continue
//		}
//		...
//	}
//
// The package never changes the bytes, which the caller forwards as they came. It does not decrypt,
// answer the client, judge whether a name is a valid host name, or check extensions that it does
// not report: the origin does. With an ECH hello it reports the outer name. It has no reader and no
// timer.
//
// Clients that speak something else are known by their first bytes: a Greeting says whether a
// connection begins as one of a few protocols, or as a text.
//
// A client may send a second ClientHello, when the origin asks for one with a HelloRetryRequest
// (RFC 8446 section 4.1.4). Second finds it among the bytes behind the first, and Retry tells
// whether the origin asked.
package sni

// DefaultLimit is the limit of a Parser whose Limit is not set, in bytes.
const DefaultLimit = 65536

// messageHeader is the length of a handshake message's type and length (RFC 8446 section 4).
const messageHeader = 4

// typeClientHello is HandshakeType client_hello.
const typeClientHello = 1

// Parser reads one ClientHello. The zero value is ready. A Parser keeps positions, never bytes, and
// may be copied.
type Parser struct {
	// Limit bounds the hello, in bytes, record headers included; a hello of exactly Limit bytes
	// passes. Zero or less means DefaultLimit.
	Limit int

	// A hello is shorter than 16 MiB (a uint24), so that even in records of one byte each these
	// stay below 2^27.
	records records
	got     uint32 // bytes of the handshake message seen, its header included
	want    uint32 // length of the message, its header included; while got < messageHeader, the header read so far
}

// Reset makes p ready for another connection. Limit stays.
func (p *Parser) Reset() { *p = Parser{Limit: p.Limit} }

// Parse reads b, which is all that the client has sent so far: each call passes the bytes of the
// call before and any number of new ones. It looks at a byte once until the hello is complete, so
// that a hello that comes byte by byte costs no more than a constant for each call. b must not
// shrink nor change between calls.
//
// Parse returns ErrNeedMore until a whole ClientHello (RFC 8446 section 4.1.2; RFC 5246 section
// 7.4.1.2) is there, and then the Hello. It does not judge the bytes behind the hello. Any other
// error (ErrTooLarge, ErrNotTLS or a Malformed) is final, comes with the first byte that proves it,
// and is returned again by later calls. The verdict does not depend on how the bytes were divided
// among calls, with one exception: Parse refuses the first byte of a foreign protocol at once, and
// names the protocol (as ErrHTTP does, for one) only when enough of it is in b.
//
// A first byte that is the type of a TLS record makes the connection TLS, and what is wrong then is a
// Malformed. There are servers that read a hello behind other records, or with other versions, than
// Parse does, so that its bytes must not pass for those of another protocol.
//
// While Parse says ErrNeedMore, b is shorter than Limit: a buffer of Limit bytes always has room to
// read on.
func (p *Parser) Parse(b []byte) (h Hello, err error) {
	err = p.parse(&h, b, records{})
	return h, err
}

// End returns the length of the hello that Parse has returned, record headers included: b[End():]
// is behind it.
func (p *Parser) End() int { return int(p.records.pos) }

// parse reads b into h, which is empty. b begins with a record header, or with as many bytes inside
// a record as start has left.
func (p *Parser) parse(h *Hello, b []byte, start records) error {
	if len(b) < int(p.records.pos) {
		return ErrNeedMore // b shrank
	}
	for rest := p.rest(); rest > 0; rest = p.rest() {
		if p.atLeast(rest) > p.limit() {
			return ErrTooLarge
		}
		if err := p.step(b, rest); err != nil {
			return err
		}
	}
	message, err := p.message(b, start)
	if err != nil {
		return err
	}
	return h.read(message)
}

func (p *Parser) limit() int {
	if p.Limit <= 0 {
		return DefaultLimit
	}
	return p.Limit
}

// rest returns how many bytes of the message are missing; while its length is unknown, how many of
// its header.
func (p *Parser) rest() uint32 {
	if p.got < messageHeader {
		return messageHeader - p.got
	}
	return p.want - p.got
}

// atLeast returns how many bytes the client will have sent once the missing rest of the message is
// here, if it uses as few record headers as it can. Reading payload does not change the sum, so
// that the verdict on a hello that is too large does not depend on segmentation.
func (p *Parser) atLeast(rest uint32) int {
	n := int(p.records.pos) + int(rest)
	if here := p.records.left(); rest > here {
		n += recordHeader * int((rest-here+maxRecord-1)/maxRecord)
	}
	return n
}

// step reads one record header, or what b has of the missing rest in the current record.
func (p *Parser) step(b []byte, rest uint32) error {
	if p.records.left() == 0 {
		return p.records.header(b)
	}
	fragment, err := p.records.peek(b, rest)
	if err != nil {
		return err
	}
	if p.got < messageHeader {
		if p.got == 0 && fragment[0] != typeClientHello {
			return badMessageType
		}
		p.readHeader(fragment)
	}
	p.got += uint32(len(fragment))
	p.records.pos += uint32(len(fragment))
	return nil
}

// readHeader adds fragment, which ends no later than the message's header, to want. It drops the
// type in front of the length. With the last byte it adds the length of the header itself.
func (p *Parser) readHeader(fragment []byte) {
	for _, c := range fragment {
		p.want = (p.want<<8 | uint32(c)) & 0xffffff
	}
	if int(p.got)+len(fragment) == messageHeader {
		p.want += messageHeader
	}
}

// message returns the complete handshake message: a part of b when it sits in one record, else a
// copy without the record headers.
func (p *Parser) message(b []byte, start records) ([]byte, error) {
	if start.left() == 0 && p.records.pos == recordHeader+p.want {
		return b[recordHeader:p.records.pos], nil
	}
	message := make([]byte, 0, p.want)
	for r := start; len(message) < int(p.want); {
		if r.left() == 0 {
			if err := r.header(b); err != nil {
				return nil, err
			}
		}
		fragment, err := r.peek(b, p.want-uint32(len(message)))
		if err != nil {
			return nil, err
		}
		message = append(message, fragment...)
		r.pos += uint32(len(fragment))
	}
	return message, nil
}

// The record layer in front of encryption (RFC 8446 section 5.1).
const (
	recordHeader = 5       // type, version, length
	maxRecord    = 1 << 14 // the longest payload of a plaintext record

	typeChangeCipherSpec = 20 // the first of the record types
	typeAlert            = 21
	typeHandshake        = 22
	typeHeartbeat        = 24 // the last (RFC 6520)
)

func isRecordType(typ byte) bool { return typ >= typeChangeCipherSpec && typ <= typeHeartbeat }

// records is a position in a stream of TLS records.
type records struct {
	pos uint32 // offset of the next byte to read
	end uint32 // offset at which the current record ends; equal to pos between records
}

// left returns how many bytes of the current record are not read.
func (r *records) left() uint32 { return r.end - r.pos }

// header reads the header of the next record, which must be a handshake record. An error comes with
// the first byte that proves it, be the header whole or not, and leaves r where it was.
//
// The minor version is not looked at: hellos carry any from 3.0 up (RFC 5246 appendix E.1), and RFC
// 8446 section 5.1 wants it ignored.
func (r *records) header(b []byte) error {
	h := b[r.pos:]
	if len(h) < recordHeader || h[0] != typeHandshake || h[1] != 3 {
		return r.refuseHeader(b)
	}
	n := uint32(h[3])<<8 | uint32(h[4])
	switch {
	case n == 0:
		// "Implementations MUST NOT send zero-length fragments of Handshake types": a client could
		// send them forever.
		return emptyRecord
	case n > maxRecord:
		return longRecord
	}
	r.pos += recordHeader
	r.end = r.pos + n
	return nil
}

// refuseHeader says what is wrong with a record header that is cut short, or has the wrong type or
// version.
func (r *records) refuseHeader(b []byte) error {
	h := b[r.pos:]
	switch {
	case len(h) > 0 && r.pos == 0 && !isRecordType(h[0]):
		return nameGreeting(h)
	case len(h) > 0 && h[0] != typeHandshake && r.pos == 0:
		return badFirstRecord
	case len(h) > 0 && h[0] != typeHandshake:
		return badNextRecord
	case len(h) > 1 && h[1] != 3:
		return badRecordVersion
	case len(h) > 3 && h[3] > maxRecord>>8:
		return longRecord
	}
	return ErrNeedMore
}

// peek returns what b has of the current record's unread bytes, at least one and at most limit. It
// does not move r.
func (r *records) peek(b []byte, limit uint32) ([]byte, error) {
	n := min(len(b)-int(r.pos), int(r.left()), int(limit))
	if n <= 0 {
		return nil, ErrNeedMore
	}
	return b[r.pos : int(r.pos)+n], nil
}
