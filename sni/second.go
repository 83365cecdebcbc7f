package sni

// Second watches what a client sends behind its first ClientHello for a second one, which may name
// another host: an origin that answers with a HelloRetryRequest reads it and, with many TLS
// libraries, goes by its name. Parser.Second makes one. It keeps positions, never bytes, and may be
// copied.
//
//	second := parser.Second()
//	held := received[parser.End():]
//	for {
//		pass, hello, err := second.Read(held)
//		... held[:pass] may go to the origin
//		held = held[pass:]
//		switch err {
//		case sni.ErrNeedMore: // append what the client sends next to held, and read again
//		case sni.ErrNoSecond: // held is empty, and nothing needs to be read any more
//		case nil:             // hello begins at held[0]: compare, and pass all of held or none
//		default:              // end the connection: held begins a hello that breaks the rules
//		}
//	}
//
// The caller also stops once Retry says that the origin's answer is no HelloRetryRequest, and it
// must: a TLS 1.2 client that resumes a session sends an encrypted handshake record right behind
// its change_cipher_spec, and one in 256 of those looks like a hello. The hello of a renegotiation
// (RFC 5746) is encrypted, and nobody but the origin sees it.
type Second struct {
	parser Parser // reads the hello that may be at the front; in the record of the first hello from the start
	left   uint32 // of the current record: bytes to pass or, in secondHere, bytes at the front before a header
	seen   uint8  // bytes of the header that is being read; left is then its length, as far as that is known
	state  secondState
}

type secondState uint8

const (
	secondPassing secondState = iota // a record that is no handshake record, or a header
	secondHere                       // a handshake message is at the front
	secondNone
)

// Second returns the watch over the bytes behind the hello that Parse has returned, with p's Limit.
func (p *Parser) Second() Second {
	s := Second{parser: Parser{Limit: p.Limit}}
	if left := p.records.left(); left > 0 { // the record of the first hello may hold another message
		s.begin(records{end: left})
	}
	return s
}

// Read reads b, which is all of the client's bytes behind its first hello that have not been passed
// on. It returns how many of them may be passed on now; the next call must not bring those again.
// The error is
//
//   - ErrNeedMore while a second hello may still come. What Read does not pass then is the beginning of a hello, fewer
//     bytes than Parser.Limit;
//   - nil with a second hello, which begins at b[pass] and is complete;
//   - ErrNoSecond when the client's next handshake message is another one: all of b may pass, and
//     all that follows;
//   - ErrTooLarge or a Malformed, as from Parse, for a hello that begins at b[pass].
//
// All but ErrNeedMore are final: later calls return the same. How the bytes are divided among calls
// does not matter. If the client ends its stream, what is held back is no whole hello, and the
// caller may pass it.
//
// Records that are not handshake records pass, however they are cut: change_cipher_spec, early
// data, alerts, and also unknown types and versions. Some TLS implementations skip what they do not
// know (RFC 4346 section 6) and would then read a hello behind it, so that Read watches on. Only
// inside a hello is such a record an error (RFC 8446 section 5.1).
func (s *Second) Read(b []byte) (pass int, h Hello, err error) {
	for {
		switch s.state {
		case secondNone:
			return len(b), h, ErrNoSecond
		case secondHere:
			switch err := s.parser.parse(&h, b[pass:], records{end: s.left}); err {
			case badMessageType:
				s.state = secondNone
				continue
			default:
				return pass, h, err
			}
		}
		if s.seen == 0 {
			n := min(int(s.left), len(b)-pass)
			pass += n
			s.left -= uint32(n)
		}
		switch {
		case pass == len(b):
			return pass, h, ErrNeedMore
		case s.seen == 0 && b[pass] == typeHandshake:
			s.begin(records{})
		default:
			pass += s.header(b[pass:])
		}
	}
}

// header reads what b has of the header of a record that is no handshake record, and returns how much that is. Its
// bytes pass as they come: nothing has to wait for the length behind them.
func (s *Second) header(b []byte) (n int) {
	for ; n < len(b) && s.seen < recordHeader; n++ {
		if s.seen++; s.seen > recordHeader-2 {
			s.left = s.left<<8 | uint32(b[n])
		}
	}
	if s.seen == recordHeader {
		s.seen = 0
	}
	return n
}

// begin expects a hello at the front: behind a record header, or in what start has left of a
// record.
func (s *Second) begin(start records) {
	s.parser.records = start
	s.left = start.left()
	s.state = secondHere
}

// Answer says what an origin's first message is.
type Answer uint8

const (
	AnswerPending Answer = iota // not there yet
	AnswerRetry                 // a HelloRetryRequest: the client sends a second ClientHello
	AnswerOther                 // anything else: no second ClientHello will be read
)

// Retry tells whether an origin answers the ClientHello with a HelloRetryRequest (RFC 8446 section
// 4.1.4). The zero value is ready for the origin's first byte. It keeps no bytes, and may be
// copied.
type Retry struct {
	left   uint16 // bytes of the current record that are not read
	header uint8  // bytes of the record header that are read, 0 to 5
	at     uint8  // bytes of the message that are read
	alert  bool   // the current record is an alert
	answer Answer
}

// retryRandom is the random of a HelloRetryRequest, SHA-256 of "HelloRetryRequest" (RFC 8446
// section 4.1.3). It is all that tells one from a ServerHello.
const retryRandom = "\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91" +
	"\xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c"

const (
	typeServerHello = 2
	randomAt        = messageHeader + 2 // in a ServerHello: behind the message header and legacy_version
)

// Read reads b, the next bytes that the origin has sent, from its first byte on. How they are
// divided among calls and among records does not matter. An answer other than AnswerPending is
// final.
//
// Read passes over alerts: before TLS 1.3 some servers send a warning in front of their hello.
func (r *Retry) Read(b []byte) Answer {
	for _, c := range b {
		switch {
		case r.answer != AnswerPending:
			return r.answer
		case r.header < recordHeader:
			r.readHeader(c)
		default:
			r.readPayload(c)
		}
		if r.header == recordHeader && r.left == 0 {
			r.header = 0
		}
	}
	return r.answer
}

func (r *Retry) readHeader(c byte) {
	switch r.header {
	case 0:
		if r.alert = c == typeAlert; !r.alert && c != typeHandshake {
			r.answer = AnswerOther
		}
	case 3:
		r.left = uint16(c) << 8
	case 4:
		r.left |= uint16(c)
	}
	r.header++
}

func (r *Retry) readPayload(c byte) {
	r.left--
	if r.alert {
		return
	}
	switch {
	case r.at == 0 && c != typeServerHello, r.at >= randomAt && c != retryRandom[r.at-randomAt]:
		r.answer = AnswerOther
	case int(r.at) == randomAt+len(retryRandom)-1:
		r.answer = AnswerRetry
	}
	r.at++
}
