// Package postgres reads what a PostgreSQL client says before its TLS begins, and what its server
// answers, so that an edge can read the ClientHello between them.
//
//	var n postgres.Negotiation
//	switch step, err := n.Read(sent); step {
//	case postgres.AskTLS: // answer postgres.Yes, and read on behind these RequestSize bytes
//	case postgres.Hello:  // the ClientHello begins
//	}
//
// A client asks with an SSLRequest, is answered with one byte, and sends its ClientHello (PostgreSQL
// documentation, section 55.2.9, "SSL Session Encryption"). Since PostgreSQL 17 it may also begin with
// the ClientHello (sslnegotiation=direct). The package knows nothing of TLS, and reads no message of
// the protocol behind the negotiation.
package postgres

import (
	"encoding/binary"
	"errors"
)

// A Step is what the bytes of a client ask for.
type Step uint8

// The steps.
const (
	More    Step = iota // more bytes
	Hello               // a ClientHello begins, or what is not PostgreSQL's at all
	AskTLS              // TLS: the answer is Yes, behind RequestSize bytes
	AskGSS              // encryption by GSSAPI: the answer is No, behind RequestSize bytes
	Cancel              // a whole CancelRequest without TLS, and nothing else
	Startup             // a session without TLS: the answer is Refusal
)

const (
	// RequestSize is the length of an SSLRequest and of a GSSENCRequest.
	RequestSize = 8

	// The second word of a startup packet, where it is no version of the protocol.
	codeCancel = 1234<<16 | 5678
	codeTLS    = 1234<<16 | 5679
	codeGSS    = 1234<<16 | 5680

	maxStartup = 10004 // MAX_STARTUP_PACKET_LENGTH, and the length itself
	minCancel  = 16    // its key has 4 bytes, or up to 256 since protocol 3.2
	maxCancel  = 12 + 256
)

// What is sent, and must not be changed.
var (
	SSLRequest = []byte{0, 0, 0, RequestSize, 4, 210, 22, 47}
	Yes        = []byte("S")
	No         = []byte("N")
)

// The ways in which a client breaks the protocol.
var (
	ErrBehind = errors.New("bytes came behind a Postgres request for encryption before its answer: " +
		"somebody on the way could have added them (CVE-2021-23214)")
	ErrAgain  = errors.New("a Postgres client asked for the same encryption again")
	ErrLength = errors.New("a Postgres startup packet has an impossible length")
	ErrCode   = errors.New("a Postgres startup packet has an unknown request code")
)

// A Negotiation follows one client until its TLS begins. The zero value is a client that has said
// nothing.
type Negotiation struct {
	askedGSS, askedTLS bool
}

// Read is given all bytes that the client has sent behind its last answered request. A request is
// noted when it is returned. Each may come once, as PostgreSQL and libpq have it.
func (n *Negotiation) Read(b []byte) (Step, error) {
	switch {
	case len(b) == 0:
		return More, nil
	case n.askedTLS || b[0] != 0: // the length of every packet begins with 0
		return Hello, nil
	case len(b) < 4:
		return More, nil
	}
	size := binary.BigEndian.Uint32(b)
	if size < RequestSize || size > maxStartup {
		return More, ErrLength
	}
	if len(b) < RequestSize {
		return More, nil
	}
	switch code := binary.BigEndian.Uint32(b[4:]); {
	case code == codeTLS:
		return ask(b, size, AskTLS, &n.askedTLS)
	case code == codeGSS:
		return ask(b, size, AskGSS, &n.askedGSS)
	case code == codeCancel:
		return cancel(b, int(size))
	case code>>16 == 1234:
		return More, ErrCode
	}
	return Startup, nil
}

func ask(b []byte, size uint32, step Step, asked *bool) (Step, error) {
	switch {
	case size != RequestSize:
		return More, ErrLength
	case *asked:
		return More, ErrAgain
	case len(b) > RequestSize:
		return More, ErrBehind
	}
	*asked = true
	return step, nil
}

func cancel(b []byte, size int) (Step, error) {
	switch {
	case size < minCancel || size > maxCancel:
		return More, ErrLength
	case len(b) < size:
		return More, nil
	case len(b) > size:
		return More, ErrBehind
	}
	return Cancel, nil
}
